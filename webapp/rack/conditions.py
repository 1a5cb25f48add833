# SPDX-License-Identifier: Apache-2.0
"""Preconditions and ranges of RFC 9110, decided without any input or output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.http import parse_date

_ASKED = frozenset(
    {
        "HTTP_IF_MATCH",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_UNMODIFIED_SINCE",
        "HTTP_RANGE",
    }
)
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_TAG_LIST = re.compile(rf"[ \t,]*(?:{_TAG.pattern}[ \t]*(?:,[ \t,]*|$))+")
# One range; more digits than any position has mean nothing.
_RANGE = re.compile(r"bytes=[ \t,]*([0-9]{0,64})-([0-9]{0,64})[ \t,]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the conditions are compared with: the representation as it is now.

    etag: strong and quoted. modified: Unix time of Last-Modified.
    is_date_strong: the representation certainly did not change twice within
    that second, so a date may stand for its bytes (RFC 9110 8.8.2.2).
    """

    size: int
    etag: str
    modified: int
    is_date_strong: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """The status, and which bytes ``[start:stop]`` a 200 or 206 sends."""

    status: int
    start: int
    stop: int


def decide(method: str, environ: Mapping[str, Any], facts: Facts) -> Decision:
    """Choose 200, 206, 304, 412 or 416 in the order of RFC 9110 13.2.2."""
    if _ASKED.isdisjoint(environ):
        return Decision(200, 0, facts.size)
    refused = _precondition(environ, facts)
    if refused:
        return Decision(refused, 0, 0)
    wanted = environ.get("HTTP_RANGE")
    # Only GET has ranges (14.2); a Range whose condition is false is ignored.
    if wanted is None or method != "GET" or not _may_range(environ, facts):
        return Decision(200, 0, facts.size)
    return choose_range(wanted, facts.size)


def choose_range(wanted: str, size: int) -> Decision:
    """Answer one byte range; several ranges, or what is no range, get the whole.

    RFC 9110 14.2 lets a server ignore Range, and a machine that asked for
    several pieces can take the whole as well.
    """
    whole = Decision(200, 0, size)
    match = _RANGE.fullmatch(wanted.strip(" \t"))
    if match is None or not any(match.groups()):
        return whole
    first, last = match.groups()
    if not first:  # the last so many bytes
        if int(last) == 0:
            return Decision(416, 0, 0)
        # An empty file has no byte that a Content-Range could name.
        return Decision(206, max(0, size - int(last)), size) if size else whole
    if last and int(last) < int(first):
        return whole  # no valid range (14.1.1)
    if int(first) >= size:
        return Decision(416, 0, 0)
    return Decision(206, int(first), min(int(last) + 1, size) if last else size)


def _precondition(environ: Mapping[str, Any], facts: Facts) -> int:
    """The status of the first condition that fails, 0 when all hold."""
    if_match = environ.get("HTTP_IF_MATCH")
    if if_match is not None:
        if not _names(if_match, facts.etag, is_weak_enough=False):
            return 412
    else:
        since = _date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
        if since is not None and facts.modified > since:
            return 412
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None:
        return 304 if _names(if_none_match, facts.etag, is_weak_enough=True) else 0
    since = _date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    return 304 if since is not None and facts.modified <= since else 0


def _may_range(environ: Mapping[str, Any], facts: Facts) -> bool:
    """Whether If-Range, if there is one, names exactly what we hold (13.1.5)."""
    validator = environ.get("HTTP_IF_RANGE")
    if validator is None:
        return True
    validator = validator.strip(" \t")
    if validator.startswith(('"', "W/")):
        return bool(validator == facts.etag)
    return facts.is_date_strong and _date(validator) == facts.modified


def _names(field: str, etag: str, *, is_weak_enough: bool) -> bool:
    """Whether an entity-tag list names ours; a malformed list names nothing."""
    field = field.strip(" \t")
    if field == "*":
        return True
    if not _TAG_LIST.fullmatch(field):
        return False
    return any(tag == etag and (is_weak_enough or not weak) for weak, tag in _TAG.findall(field))


def _date(field: str | None) -> int | None:
    """Unix time of an HTTP date in any of its three forms; None when it is none."""
    if field is None:
        return None
    try:
        moment = parse_date(field)
        return None if moment is None else int(moment.timestamp())
    except (OverflowError, ValueError):  # a year that no calendar has
        return None
