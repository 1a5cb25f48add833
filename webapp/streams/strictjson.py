# SPDX-License-Identifier: Apache-2.0
"""Parse JSON as I-JSON (RFC 7493) asks for, with limits, so that it means one thing only.

The standard library checks for none of this by itself, and parses a str: one odd character
makes that four times as large as the document. It reads the usual document (quickjson).
Any other is decoded a token at a time here, and what the result takes in memory is counted
while it grows.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

from webapp.streams import quickjson
from webapp.streams.errors import DocumentProblem
from webapp.streams.quickjson import MAX_INTEGER, MAX_INTEGER_DIGITS, MIN_INTEGER, Decimal
from webapp.trust import sniff

MAX_DEPTH = 32
MAX_VALUES = 400_000  # the full published catalogue holds some 13,000
MAX_OBJECT_BYTES = 40 << 20  # of memory for all of them; that catalogue takes less than 2 MiB
MAX_PIECES = 200_000  # of a text: what stands between escapes, and the escapes
MAX_NESTED = 200  # levels, of parts that aren't kept as well
_SURROGATE = re.compile("[\ud800-\udfff]")
_BAD_TEXT = "U+0000 or half of a surrogate pair"
_PIECE_BYTES = 1 << 20  # that are decoded at a time
_MAX_SHARED_BYTES, _MAX_SHARED = 32, 10_000
_CONSTANTS = {b"true": True, b"false": False, b"null": None}

# Possessive, so that no text makes them slow or take memory. In a possessive group only single
# characters come before what can fail: before Python 3.11.5 anything else goes wrong (CPython
# issue 106052). "(...|)" is an optional group, which takes less memory than an atomic one.
_SPACE = rb"[ \t\n\r]*+"
_HEX = rb"[0-9A-Fa-f]"
_TEXT = rb'"((?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u%s){0,%d}+)"' % (_HEX * 4, MAX_PIECES)
_NUMBER = rb"(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++|)(?:[eE][-+]?[0-9]++|))"
_WORD = rb"(true|false|null|NaN|-?Infinity)"
_MARK = re.compile(_SPACE + rb"([,\]}])")
# What opens an object or a list; or a text, number or word, with the mark that follows it.
_SCALAR = rb"(?:%s|%s|%s)(?:%s|)" % (_TEXT, _NUMBER, _WORD, _MARK.pattern)
_VALUE = re.compile(_SPACE + rb"(?:([{\[])|%s)" % _SCALAR)
_NAME = re.compile(_SPACE + _TEXT + _SPACE + rb":")
_MEMBER = re.compile(_NAME.pattern + _VALUE.pattern)
_NO_SPACE = re.compile(rb"[^ \t\n\r]")
_READABLE = (sniff.JSON, sniff.TEXT)
_WORDS = {
    "not-json": "The document isn't JSON.",
    "not-utf8": "The document isn't plain UTF-8.",
    "duplicate-key": "The document names a key twice, so it could be read in two ways.",
    "too-deep": "The document is nested too deeply.",
    "too-many-values": "The document holds too many values.",
    "too-much-content": "The document holds more than can be kept in memory.",
    "bad-number": "The document holds a number that can't be used.",
    "bad-text": "The document holds text that can't be stored.",
}


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
    surrogates), nesting deeper than max_depth, more than MAX_VALUES values, and values
    that take more than MAX_OBJECT_BYTES of memory.
    keeps_unusable: a value like that, and an object with a key twice, becomes Unusable
    instead of refusing the whole text.
    Raises DocumentProblem and nothing else.
    """
    value = quickjson.loads(
        payload, max_depth=max_depth, max_values=MAX_VALUES, max_object_bytes=MAX_OBJECT_BYTES
    )
    if value is None:
        value = _Parser(payload, what, max_depth, keeps_unusable).parse()
    if isinstance(value, Unusable):  # all of it: say why
        return loads(payload, what=what, max_depth=max_depth)
    return value


