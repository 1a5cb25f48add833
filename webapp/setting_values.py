# SPDX-License-Identifier: Apache-2.0
"""How the text of a setting becomes its value, or a refusal that says what is expected."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from webapp import numbers
from webapp.errors import Problem


class SettingsProblem(Problem):
    """A setting has a value that cannot be meant; the start stops here."""

    code = "setting-invalid"


def refuse(name: str, expected: str, got: str) -> SettingsProblem:
    """What to raise for a value that can't be meant."""
    return SettingsProblem(
        f"{name} has an invalid value.",
        where=name,
        expected=expected,
        got=repr(got),
        next_step=f"Set {name} to {expected}, or unset it to use its default.",
    )


def text(name: str, value: str) -> str:
    """Any text."""
    return value


def path(name: str, value: str) -> Path:
    """A path, absolute."""
    if not value or "\0" in value:
        raise refuse(name, "a path", value)
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise refuse(name, "a path of an existing user", value) from None


def prefix(name: str, value: str) -> str:
    """The start of keys in a bucket, without slashes at its ends."""
    if not re.fullmatch(r"[\w.!()/-]*", value, re.ASCII) or "//" in value:
        raise refuse(name, "letters, digits and . _ - / only", value)
    return value.strip("/")


def switch(name: str, value: str) -> bool:
    """On or off."""
    words = {"on": True, "yes": True, "true": True, "1": True}
    words |= {"off": False, "no": False, "false": False, "0": False}
    if value.lower() not in words:
        raise refuse(name, "on or off", value)
    return words[value.lower()]


def number(low: int, high: int) -> Callable[[str, str], int]:
    """A whole number in this range."""

    def parse(name: str, value: str) -> int:
        number = numbers.whole(value)
        if number is None or not low <= number <= high:
            raise refuse(name, f"a whole number from {low} to {high}", value)
        return number

    return parse


def choice(*choices: str) -> Callable[[str, str], str]:
    """One of these words."""

    def parse(name: str, value: str) -> str:
        if value not in choices:
            raise refuse(name, " or ".join(choices), value)
        return value

    return parse


def bind(name: str, value: str) -> str:
    """An address and a port."""
    host, _, port = value.rpartition(":")
    if not host or not 0 < (numbers.whole(port) or 0) < 65536:
        raise refuse(name, "ADDRESS:PORT, e.g. 0.0.0.0:5240 or [::]:5240", value)
    if any(mark in host for mark in ":[]") and not re.fullmatch(r"\[[\da-fA-F]*:[\w:.%]*\]", host):
        raise refuse(name, "an IPv6 address in brackets, e.g. [::1]:5240", value)
    return value


def http_url(name: str, value: str) -> str:
    """An address of http or https that ends in a slash."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise refuse(name, "an http:// or https:// URL", value) from None
    is_odd = parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or is_odd:
        raise refuse(name, "an http:// or https:// URL without a password", value)
    return value.rstrip("/") + "/"


def urls(name: str, value: str) -> tuple[str, ...]:
    """Addresses of http or https, separated by commas."""
    return tuple(http_url(name, part.strip()) for part in value.split(",") if part.strip())


def database_url(name: str, value: str) -> str:
    """SQLite or PostgreSQL."""
    if value.startswith("postgres://"):
        value = "postgresql://" + value.removeprefix("postgres://")
    file = value.removeprefix("sqlite:///") if value.startswith("sqlite:///") else ""
    if file and not file.startswith(":"):
        return f"sqlite:///{Path(file).absolute()}"
    if value.startswith(("postgresql://", "postgresql+psycopg://")):
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            make_url(value)
            return value
        except (ArgumentError, ValueError):
            pass
    # The value may hold a password, so only its scheme is repeated.
    got = value.partition(":")[0] + ":…"
    raise refuse(name, "sqlite:////path/to/file or postgresql://user@host/name", got)


def queue_url(name: str, value: str) -> str:
    """SQLite."""
    if value.startswith("sqlite:///"):
        return value
    raise refuse(name, "sqlite:////path/to/file", value.partition(":")[0] + ":…")


def networks(name: str, value: str) -> tuple[str, ...]:
    """Networks, separated by commas."""
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in parts:
        try:
            ipaddress.ip_network(part)
        except ValueError:
            raise refuse(name, "networks, e.g. 10.0.0.0/8,fd00::/8", part) from None
    return parts


def folders(name: str, value: str) -> tuple[Path, ...]:
    """Absolute folders, separated by commas."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if any(not part.startswith("/") or "\0" in part for part in parts):
        raise refuse(name, "absolute folders, e.g. /srv/mirrors,/media", value)
    return tuple(Path(part) for part in parts)


def command(name: str, value: str) -> str:
    """A command line whose words can be told apart; "" for none."""
    try:
        shlex.split(value)
    except ValueError:
        raise refuse(name, "a command with balanced quotes", value) from None
    return value.strip()


def accel(name: str, value: str) -> str:
    """A path that begins and ends in a slash, or nothing."""
    if value and not (value.startswith("/") and value.endswith("/")):
        raise refuse(name, "a path, e.g. /_store/", value)
    return value
