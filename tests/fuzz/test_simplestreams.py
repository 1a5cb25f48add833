# SPDX-License-Identifier: Apache-2.0
"""Fuzz simplestreams documents: bytes, JSON of any shape, and real documents with odd values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.guards import guarded
from tests.unit.streams import shapes
from webapp.errors import Problem
from webapp.streams.documents import parse_index, parse_products
from webapp.streams.mapping import map_products

FUZZED = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
KERNEL = shapes.kernel("noble", "amd64", "ga-24.04")
PRODUCTS = {shapes.ubuntu_name(KERNEL): shapes.ubuntu(KERNEL)} | shapes.notification()
TREES = [shapes.tree(PRODUCTS), shapes.index({"a:b": shapes.tree(PRODUCTS)})]
WORDS = ["", "\0", "..", "../x", "1", "a" * 600, "\u202e", "\ud800", "squashfs", "ubuntu", "2026"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([2**63, -(2**63), 10**400, 1e308, *WORDS])
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
PIECES = [b"[", b"{", b'{"a":', b"]", b"}", b'"', b"\\u0000", b"1e999", b"NaN", b"\xff", b",", b"9"]


def outcome(payload: bytes) -> str:
    """What both readers make of these bytes, as text."""
    answers = []
    for read in (parse_index, parse_products):
        try:
            found = read(payload, where="x")
            answers.append(repr(found))
            if read is parse_products:
                answers.append(repr(map_products([found])))  # type: ignore[list-item]
        except Problem as problem:
            answers.append(str(problem.as_dict()))
    return "\n".join(answers)


def places(tree: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a document."""
    found = [way] if way else []
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found += places(value, (*way, key))
    return found


@FUZZED
@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))
def test_any_bytes(payload: bytes) -> None:
    guarded(lambda: outcome(payload))


@FUZZED
@given(VALUES)
def test_any_json(value: Any) -> None:
    for form in ("index:1.0", "products:1.0"):
        tree = {"format": form, "content_id": "x", "index": value, "products": value}
        guarded(lambda tree=tree: outcome(json.dumps(tree).encode()))  # type: ignore[misc]


@FUZZED
@given(st.data())
def test_documents_with_odd_values(data: st.DataObject) -> None:
    tree = json.loads(json.dumps(data.draw(st.sampled_from(TREES))))
    for _ in range(data.draw(st.integers(1, 4))):
        *way, last = data.draw(st.sampled_from(places(tree)))
        holder = tree
        for key in way:
            holder = holder[key]
        if isinstance(holder, dict) and data.draw(st.booleans()):
            holder[data.draw(st.sampled_from(WORDS))] = holder.pop(last)
        else:
            holder[last] = data.draw(VALUES)
    guarded(lambda: outcome(json.dumps(tree).encode()))


@FUZZED
@given(st.data())
def test_documents_with_odd_bytes(data: st.DataObject) -> None:
    payload = bytearray(json.dumps(data.draw(st.sampled_from(TREES))).encode())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at : at + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(PIECES))
    guarded(lambda: outcome(bytes(payload)))


def test_what_grows_with_its_size_only() -> None:
    for payload in (
        b"[" * 1_000_000,
        b'{"format":"products:1.0","content_id":"x","products":{' + b'"a":{},' * 30_000 + b"}}",
        b'{"format":"index:1.0","index":{"a":' + b"9" * 1_000_000 + b"}}",
        json.dumps({"format": "index:1.0", "index": {"x" * 1_000_000: 1}}).encode(),
        json.dumps(shapes.tree({f"p{n}": n for n in range(15_000)})).encode(),
        json.dumps(shapes.tree({"p": {"versions": {"9" * n: {} for n in range(400)}}})).encode(),
    ):
        guarded(lambda payload=payload: outcome(payload))  # type: ignore[misc]
