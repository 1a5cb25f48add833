# SPDX-License-Identifier: Apache-2.0
"""TFTP without sockets: requests, options, windows and loss (rule: tftp-options)."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.rack import tftp_packets as packets
from webapp.rack.tftp_packets import ReadRequest, Refusal, read_request
from webapp.rack.tftp_transfer import MAX_TRIES, Transfer


def rrq(*words: str, kind: int = 1) -> bytes:
    return struct.pack("!H", kind) + b"".join(word.encode("latin-1") + b"\0" for word in words)


def ack(number: int) -> bytes:
    return struct.pack("!HH", 4, number & 0xFFFF)


def transfer(content: bytes, **options: object) -> Transfer:
    wanted = {name: str(value) for name, value in options.items()}
    request = ReadRequest("x", wanted)
    return Transfer(request, len(content), lambda at, length: content[at : at + length])


def test_a_request_is_read_with_its_options_in_any_case() -> None:
    found = read_request(rrq("grub/grub.cfg", "OCTET", "BlkSize", "1432", "tsize", "0"))
    assert found == ReadRequest("grub/grub.cfg", {"blksize": "1432", "tsize": "0"})


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (rrq("x", "octet", kind=2), packets.ACCESS),
        (rrq("x", "netascii"), packets.ILLEGAL),
        (rrq("x", "mail"), packets.ILLEGAL),
        (rrq("", "octet"), packets.ILLEGAL),
        (b"\0\1x\0octet", packets.ILLEGAL),
        (b"\0\1xx", packets.ILLEGAL),
    ],
)
def test_what_is_no_reading_in_octets_is_refused(packet: bytes, code: int) -> None:
    found = read_request(packet)
    assert isinstance(found, Refusal)
    assert found.code == code


@pytest.mark.parametrize("packet", [b"", b"\0\1", ack(1), b"\0\5\0\0x\0", b"\xff" * 20])
def test_late_and_odd_packets_get_no_answer(packet: bytes) -> None:
    assert read_request(packet) is None


@given(st.binary(max_size=200))
def test_no_packet_breaks_the_reader(packet: bytes) -> None:
    found = read_request(packet)
    if isinstance(found, ReadRequest):
        found.agreed(10)
    transfer(b"x" * 2000, windowsize=4).receive(packet)


def test_options_are_kept_within_limits_and_odd_ones_left_out() -> None:
    wanted = {
        "tsize": "0", "blksize": "65464", "windowsize": "65535", "timeout": "3", "multicast": "",
    }  # fmt: skip
    found = ReadRequest("x", wanted).agreed(77)
    assert found.accepted == (
        ("tsize", "77"), ("blksize", "1468"), ("windowsize", "64"), ("timeout", "3"),
    )  # fmt: skip
    odd = {"blksize": "7", "windowsize": "0", "timeout": "11", "tsize": "-1"}
    assert ReadRequest("x", odd).agreed(77) == packets.Options()
    assert ReadRequest("x", {"blksize": "\u0661\u0662"}).agreed(1) == packets.Options()


def test_a_file_goes_out_block_by_block_and_ends_with_a_short_one() -> None:
    sending = transfer(b"a" * 512 + b"b" * 512)
    assert sending.start() == [packets.data(1, b"a" * 512)]
    assert sending.receive(ack(1)) == [packets.data(2, b"b" * 512)]
    assert sending.receive(ack(2)) == [packets.data(3, b"")]
    assert sending.receive(ack(2)) == [], "a repeated packet is no reason to send twice"
    assert sending.receive(ack(3)) == []
    assert (sending.is_over, sending.is_whole, sending.sent) == (True, True, 1024)


def test_a_silent_client_keeps_its_place_for_less_than_two_minutes() -> None:
    for wish in range(256):
        silent, waited = transfer(b"x" * 2000, timeout=wish), 0.0
        silent.start()
        while not silent.is_over:
            waited += silent.timeout_s
            silent.expire()
        assert waited < 120


def test_options_are_confirmed_before_the_first_window() -> None:
    sending = transfer(b"x" * 100, blksize=16, windowsize=4)
    assert sending.start() == [b"\0\6blksize\x0016\0windowsize\x004\0"]
    assert sending.receive(ack(1)) == [], "not sent yet"
    window = sending.receive(ack(0))
    assert [packet[:4] for packet in window] == [packets.data(n, b"") for n in (1, 2, 3, 4)]
    resumed = sending.receive(ack(2))
    assert [packet[:4] for packet in resumed] == [packets.data(n, b"") for n in (3, 4, 5, 6)]


def test_an_error_of_the_client_ends_it_and_silence_does_so_after_some_tries() -> None:
    gone = transfer(b"x" * 2000)
    gone.start()
    assert gone.receive(b"\0\5\0\0no room\0") == []
    assert (gone.is_over, gone.is_whole) == (True, False)
    silent = transfer(b"x" * 2000)
    first = silent.start()
    for _ in range(MAX_TRIES - 1):
        assert silent.expire() == first
    assert silent.expire()[0][:4] == b"\0\5\0\0"
    assert silent.is_over


@pytest.mark.parametrize("window", [1, 4, 16])
@pytest.mark.parametrize(
    ("size", "loss"),
    [(0, 0.2), (1, 0.2), (7, 0.2), (8, 0.2), (9, 0.2), (8 * 1000, 0.2), (8 * 70_000, 0)],
)
def test_every_file_arrives_right_though_packets_are_lost(
    window: int, size: int, loss: float
) -> None:
    """The largest has more blocks than numbers."""
    chance = random.Random(7)
    content = chance.randbytes(size)
    sending = transfer(content, blksize=8, windowsize=window)
    received, expected = bytearray(), 1
    on_the_way, since_ack = sending.start(), 0
    while not sending.is_over:
        answers = []
        for packet in on_the_way:
            if chance.random() < loss:
                continue
            kind, number = struct.unpack_from("!HH", packet)
            if kind == packets.OPTIONS:
                answers.append(0)
            elif number == expected & 0xFFFF:
                received += packet[4:]
                expected, since_ack = expected + 1, since_ack + 1
                if len(packet) < 12 or since_ack == window:
                    answers.append(expected - 1)
                    since_ack = 0
            else:  # RFC 7440: say what came last, in order
                answers.append(expected - 1)
                since_ack = 0
        kept = [number for number in answers[-1:] if chance.random() >= loss]
        on_the_way = [one for number in kept for one in sending.receive(ack(number))]
        if not on_the_way and not sending.is_over:
            on_the_way = sending.expire()
    assert sending.is_whole or received == content
    assert received == content
