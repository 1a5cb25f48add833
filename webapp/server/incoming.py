# SPDX-License-Identifier: Apache-2.0
"""What has to be known of a request before a thread sees it: its body and who sends it. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

END_OF_HEAD = b"\r\n\r\n"
MAX_COLLECTED_BODY = 1 << 20  # bytes; larger bodies are read by the thread that wants them
HEAD_S = 10.0  # a request's head must be whole after this
BODY_RATE = 10 << 10  # bytes per second at which an ordinary body has to arrive

_LENGTH = re.compile(rb"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose head is whole.

    needed: bytes of head and body to be there before a thread gets the request.
    is_streamed: its body is large, chunked or held back (Expect), so the thread reads it.
    forwarded: the addresses of X-Forwarded-For, the nearest last.
    """

    needed: int
    is_streamed: bool
    forwarded: tuple[str, ...]


def read_head(data: bytes | bytearray) -> Incoming | None:
    """Read the head that ``data`` starts with; None while it isn't whole.

    What can't be understood counts as no body: the parser refuses it in its own words.
    """
    end = data.find(END_OF_HEAD)
    if end < 0:
        return None
    fields: dict[bytes, list[bytes]] = {}
    for line in bytes(data[:end]).split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    end += len(END_OF_HEAD)
    forwarded = b",".join(fields.get(b"x-forwarded-for", ())).decode("latin-1")
    hops = tuple(hop.strip() for hop in forwarded.split(",")) if forwarded else ()
    lengths = fields.get(b"content-length", [])
    size = int(lengths[0]) if len(lengths) == 1 and _LENGTH.fullmatch(lengths[0]) else 0
    is_held_back = bool(size) and b"expect" in fields
    # The body of a GET is read by nothing of ours, so nothing waits for it.
    is_bodiless = data.startswith((b"GET ", b"HEAD "))
    if b"transfer-encoding" in fields or size > MAX_COLLECTED_BODY or is_held_back:
        return Incoming(end, True, hops)
    if size and is_bodiless:
        return Incoming(end, True, hops)
    return Incoming(end + size, False, hops)


def patience(incoming: Incoming | None) -> float:
    """Seconds in which what is missing of a request has to arrive."""
    return HEAD_S + (incoming.needed / BODY_RATE if incoming else 0.0)


def target(head: bytes | bytearray) -> bytes:
    """The target of the request line."""
    return bytes(head[: head.find(b"\r\n")]).split(b" ")[1:2][0] if b" " in head else b""


def connection_option(values: Iterable[str]) -> str:
    """What ``Connection`` asks for: "close", "keep-alive" or "" (RFC 9110 7.6.1: it's a list)."""
    options = {option.strip().lower() for value in values for option in value.split(",")}
    return next((option for option in ("close", "keep-alive") if option in options), "")


def with_one_option(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers with ``Connection`` as the one word that gunicorn takes it for."""
    option = connection_option(value for name, value in headers if name == "CONNECTION")
    others = [header for header in headers if header[0] != "CONNECTION"]
    return [*others, ("CONNECTION", option)] if option else others


def sender(peer: str, forwarded: tuple[str, ...], trusted_proxies: int) -> str:
    """Who sends a request, as shares of threads are counted.

    The client's address as the outermost trusted proxy saw it; of IPv6 the /64, since
    one client has all of it.
    """
    text = peer
    if trusted_proxies and len(forwarded) >= trusted_proxies:
        text = forwarded[-trusted_proxies]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
