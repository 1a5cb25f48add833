# SPDX-License-Identifier: Apache-2.0
"""Strict reading of single values in a stream's document, and where they stand.

``at`` is the way to a value, such as (document, "product x", "version y", "item z").
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from webapp.streams.errors import DocumentProblem
from webapp.streams.urls import UNPRINTABLE

MAX_NAME = 512
MAX_TEXT = 4_096

# Keys that we read: a value of another type than text is an error there.
_TEXT_KEYS = frozenset(
    "os os_title arch subarch subarches release release_title release_codename version label "
    "kflavor krel support_eol support_esm_eol bootloader-type gadget_snap gadget_title "
    "kernel_snap maas_supported ftype kpackage kparams src_package src_release "
    "src_version format datatype".split()
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_RFC2822 = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) "
    r"(?:([+-])(\d\d)(\d\d)|GMT|UTC|Z)",
    re.ASCII,
)


def text_fields(tree: dict[str, Any], at: tuple[str, ...]) -> dict[str, str]:
    """The text values of one level. ``null`` is as good as a missing key."""
    fields = {}
    for key, value in tree.items():
        if type(value) is str:
            if len(value) <= MAX_TEXT and (value.isprintable() or not UNPRINTABLE.search(value)):
                fields[key] = value
            elif key in _TEXT_KEYS:
                raise problem(
                    "document-bad-text",
                    f'The text under "{key}" is too long or holds control characters',
                    at,
                    expected=f"at most {MAX_TEXT} printable characters",
                    got=ascii(value[:100]),
                )
        elif key == "rolling" and type(value) is bool:
            fields[key] = "true" if value else "false"
        elif key in _TEXT_KEYS and value is not None:
            raise wrong_type(key, "text", value, at)
    return fields


def updated_at(tree: dict[str, Any], at: tuple[str, ...]) -> datetime:
    """What the document says about its own age."""
    text = tree.get("updated")
    if type(text) is not str:
        raise wrong_type("updated", "a time as text", text, at)
    try:
        return parse_time(text)
    except ValueError as error:
        raise problem(
            "document-bad-time",
            'The time under "updated" cannot be read',
            at,
            expected='such as "Thu, 24 Jul 2025 08:01:47 +0000" or "2025-07-24T08:01:47Z"',
            got=ascii(text[:100]),
        ) from error


def parse_time(text: str) -> datetime:
    """Read the two ways streams write a time; without a zone it is UTC.

    Raises ValueError.
    """
    match = _RFC2822.fullmatch(text)
    try:
        if not match:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        day, month, *clock, sign, hours, minutes = match.groups(default="")
        east = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        zone = timezone(-east if sign == "-" else east)
        year, hour, minute, second = map(int, clock)
        month_number = _MONTHS.index(month) + 1
        return datetime(year, month_number, int(day), hour, minute, second, tzinfo=zone).astimezone(
            UTC
        )
    except OverflowError as error:
        raise ValueError(str(error)) from error


def table(
    tree: dict[str, Any],
    key: str,
    at: tuple[str, ...],
    most: int,
    *,
    is_required: bool = True,
) -> dict[str, Any]:
    """The object under a key, with at most so many entries."""
    value = tree.get(key) if is_required else tree.get(key, {})
    entries = mapping(value, key, at)
    if len(entries) > most:
        raise too_many(key, at, most, len(entries))
    return entries


def mapping(value: Any, what: str, at: tuple[str, ...]) -> dict[str, Any]:
    """The value, which must be an object."""
    if type(value) is not dict:
        raise wrong_type(what, "an object", value, at)
    return value


def name_of(value: Any, what: str, at: tuple[str, ...]) -> str:
    """The value, which must be text fit to name something on one line."""
    if type(value) is not str:
        raise wrong_type(what, "text", value, at)
    if not 0 < len(value) <= MAX_NAME or (
        not value.isprintable() and UNPRINTABLE.search(value) is not None
    ):
        raise problem(
            "document-bad-name",
            f"A {what} is empty, too long or holds control characters",
            at,
            expected=f"1 to {MAX_NAME} printable characters",
            got=ascii(value[:100]),
        )
    return value


def wrong_type(what: str, expected: str, value: Any, at: tuple[str, ...]) -> DocumentProblem:
    """The problem of a missing value or one of another type."""
    return problem(
        "document-wrong-type",
        f'"{what}" is missing' if value is None else f'"{what}" is of the wrong type',
        at,
        expected=expected,
        got="nothing" if value is None else type(value).__name__,
    )


def too_many(what: str, at: tuple[str, ...], most: int, got: int) -> DocumentProblem:
    """The problem of a stream that is larger than any real one."""
    return problem(
        "document-too-large", f"Too many {what}", at, expected=f"at most {most}", got=str(got)
    )


def problem(
    code: str, what: str, at: tuple[str, ...], *, expected: str = "", got: str = ""
) -> DocumentProblem:
    """A problem with one entry; the whole document is refused for it."""
    return DocumentProblem(
        f"{what}.",
        code=code,
        where=", ".join(at),
        expected=expected,
        got=got,
        next_step="Nothing of this document was used; tell the publisher of the stream.",
    )
