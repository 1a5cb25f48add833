# SPDX-License-Identifier: Apache-2.0
"""Parse JSON as I-JSON (RFC 7493) asks for, with limits, so that it means one thing only."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from webapp.streams.errors import DocumentProblem
from webapp.trust import sniff

MAX_DEPTH = 32
MAX_VALUES = 400_000  # the full published catalogue holds some 13,000
# The bounds of a BIGINT column; the largest size a stream names is far below.
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_BAD_TEXT = "U+0000 or half of a surrogate pair"
_MAX_INTEGER_DIGITS = len(str(MIN_INTEGER))
_WORDS = {
    "not-json": "The document isn't JSON.",
    "not-utf8": "The document isn't plain UTF-8.",
    "duplicate-key": "The document names a key twice, so it could be read in two ways.",
    "too-deep": "The document is nested too deeply.",
    "too-many-values": "The document holds too many values.",
    "bad-number": "The document holds a number that can't be used.",
    "bad-text": "The document holds text that can't be stored.",
}


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


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands for a value that strict JSON doesn't have; it's of none of JSON's types.

    got: what the document has there.
    """

    got: str


def loads(
    payload: bytes, *, what: str, max_depth: int = MAX_DEPTH, keeps_unusable: bool = False
) -> Any:
    """Parse one JSON text; ``what`` names the document in a problem.

    Beyond what JSON's grammar refuses: bytes that are not UTF-8, a byte order
    mark, a key twice in one object, NaN and Infinity (also as 1e999), integers
    beyond 64 bits, text that no database or terminal can hold (U+0000 and lone
    surrogates), nesting deeper than max_depth and more than MAX_VALUES values.
    keeps_unusable: a value like that, and an object with a key twice, becomes Unusable
    instead of refusing the whole text.
    Raises DocumentProblem and nothing else.
    """
    parser = _Parser(what, keeps_unusable)
    value = parser.parse(payload)
    if isinstance(value, Unusable):  # all of it: say why
        return loads(payload, what=what, max_depth=max_depth)
    parser.check_tree(value, max_depth, has_escapes=b"\\u" in payload)
    return value


class _Parser:
    """The hooks of one parse; they only add the document's name to each refusal."""

    def __init__(self, what: str, keeps_unusable: bool) -> None:
        self._what = what
        self._keeps_unusable = keeps_unusable

    def parse(self, payload: bytes) -> Any:
        # A value starts after one of these, so this bounds the memory of the
        # result before any of it is built. Those inside strings count, too.
        values = payload.count(b",") + payload.count(b"[") + payload.count(b"{")
        if values > MAX_VALUES:
            self._refuse("too-many-values", f"at most {MAX_VALUES} values", f"up to {values}")
        if payload.startswith(b"\xef\xbb\xbf"):
            self._refuse("not-utf8", "UTF-8 without a byte order mark", "a byte order mark")
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError as error:
            self._refuse("not-utf8", "UTF-8", f"another byte at offset {error.start}")
        try:
            return json.loads(
                text,
                object_pairs_hook=self._object,
                parse_int=self._integer,
                parse_float=self._float,
                parse_constant=self._constant,
            )
        except json.JSONDecodeError as error:
            kind = sniff.describe(payload)
            place = f"{error.msg} at line {error.lineno} column {error.colno}"
            got = place if kind in (sniff.JSON, sniff.TEXT) else kind
            self._refuse("not-json", "one JSON document", got)
        except RecursionError:
            self._refuse("too-deep", "a flat document", "thousands of levels")

    def check_tree(self, root: Any, max_depth: int, *, has_escapes: bool) -> None:
        """Walk the tree level by level: its depth, and text that only an escape can smuggle in."""
        if max_depth == 0 and isinstance(root, dict | list):
            self._refuse("too-deep", "no levels", "more")
        if has_escapes and isinstance(root, str) and _is_bad(root):
            self._refuse("bad-text", "Unicode text", _BAD_TEXT)
        level = [root]
        depth = 0
        while level:
            below: list[Any] = []
            for node in level:
                if not isinstance(node, dict | list):
                    continue
                if has_escapes and isinstance(node, dict) and any(map(_is_bad, node)):
                    self._refuse("bad-text", "Unicode text", _BAD_TEXT)
                for at, child in node.items() if isinstance(node, dict) else enumerate(node):
                    if isinstance(child, dict | list):
                        if depth + 1 == max_depth:
                            found = self._odd("too-deep", f"at most {max_depth} levels", "more")
                            node[at] = found
                        else:
                            below.append(child)
                    elif has_escapes and isinstance(child, str) and _is_bad(child):
                        node[at] = self._odd("bad-text", "Unicode text", _BAD_TEXT)
            level = below
            depth += 1

    def _object(self, pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    return self._odd("duplicate-key", "each key once", f"{_shown(name)} twice")
                seen.add(name)
        return found

    def _integer(self, digits: str) -> Any:
        if len(digits) <= _MAX_INTEGER_DIGITS and MIN_INTEGER <= int(digits) <= MAX_INTEGER:
            return int(digits)
        return self._odd("bad-number", "an integer of at most 64 bits", _shown(digits))

    def _float(self, digits: str) -> Any:
        number = Decimal(digits)
        if not math.isfinite(number):
            return self._odd("bad-number", "a finite number", _shown(digits))
        return number

    def _constant(self, word: str) -> Any:
        return self._odd("bad-number", "a number", word)

    def _odd(self, code: str, expected: str, got: str) -> Unusable:
        if self._keeps_unusable:
            return Unusable(got)
        self._refuse(code, expected, got)

    def _refuse(self, code: str, expected: str, got: str) -> NoReturn:
        raise DocumentProblem(
            _WORDS[code],
            code=f"document-{code}",
            where=self._what,
            expected=expected,
            got=got,
            next_step="Check that this is the URL of a stream. If it is, contact its publisher.",
        ) from None


def _is_bad(text: str) -> bool:
    return "\0" in text or _SURROGATE.search(text) is not None


def _shown(text: str) -> str:
    """A stranger's text for an error: short, and only printable ASCII."""
    return ascii(text if len(text) <= 60 else text[:60] + "...")
