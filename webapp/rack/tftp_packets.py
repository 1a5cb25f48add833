# SPDX-License-Identifier: Apache-2.0
"""Packets of TFTP: RFC 1350, with the options of RFC 2347 to 2349 and 7440."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

READ, WRITE, DATA, ACK, ERROR, OPTIONS = range(1, 7)
UNDEFINED, NOT_FOUND, ACCESS, ILLEGAL = range(4)  # codes of errors

MAX_BLOCK = 1468  # what fits into a packet of Ethernet, so that nothing is fragmented
MIN_BLOCK, DEFAULT_BLOCK = 8, 512
MAX_WINDOW = 64  # blocks
MAX_TIMEOUT_S = 10  # RFC 2349 has 255, for which a silent client would keep its place for an hour
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True)
class Options:
    """What was agreed on. accepted: as it's told the client, in the order of the request."""

    block: int = DEFAULT_BLOCK
    window: int = 1
    timeout_s: int = 0
    accepted: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ReadRequest:
    """A request for a file, with its options as they were sent."""

    name: str
    options: Mapping[str, str]

    def agreed(self, size: int) -> Options:
        """The options within our limits for a file of this size; others are left out."""
        block, window, timeout_s = DEFAULT_BLOCK, 1, 0
        accepted = []
        for name, text in self.options.items():
            value = int(text) if _NUMBER.fullmatch(text) else -1
            if name == "blksize" and value >= MIN_BLOCK:
                block = value = min(value, MAX_BLOCK)
            elif name == "windowsize" and value >= 1:
                window = value = min(value, MAX_WINDOW)
            elif name == "timeout" and 1 <= value <= MAX_TIMEOUT_S:
                timeout_s = value
            elif name == "tsize" and value >= 0:
                value = size
            else:
                continue
            accepted.append((name, str(value)))
        return Options(block, window, timeout_s, tuple(accepted))


@dataclass(frozen=True)
class Refusal:
    """Why a packet is answered with an error."""

    code: int
    words: str


def read_request(packet: bytes) -> ReadRequest | Refusal | None:
    """What a packet to the server's port asks for; None for what gets no answer."""
    if len(packet) < 4:
        return None
    kind = int.from_bytes(packet[:2], "big")
    if kind == WRITE:
        return Refusal(ACCESS, "This server is read only.")
    if kind != READ:
        return None  # a late packet of a transfer
    parts = packet[2:].split(b"\0")
    if len(parts) < 3 or parts.pop() != b"" or not parts[0]:
        return Refusal(ILLEGAL, "The request can't be read.")
    name, mode, *rest = (part.decode("latin-1") for part in parts)
    if mode.lower() != "octet":
        return Refusal(ILLEGAL, "Only octet mode.")
    options = {key.lower(): value for key, value in zip(rest[::2], rest[1::2], strict=False)}
    return ReadRequest(name, options)


def data(number: int, content: bytes) -> bytes:
    """A block; numbers begin again at 0 after 65,535."""
    return struct.pack("!HH", DATA, number & 0xFFFF) + content


def options(accepted: tuple[tuple[str, str], ...]) -> bytes:
    """What was agreed on."""
    words = [word.encode("latin-1") for pair in accepted for word in pair]
    return struct.pack("!H", OPTIONS) + b"".join(word + b"\0" for word in words)


def error(refusal: Refusal) -> bytes:
    """The end of a transfer, with words for the screen."""
    words = refusal.words.encode("ascii", "replace")
    return struct.pack("!HH", ERROR, refusal.code) + words + b"\0"


def acknowledged(packet: bytes) -> int | None:
    """The number of an acknowledged block; -1 for the client's error, None for other packets."""
    if len(packet) < 4:
        return None
    kind, number = struct.unpack_from("!HH", packet)
    if kind == ERROR:
        return -1
    return int(number) if kind == ACK else None
