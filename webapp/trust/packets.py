# SPDX-License-Identifier: Apache-2.0
"""The outermost layer of OpenPGP: ASCII armor and packet headers (RFC 4880 4.2, 6.2).

No cryptography. It lets us see what kinds of packets some bytes hold before
gpg does anything with them, so that compressed, nested or secret ones never
reach it where only signatures or public keys belong.
"""

from __future__ import annotations

import base64
import re

SIGNATURE = 2
SECRET_KEY = 5
PUBLIC_KEY = 6
SECRET_SUBKEY = 7
TRUST = 12
USER_ID = 13
PUBLIC_SUBKEY = 14
USER_ATTRIBUTE = 17

_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*: [^\r\n]*")
_CHECKSUM = re.compile(rb"=[A-Za-z0-9+/]{4}")


def dearmor(inside: bytes) -> bytes:
    """Decode what stands between the BEGIN and the END line of an armored block.

    Raises ValueError. The checksum line is allowed and not used: gpg checks it.
    """
    lines = [line.rstrip(b" \t\r") for line in inside.split(b"\n")]
    data_from = 0
    while data_from < len(lines) and _HEADER.fullmatch(lines[data_from]):
        data_from += 1
    if data_from == len(lines) or lines[data_from]:
        raise ValueError("the empty line after the armor headers is missing")
    body = [line for line in lines[data_from + 1 :] if line]
    if body and _CHECKSUM.fullmatch(body[-1]):
        body.pop()
    return base64.b64decode(b"".join(body), validate=True)


def tags(data: bytes) -> list[int]:
    """List the packet tags in data; raises ValueError unless it is whole packets only.

    Packets of unknown length (partial and indeterminate) are refused: neither a
    key nor a signature is ever written so.
    """
    found = []
    position = 0
    while position < len(data):
        tag, start, length = _header(data, position)
        position = start + length
        if position > len(data):
            raise ValueError("the last packet is cut off")
        found.append(tag)
    return found


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """(tag, where the body starts, how long it is) of the packet that starts at ``at``."""
    first = data[at]
    if not first & 0x80:
        raise ValueError(f"no packet starts at byte {at}")
    if first & 0x40:
        tag = first & 0x3F
        size_octets, length = _new_length(data, at + 1)
    else:
        tag = (first >> 2) & 0x0F
        if first & 3 == 3:
            raise ValueError("a packet of unknown length")
        size_octets = 1 << (first & 3)
        length = _number(data, at + 1, size_octets)
    return tag, at + 1 + size_octets, length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    first = _number(data, at, 1)
    if first < 192:
        return 1, first
    if first < 224:
        return 2, ((first - 192) << 8) + _number(data, at + 1, 1) + 192
    if first < 255:
        raise ValueError("a packet of unknown length")
    return 5, _number(data, at + 1, 4)


def _number(data: bytes, at: int, octets: int) -> int:
    if at + octets > len(data):
        raise ValueError("the last packet is cut off")
    return int.from_bytes(data[at : at + octets], "big")
