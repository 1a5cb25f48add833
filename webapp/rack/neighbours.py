# SPDX-License-Identifier: Apache-2.0
"""The MAC addresses of machines on the rack's own networks, as the kernel knows them.

A machine can't speak to the rack from an address without being a neighbour by it, or without
a router that is one. Whoever is behind a router has no MAC address here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import structlog

from webapp.streams.restrictions import Address, read_address

log = structlog.get_logger(__name__)

# linux/rtnetlink.h, linux/netlink.h, linux/neighbour.h
_GET_NEIGHBOURS, _REQUEST, _DUMP = 30, 0x1, 0x300
_ERROR, _DONE, _NEIGHBOUR = 2, 3, 28
_HEAD, _ENTRY, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBHiHBB"), struct.Struct("=HH")
_ADDRESS, _MAC = 1, 2
_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_MAC_BYTES = 6
_WAIT_S = 1.0


def macs_of(address: str) -> frozenset[str]:
    """The MAC addresses that speak for an IP address; none where the kernel knows none."""
    wanted = read_address(address)
    if wanted is None:
        return frozenset()
    try:
        answer = _dump(_FAMILIES[wanted.version])
    except OSError as error:
        log.warning("the kernel's neighbours could not be read", error=str(error))
        return frozenset()
    return frozenset(mac for found, mac in read(answer) if found == wanted)


def read(answer: bytes) -> Iterator[tuple[Address, str]]:
    """The neighbours of an answer whose MAC address is known."""
    for kind, body in _parts(answer, _HEAD):
        if kind != _NEIGHBOUR or len(body) < _ENTRY.size:
            continue
        state = _ENTRY.unpack_from(body)[4]
        values = dict(_parts(body[_ENTRY.size :], _ATTRIBUTE))
        packed, mac = values.get(_ADDRESS, b""), values.get(_MAC, b"")
        if not state & _KNOWN or len(mac) != _MAC_BYTES or len(packed) not in (4, 16):
            continue
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        address = read_address(socket.inet_ntop(family, packed))
        if address is not None:
            yield address, mac.hex(":")


def _dump(family: int) -> bytes:
    """All neighbours of a family. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_WAIT_S)
        entry = _ENTRY.pack(family, 0, 0, 0, 0, 0, 0)
        size = _HEAD.size + len(entry)
        kernel.sendto(_HEAD.pack(size, _GET_NEIGHBOURS, _REQUEST | _DUMP, 1, 0) + entry, (0, 0))
        answer = bytearray()
        while True:
            piece = kernel.recv(1 << 18)
            answer += piece
            if not piece or any(kind in (_ERROR, _DONE) for kind, _ in _parts(piece, _HEAD)):
                return bytes(answer)


def _parts(data: bytes, head: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """What netlink writes one after the other: a length, a kind and more, each at 4 bytes."""
    at = 0
    while at + head.size <= len(data):
        size, kind = head.unpack_from(data, at)[:2]
        if size < head.size:
            return
        yield kind, data[at + head.size : at + size]
        at += (size + 3) & ~3
