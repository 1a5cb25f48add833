# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webapp.streams import quickjson, strictjson
from webapp.streams.errors import DocumentProblem

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(quickjson.MIN_INTEGER, quickjson.MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)

NEARLY = st.text('{}[]",:\\u0123456789eE+-. \n\ttrufalsn\x00\ud800', max_size=40)


def refusal(payload: bytes, **options: int) -> DocumentProblem:
    with pytest.raises(DocumentProblem) as refused:
        strictjson.loads(payload, what="index.sjson", **options)
    return refused.value


def quickly(payload: bytes, max_depth: int = strictjson.MAX_DEPTH) -> Any:
    """The value by the standard parser, under the limits of the strict one."""
    return quickjson.loads(
        payload,
        max_depth=max_depth,
        max_values=strictjson.MAX_VALUES,
        max_object_bytes=strictjson.MAX_OBJECT_BYTES,
    )


def carefully(payload: bytes, max_depth: int = strictjson.MAX_DEPTH) -> Any:
    """The value by the strict parser alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickjson, "MAX_BYTES", -1)
        return strictjson.loads(payload, what="x", max_depth=max_depth)


def same(one: Any, other: Any) -> bool:
    """Whether values and their types are the same, and how numbers were written."""
    return shape(one) == shape(other)


def shape(value: Any) -> Any:
    if type(value) is dict:
        return [(key, shape(one)) for key, one in value.items()]
    if type(value) is list:
        return [shape(one) for one in value]
    return type(value), str(value)


@given(VALUES, st.booleans(), st.sampled_from((None, 0, 1)))
def test_both_parsers_read_valid_documents_alike(
    value: Any, ensure_ascii: bool, indent: int | None
) -> None:
    payload = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent).encode()
    expected = json.loads(payload, parse_float=quickjson.Decimal)
    quick = quickly(payload, max_depth=100)

    assert same(strictjson.loads(payload, what="x", max_depth=100), expected)
    assert same(carefully(payload, max_depth=100), expected)
    assert quick is None or same(quick, expected)


@given(NEARLY)
def test_what_the_quick_parser_reads_the_strict_one_reads_alike(text: str) -> None:
    payload = text.encode("utf-8", "surrogatepass")
    quick = quickly(payload)

    if quick is not None:
        assert same(quick, carefully(payload))


def test_published_documents_are_read_quickly() -> None:
    item = {"ftype": "squashfs", "path": "a/b", "size": 2**40, "sha256": "f" * 64, "v": 24.10}
    products = {f"product {n}": {"label": "é", "items": {"squashfs": item}} for n in range(20_000)}
    payload = json.dumps({"products": products}, ensure_ascii=False).encode()

    assert len(payload) > 3 << 20
    assert same(quickly(payload), carefully(payload))


@pytest.mark.parametrize(
    "payload",
    [
        b'["\\ud83d"]',
        b'["\\u0000"]',
        b'{"a": 1, "a": 2}',
        b"[NaN]",
        b"[1e999]",
        b"[9223372036854775808]",
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" + b"1," * strictjson.MAX_VALUES + b"1]",
        b'["%s"]' % (b"x" * quickjson.MAX_BYTES),
        b"[%s]" % b",".join(b'{"%d":{}}' % n for n in range(130_000)),
    ],
    ids=lambda payload: payload[:24].decode(),
)
def test_what_is_odd_or_large_is_left_to_the_strict_parser(payload: bytes) -> None:
    assert quickly(payload) is None


def test_reading_quickly_takes_no_more_memory_than_the_values_may() -> None:
    many = [f'"{n}\N{ROCKET}":1'.encode() for n in range(390_000)]
    for payload in (b"{%s}" % b",".join(many), b"[%s]" % b",".join([b'{"a":1}'] * 190_000)):
        tracemalloc.start()
        quickly(payload)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < strictjson.MAX_OBJECT_BYTES


@given(st.binary())
def test_random_bytes_are_refused_or_mean_what_json_says(payload: bytes) -> None:
    try:
        value = strictjson.loads(payload, what="x")
    except DocumentProblem:
        return

    assert value == json.loads(payload)


@given(NEARLY)
@example("0E")
@example("[1.]")
@example('"\\u12"')
@example('{"a": "\\')
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
