# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.streams import strictjson
from webapp.streams.errors import DocumentProblem

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(strictjson.MIN_INTEGER, strictjson.MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


def refusal(payload: bytes, **options: int) -> DocumentProblem:
    with pytest.raises(DocumentProblem) as refused:
        strictjson.loads(payload, what="index.sjson", **options)
    return refused.value


@given(VALUES, st.booleans(), st.sampled_from((None, 0, 1)))
def test_valid_documents_mean_what_json_says(
    value: Any, ensure_ascii: bool, indent: int | None
) -> None:
    payload = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent).encode()

    assert strictjson.loads(payload, what="x", max_depth=100) == json.loads(payload)


@given(st.binary())
def test_random_bytes_are_refused_or_mean_what_json_says(payload: bytes) -> None:
    try:
        value = strictjson.loads(payload, what="x")
    except DocumentProblem:
        return

    assert value == json.loads(payload)


@given(st.text('{}[]",:\\u0123456789eE+-. \n\ttrufalsn\x00\ud800', max_size=40))
def test_text_that_is_nearly_json_never_raises_anything_else(text: str) -> None:
    payload = text.encode("utf-8", "surrogatepass")
    try:
        value = strictjson.loads(payload, what="x")
    except DocumentProblem:
        return

    assert value == json.loads(payload)


