# SPDX-License-Identifier: Apache-2.0
"""Parse usual JSON by the standard library's parser, in a third of the time of the strict one.

It refuses nothing: for a document that might take much memory, or that has anything that
strict JSON lacks, there's no value, and the strict parser decides and tells why.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any, NoReturn

MAX_BYTES = 8 << 20  # of a document; as text that may be four times as much
NUMBER_BYTES = 100  # that a number takes at most
VALUE_BYTES = 150  # that a short text or an empty object takes, with its place in another
# The bounds of a BIGINT column; the largest size a stream names is far below.
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
MAX_INTEGER_DIGITS = len(str(MIN_INTEGER))
_ODD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")  # or what looks like one
_CONTAINERS = (dict, list)


class Decimal(float):
    """A number that remembers how it was written: a version 24.10 isn't 24.1."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> Decimal:
        """The number in this text."""
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __str__(self) -> str:
        """The number as the document writes it, at most 64 characters."""
        return self._text[:64]


def loads(payload: bytes, *, max_depth: int, max_values: int, max_object_bytes: int) -> Any:
    """The value of a document; None where only the strict parser can tell.

    Commas and brackets bound the number of values, and with the text's width their memory,
    before it's taken.
    """
    most = 1 + sum(map(payload.count, (b",", b"[", b"{")))
    if len(payload) > MAX_BYTES or most > max_values or _ODD_ESCAPE.search(payload):
        return None
    try:
        text = payload.decode()
        if 2 * sys.getsizeof(text) + most * VALUE_BYTES > max_object_bytes:
            return None
        value = _USUAL.decode(text)
    except (ValueError, RecursionError):
        return None
    depth, size = _measure(value)
    return value if depth <= max_depth and size <= max_object_bytes else None


def _measure(value: Any) -> tuple[int, int]:
    """How many levels a value has, and how many bytes of memory it takes at most."""
    level, depth, names = [value], 0, set[str]()
    size = sys.getsizeof(value)
    while opened := [one for one in level if type(one) in _CONTAINERS]:
        depth += 1
        level = []
        for one in opened:
            if type(one) is dict:
                names.update(one)
                level += one.values()
            else:
                level += one
        size += sum(map(sys.getsizeof, level)) + NUMBER_BYTES * len(level)
    return depth, size + sum(map(sys.getsizeof, names))


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS or not MIN_INTEGER <= int(digits) <= MAX_INTEGER:
        raise ValueError
    return int(digits)


def _float(digits: str) -> Decimal:
    number = Decimal(digits)
    if not math.isfinite(number):
        raise ValueError
    return number


def _constant(word: str) -> NoReturn:
    raise ValueError(word)


_USUAL = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
