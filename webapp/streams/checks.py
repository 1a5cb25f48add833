# SPDX-License-Identifier: Apache-2.0
"""Strict reading of single values in a stream's document, and where they stand.

``at`` is the path to a value, e.g. (document, "product x", "version y", "item z").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from webapp.streams.errors import DocumentProblem
from webapp.streams.quickjson import Decimal
from webapp.streams.strictjson import Unusable
from webapp.streams.urls import UNPRINTABLE

TOO_LARGE = "document-too-large"  # the one flaw of an entry that refuses the document
MAX_NAME = 512
MAX_TEXT = 4_096
MAX_FIELDS = 100  # text keys of one level; the published streams have up to 25

# Keys that say what something is: without one of them it can't be used.
_NAMING_KEYS = frozenset(
    "os arch subarch subarches release label kflavor bootloader-type gadget_snap kernel_snap "
    "ftype format datatype".split()
)
# Keys that only describe: a value that can't be read is left out.
_TEXT_KEYS = _NAMING_KEYS | frozenset(
    "os_title release_title release_codename version krel support_eol support_esm_eol "
    "gadget_title maas_supported kpackage kparams src_package src_release src_version".split()
)
Note = Callable[[DocumentProblem], None]
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_RFC2822 = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) "
    r"(?:([+-])(\d\d)(\d\d)|GMT|UTC|Z)",
    re.ASCII,
)


def text_fields(
    tree: dict[str, Any], at: tuple[str, ...], note: Note, optional: Collection[str] = ()
) -> dict[str, str]:
    """The text values of one level; a number counts as text, ``null`` as a missing key.

    Of many keys without a meaning, the first are kept.

    note: called for each key that is left out: a describing one, or one of ``optional``.
    Raises DocumentProblem for a key that identifies something.
    """
    fields: dict[str, str] = {}
    for key, value in tree.items():
        if len(fields) >= MAX_FIELDS and key not in _TEXT_KEYS:
            continue
        if type(value) is str:
            if len(value) <= MAX_TEXT and (value.isprintable() or not UNPRINTABLE.search(value)):
                fields[key] = value
            elif key in _TEXT_KEYS:
                _refuse_field(key, _bad_text(key, value, at), note, optional)
        elif key == "rolling" and type(value) is bool:
            fields[key] = "true" if value else "false"
        elif key in _TEXT_KEYS and value is not None:
            if type(value) is int or isinstance(value, Decimal):
                fields[key] = str(value)
            else:
                _refuse_field(key, wrong_type(key, "text", value, at), note, optional)
    return fields


def _refuse_field(key: str, flaw: DocumentProblem, note: Note, optional: Collection[str]) -> None:
    if key in _NAMING_KEYS and key not in optional:
        raise flaw
    note(flaw)


def _bad_text(key: str, value: str, at: tuple[str, ...]) -> DocumentProblem:
    return problem(
        "document-bad-text",
        f'The text under "{key}" is too long or holds control characters',
        at,
        expected=f"at most {MAX_TEXT} printable characters",
        got=ascii(value[:100]),
    )


def updated_at(tree: dict[str, Any], at: tuple[str, ...], note: Note) -> datetime | None:
    """The document's own date; None when it has none that can be read, which is noted."""
    text = tree.get("updated")
    if text is None:
        return None
    if type(text) is not str:
        note(wrong_type("updated", "a time as text", text, at))
        return None
    try:
        return parse_time(text)
    except ValueError:
        note(
            problem(
                "document-bad-time",
                'The time under "updated" can\'t be read',
                at,
                expected='e.g. "Thu, 24 Jul 2025 08:01:47 +0000" or "2025-07-24T08:01:47Z"',
                got=ascii(text[:100]),
            )
        )
        return None


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
        got=_kind_of(value),
    )


def _kind_of(value: Any) -> str:
    if isinstance(value, Unusable):
        return value.got
    return "nothing" if value is None else type(value).__name__


def too_many(what: str, at: tuple[str, ...], most: int, got: int) -> DocumentProblem:
    """The problem of a stream that is larger than any real one."""
    return problem(TOO_LARGE, f"Too many {what}", at, expected=f"at most {most}", got=str(got))


def problem(
    code: str, what: str, at: tuple[str, ...], *, expected: str = "", got: str = ""
) -> DocumentProblem:
    """A problem with one entry, or with the document itself."""
    return DocumentProblem(
        f"{what}.",
        code=code,
        where=", ".join(at),
        expected=expected,
        got=got,
        next_step="Contact the publisher of the stream.",
    )