REFUSED = {
    "nothing": ("not-json", b""),
    "white space": ("not-json", b" \n"),
    "HTML": ("not-json", b"<html></html>"),
    "cut off": ("not-json", b'{"a": [1, 2'),
    "something after": ("not-json", b"{} {}"),
    "comma at the end": ("not-json", b'{"a": 1,}'),
    "text and a mark after it": ("not-json", b'"a" ]'),
    "list that an object's brace closes": ("not-json", b"[1 }"),
    "object that a list's bracket closes": ("not-json", b'{"a": 1 ]'),
    "object in an object that a bracket closes": ("not-json", b'{"a": {}]'),
    "key without a value": ("not-json", b'{"a":}'),
    "comment": ("not-json", b"{} // x"),
    "single quotes": ("not-json", b"{'a': 1}"),
    "control character in a text": ("not-json", b'"a\nb"'),
    "leading zero": ("not-json", b"[01]"),
    "NUL": ("not-json", b"{}\0"),
    "byte order mark": ("not-utf8", b"\xef\xbb\xbf{}"),
    "UTF-16": ("not-utf8", '{"a": 1}'.encode("utf-16")),
    "Latin-1": ("not-utf8", '"é"'.encode("latin-1")),
    "overlong slash": ("not-utf8", b'"\xc0\xaf"'),
    "surrogate in UTF-8": ("not-utf8", b'"\xed\xa0\x80"'),
    "NaN": ("bad-number", b"[NaN]"),
    "Infinity": ("bad-number", b"[-Infinity]"),
    "float that overflows": ("bad-number", b"[1e999]"),
    "integer beyond 64 bits": ("bad-number", b"[9223372036854775808]"),
    "integer of 100,000 digits": ("bad-number", b"1" * 100_000),
    "half a surrogate pair": ("bad-text", b'"\\ud83d"'),
    "surrogates the wrong way round": ("bad-text", b'["\\ude00\\ud83d"]'),
    "half a surrogate pair in a key": ("bad-text", b'{"\\ud83d": 1}'),
    "U+0000": ("bad-text", b'{"a": ["\\u0000"]}'),
    "key twice": ("duplicate-key", b'{"a": 1, "a": 1}'),
    "key twice by an escape": ("duplicate-key", b'{"a": 1, "\\u0061": 2}'),
    "key twice deep inside": ("duplicate-key", b'[{"x": {"a": 1, "b": 2, "a": 3}}]'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_document_is_refused_for_its_reason(name: str) -> None:
    code, payload = REFUSED[name]

    problem = refusal(payload)

    assert problem.code == f"document-{code}"
    assert problem.where == "index.sjson"
    assert all((problem.what, problem.expected, problem.got, problem.next_step))
    assert len(str(problem)) < 500


def test_key_that_stands_twice_is_named() -> None:
    assert "'products'" in refusal(b'{"products": {}, "products": {"evil": {}}}').got


@pytest.mark.parametrize(
    ("payload", "got"),
    {
        b'"a" ]': "the end at line 1 column 5",
        b"[1 }": "a comma or ] at line 1 column 4",
        b'{"a": 1\n ]': "a comma or } at line 2 column 2",
        b'{"a": 1 2}': "a comma or } at line 1 column 9",
        b'{"a": }': "a value at line 1 column 7",
        b"{1}": "a key in double quotes and a colon at line 1 column 2",
    }.items(),
)
def test_what_is_wrong_is_shown_where_it_stands(payload: bytes, got: str) -> None:
    assert refusal(payload).got == f"something other than {got}"


def test_depth_counts_every_kind_of_level() -> None:
    nested = b'{"a": [' * 16 + b"1" + b"]}" * 16

    assert strictjson.loads(nested, what="x")
    assert refusal(b"[" + nested + b"]").code == "document-too-deep"
    assert refusal(nested, max_depth=31).code == "document-too-deep"
    assert strictjson.loads(b"1", what="x", max_depth=0) == 1
    assert refusal(b"[]", max_depth=0).code == "document-too-deep"


@pytest.mark.parametrize("payload", [b"[" * 200_000, b'{"a":' * 300_000, b"[" * 900 + b"]" * 900])
def test_bottomless_nesting_is_refused_without_harm(payload: bytes) -> None:
    limit = sys.getrecursionlimit()

    assert refusal(payload).code in ("document-too-deep", "document-not-json")
    assert sys.getrecursionlimit() == limit


def test_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strictjson, "MAX_VALUES", 4)

    assert strictjson.loads(b"[1, 2, 3]", what="x") == [1, 2, 3]
    assert refusal(b"[1, 2, 3, 4]").code == "document-too-many-values"


def test_memory_of_the_result_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strictjson, "MAX_OBJECT_BYTES", 100_000)

    assert strictjson.loads(b'["%s"]' % (b"x" * 90_000), what="x")
    for payload in (
        b'["%s"]' % (b"x" * 100_000),
        b'["%s"]' % ("\N{ROCKET}" + "x" * 30_000).encode(),  # four bytes for each
        b"[%s]" % b",".join([b"[]"] * 2_000),
        b"[%s]" % b",".join([b"1"] * 2_000),
        b"{%s}" % b",".join(b'"%040d":null' % n for n in range(1_500)),
    ):
        assert refusal(payload).code == "document-too-much-content"


def test_a_document_is_read_alike_whatever_its_encoding_meets_at_a_boundary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strictjson, "_PIECE_BYTES", 3)
    payload = '["é€\N{ROCKET}", "é"]'.encode()

    assert strictjson.loads(payload, what="x") == json.loads(payload)
    assert refusal(payload[:12] + b"\xff" + payload[12:]).got == "another byte at offset 12"
    assert refusal(payload.replace(b'"', b"")[:-2]).code == "document-not-utf8"


def test_levels_that_are_too_deep_can_be_left_out() -> None:
    nested = b'{"a": [1], "b": ' + b"[" * 5 + b"]" * 5 + b"}"
    found = strictjson.loads(nested, what="x", max_depth=4, keeps_unusable=True)

    assert found == {"a": [1], "b": [[[strictjson.Unusable("more")]]]}
    with pytest.raises(DocumentProblem, match="too deeply"):
        strictjson.loads(b"[" * 201 + b"]" * 201, what="x", keeps_unusable=True)


def test_bounds_of_integers_are_those_of_a_bigint() -> None:
    edges = [-(2**63), 2**63 - 1]

    assert strictjson.loads(json.dumps(edges).encode(), what="x") == edges