class _Parser:
    """One parse of one text."""

    def __init__(self, payload: bytes, what: str, max_depth: int, keeps_unusable: bool) -> None:
        self._payload = payload
        self._what = what
        self._max_depth = max_depth
        self._keeps_unusable = keeps_unusable
        self._at = 0  # where the next token starts
        self._values = 0
        self._bytes = 0
        self._shared: dict[bytes, str] = {}  # short texts that are repeated, as names are

    def parse(self) -> Any:
        self._check_encoding()
        token = _VALUE.match(self._payload)
        if token is None:
            self._refuse_syntax("a value")
        self._at = token.end()
        *parts, mark = token.groups()
        value = self._value(0, *parts)
        self._at -= len(mark or b"")
        if _NO_SPACE.search(self._payload, self._at):
            self._refuse_syntax("the end")
        return value

    def _check_encoding(self) -> None:
        if self._payload.startswith(codecs.BOM_UTF8):
            self._refuse("not-utf8", "UTF-8 without a byte order mark", "a byte order mark")
        decoder = codecs.getincrementaldecoder("utf-8")()
        view = memoryview(self._payload)
        for start in range(0, max(len(view), 1), _PIECE_BYTES):
            before = len(decoder.getstate()[0])
            end = start + _PIECE_BYTES
            try:
                decoder.decode(view[start:end], final=end >= len(view))
            except UnicodeDecodeError as error:
                at = start - before + error.start
                self._refuse("not-utf8", "UTF-8", f"another byte at offset {at}")

    def _value(
        self,
        depth: int,
        opened: bytes | None,
        text: bytes | None,
        number: bytes | None,
        word: bytes | None,
    ) -> Any:
        """The value that one of these parts of a token stands for, inside depth levels."""
        self._values += 1
        if self._values > MAX_VALUES:
            self._refuse("too-many-values", f"at most {MAX_VALUES} values", "more")
        if text is not None:
            return self._text(text)
        if number is not None:
            self._count(quickjson.NUMBER_BYTES)
            digits = number.decode()
            is_float = any(sign in digits for sign in ".eE")
            return self._float(digits) if is_float else self._integer(digits)
        if word is not None:
            return _CONSTANTS[word] if word in _CONSTANTS else self._constant(word.decode())
        if depth == MAX_NESTED:
            self._refuse("too-deep", "a flat document", "hundreds of levels")
        flaw = None
        if depth == self._max_depth:
            flaw = self._odd("too-deep", f"at most {depth} levels", "more")
        inside = self._object(depth + 1) if opened == b"{" else self._list(depth + 1)
        return flaw or inside

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        mark = self._mark_if(b"]") or b","
        while mark == b",":
            token = _VALUE.match(self._payload, self._at)
            if token is None:
                self._refuse_syntax("a value")
            self._at = token.end()
            *parts, next_mark = token.groups()
            found.append(self._value(depth, *parts))
            mark = next_mark or self._mark(b"]")
        self._check_closed(mark, b"]")
        self._count(sys.getsizeof(found))
        return found

    def _object(self, depth: int) -> dict[str, Any] | Unusable:
        found: dict[str, Any] = {}
        flaw = None
        match, payload, shared = _MEMBER.match, self._payload, self._shared
        mark = self._mark_if(b"}") or b","
        while mark == b",":
            token = match(payload, self._at)
            if token is None:
                self._refuse_member()
            self._at = token.end()
            written, opened, text, number, word, next_mark = token.groups()
            name = shared.get(written) or self._name(written)
            if name in found and flaw is None:
                flaw = self._odd("duplicate-key", "each key once", f"{_shown(name)} twice")
            found[name] = self._value(depth, opened, text, number, word)
            mark = next_mark or self._mark(b"}")
        self._check_closed(mark, b"}")
        self._count(sys.getsizeof(found))
        return flaw or found

    def _name(self, written: bytes) -> str:
        name = self._text(written)
        if isinstance(name, Unusable):
            self._refuse("bad-text", "Unicode text", _BAD_TEXT)
        return name

    def _text(self, written: bytes) -> str | Unusable:
        """The text between quotes, the same object for short ones that are alike."""
        text = self._shared.get(written)
        if text is not None:
            return text
        text = written.decode()
        if b"\\" in written:
            text = json.loads(f'"{text}"')
        self._count(sys.getsizeof(text))
        if b"\\" in written and ("\0" in text or _SURROGATE.search(text)):
            return self._odd("bad-text", "Unicode text", _BAD_TEXT)
        if len(written) <= _MAX_SHARED_BYTES and len(self._shared) < _MAX_SHARED:
            self._shared[written] = text
        return text

    def _mark(self, closing: bytes) -> bytes:
        """What follows a value: a comma, or what closes an object or a list."""
        token = _MARK.match(self._payload, self._at)
        if token is None:
            self._refuse_syntax(f"a comma or {closing.decode()}")
        self._at = token.end()
        return token[1]

    def _mark_if(self, closing: bytes) -> bytes | None:
        """What closes what was just opened, if it's empty."""
        token = _MARK.match(self._payload, self._at)
        if token is None or token[1] != closing:
            return None
        self._at = token.end()
        return closing

    def _check_closed(self, mark: bytes, closing: bytes) -> None:
        if mark != closing:
            self._at -= len(mark)
            self._refuse_syntax(f"a comma or {closing.decode()}")

    def _count(self, size: int) -> None:
        """Count the memory of one more object, in bytes."""
        self._bytes += size
        if self._bytes > MAX_OBJECT_BYTES:
            most = f"values that take at most {MAX_OBJECT_BYTES >> 20} MiB of memory"
            self._refuse("too-much-content", most, "more")

    def _refuse_member(self) -> NoReturn:
        name = _NAME.match(self._payload, self._at)
        if name is None:
            self._refuse_syntax("a key in double quotes and a colon")
        self._at = name.end()
        self._refuse_syntax("a value")

    def _refuse_syntax(self, expected: str) -> NoReturn:
        found = _NO_SPACE.search(self._payload, self._at)
        at = found.start() if found else len(self._payload)
        line = self._payload.count(b"\n", 0, at) + 1
        column = at - self._payload.rfind(b"\n", 0, at)
        place = f"something other than {expected} at line {line} column {column}"
        kind = sniff.describe(self._payload)
        self._refuse("not-json", "one JSON document", place if kind in _READABLE else kind)

    def _integer(self, digits: str) -> Any:
        if len(digits) <= MAX_INTEGER_DIGITS and MIN_INTEGER <= int(digits) <= MAX_INTEGER:
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


def _shown(text: str) -> str:
    """A stranger's text for an error: short, and only printable ASCII."""
    return ascii(text if len(text) <= 60 else text[:60] + "...")
