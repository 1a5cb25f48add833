# SPDX-License-Identifier: Apache-2.0
"""To whom an image is kept, decided from values."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from webapp.streams import racks
from webapp.streams.errors import DocumentProblem
from webapp.streams.racks import RESTRICTED_PATH, RackDocument, RackFile, RackSet
from webapp.streams.restrictions import (
    MAX_ENTRIES,
    Restriction,
    checked,
    read_address,
    read_machine,
    read_network,
)

MAC, OTHER = "52:54:00:12:34:56", "52:54:00:00:00:01"
KEPT = Restriction(("192.0.2.0/28", "2001:db8:1::/48"), (MAC,))


@pytest.mark.parametrize(
    ("address", "macs", "is_permitted"),
    [
        ("192.0.2.1", (), True),
        ("192.0.2.15", (OTHER,), True),
        ("192.0.2.16", (), False),
        ("::ffff:192.0.2.1", (), True),
        ("::ffff:192.0.2.16", (), False),
        ("2001:db8:1:2::3", (), True),
        ("2001:db8:1::3%eth0", (), True),
        ("2001:db8:2::3", (), False),
        ("198.51.100.1", (MAC,), True),
        ("198.51.100.1", (OTHER,), False),
        ("198.51.100.1", (MAC, OTHER), False),
        ("", (), False),
        ("", (MAC,), True),
        ("192.0.2.1, 198.51.100.1", (), False),
        ("192.0.2.1:80", (), False),
        ("unknown", (), False),
        ("0xc0000201", (), False),
        ("192.0.2.01", (), False),
    ],
)
def test_a_network_or_a_mac_address_is_enough(
    address: str, macs: tuple[str, ...], is_permitted: bool
) -> None:
    assert (KEPT.refusal(address, macs) == "") is is_permitted


def test_a_refusal_says_what_is_known() -> None:
    assert "198.51.100.1 is in none" in KEPT.refusal("198.51.100.1", ())
    assert "isn't on the rack's own network" in KEPT.refusal("198.51.100.1", ())
    assert f"{OTHER} isn't permitted" in KEPT.refusal("198.51.100.1", (OTHER,))
    assert "Its address isn't known" in KEPT.refusal("", ())
    assert "MAC" not in replace(KEPT, macs=()).refusal("198.51.100.1", ())
    assert Restriction().refusal("192.0.2.1", (MAC,)), "without an entry, it's for no one"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" 192.0.2.0/24 ", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
    ],
)
def test_a_network_has_one_form(text: str, found: str) -> None:
    assert read_network(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.1/24", "Enter 192.0.2.0/24, or 192.0.2.1."),
        ("2001:db8::1/32", "Enter 2001:db8::/32"),
        ("", "isn't a network"),
        ("192.0.2.0/33", "isn't a network"),
        ("lab.example.test", "isn't a network"),
        ("192.0.2.0/24/24", "isn't a network"),
        ("192.0.2.0-192.0.2.9", "isn't a network"),
        ("fe80::1%eth0", "names an interface"),
        ("::ffff:192.0.2.0/120", "as IPv4 writes it"),
        ("0.0.0.0/0", "Lift the restriction"),
        ("::/0", "Lift the restriction"),
        (MAC, "isn't a network"),
    ],
)
def test_other_networks_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read_network(text)


@pytest.mark.parametrize("text", ["52-54-00-12-34-56", "5254.0012.3456", "525400123456", MAC])
def test_a_mac_address_has_one_form(text: str) -> None:
    assert read_machine(text.upper()) == MAC


@pytest.mark.parametrize(
    "text", ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "52:54:00", "", "x"]
)
def test_what_is_no_single_machine_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="isn't"):
        read_machine(text)


def test_an_address_that_ipv6_carries_is_the_ipv4_one() -> None:
    assert str(read_address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert read_address("192.0.2.1 ") is None


def test_a_wider_restriction_takes_it_from_no_one() -> None:
    wider = Restriction(("192.0.2.0/24", "2001:db8::/32"), (MAC, OTHER))
    assert wider.covers(KEPT)
    assert not KEPT.covers(wider)
    assert not wider.covers(None)
    assert not replace(wider, macs=(OTHER,)).covers(KEPT)
    assert not Restriction(("192.0.2.0/24",), (MAC,)).covers(KEPT)


# -- as racks elsewhere get it

NOBLE = RackSet(
    "1", 5, ("ubuntu/amd64/ga/noble/stable",), ("ubuntu/amd64/ga/noble/stable/1",),
    {"squashfs": RackFile("a" * 64, 3, "ubuntu/amd64/ga/noble/stable/1/squashfs")}, KEPT,
)  # fmt: skip
IMAGE = "ubuntu/noble/amd64"
OPEN = RackDocument(datetime(2026, 1, 5, tzinfo=UTC), {RESTRICTED_PATH: "b" * 64}, ())


def test_a_list_without_its_restrictions_says_so() -> None:
    read = racks.parse(racks.write(OPEN), where="x")
    assert (read.sets, read.restrictions) == ((), None)
    assert racks.parse(racks.write(replace(OPEN, documents={})), where="x").restrictions == {}


def test_what_is_written_for_racks_is_read_again() -> None:
    content = racks.write_restricted({IMAGE: KEPT}, [NOBLE])
    read = racks.with_restricted(OPEN, content, where="x")
    assert (read.sets, read.restrictions) == ((NOBLE,), {IMAGE: KEPT})


def test_an_image_whose_restriction_has_no_name_is_not_listed() -> None:
    content = racks.write_restricted({}, [NOBLE])
    assert racks.with_restricted(OPEN, content, where="x").sets == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"192.0.2.0/28"', b'"192.0.2.1/28"'),
        (b'"192.0.2.0/28"', b'"0.0.0.0/0"'),
        (b'"192.0.2.0/28"', b"7"),
        (MAC.encode(), b"01:00:5e:00:00:01"),
        (b'"image": "ubuntu/noble/amd64"', b'"image": "ubuntu/jammy/amd64"'),
        (b"slipway-restricted:1", b"slipway-restricted:2"),
        (b'"networks"', b'"nets"'),
    ],
)
def test_what_cannot_be_meant_is_refused_as_a_whole(before: bytes, after: bytes) -> None:
    content = racks.write_restricted({IMAGE: KEPT}, [NOBLE])
    assert before in content
    with pytest.raises(DocumentProblem):
        racks.with_restricted(OPEN, content.replace(before, after), where="x")


def test_too_many_entries_are_refused() -> None:
    networks = [f"192.0.2.{n}" for n in range(MAX_ENTRIES + 1)]
    with pytest.raises(ValueError, match="1 to 50"):
        checked(networks, ())
    with pytest.raises(ValueError, match="1 to 50"):
        checked((), ())
