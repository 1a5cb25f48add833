# SPDX-License-Identifier: Apache-2.0
"""Addresses of proxies: what may be shown, and the login in them, which is kept encrypted."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MASK = "***"
AGAIN = "Enter the proxy's password again: *** stands for a stored one of the same address."


def is_proxy(address: str) -> bool:
    """Whether an address can be a proxy's: http://[user:password@]host[:port][/]."""
    if not re.fullmatch(r"[\x21-\x7e]+", address):
        return False
    try:
        parts = urlsplit(address)
        is_whole = parts.path in ("", "/") and not parts.query and not parts.fragment
        is_known = parts.scheme in ("http", "https") and bool(parts.hostname)
        return is_whole and is_known and parts.port != 0
    except ValueError:  # half an IPv6 address, a port that is not a number
        return False


def split(address: str) -> tuple[str, str]:
    """(the address as it may be shown, its login); "" for an address without one.

    A user name without a password is shown as ``***`` too: it may be a token.
    """
    start, login, host = _parts(address)
    if not login:
        return address, ""
    user, _, password = login.partition(":")
    return f"{start}{user + ':' if password else ''}{MASK}@{host}", login


def shown(address: str) -> str:
    """The address without its password; one that is masked stays as it is."""
    return split(address)[0]


def join(masked: str, login: str) -> str:
    """The address that ``split`` took apart."""
    start, _, host = _parts(masked)
    return f"{start}{login}@{host}" if login else masked


def is_masked(address: str) -> bool:
    """Whether an address came back as it was shown, without the password."""
    login = _parts(address)[1]
    return login == MASK or login.endswith(f":{MASK}")


def _parts(address: str) -> tuple[str, str, str]:
    """Scheme with its mark, login and the rest; also of what can't be a proxy's address."""
    scheme, mark, rest = address.partition("://") if "://" in address else ("", "", address)
    login, _, host = rest.rpartition("@")
    return scheme + mark, login, host
