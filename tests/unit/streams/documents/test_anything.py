# SPDX-License-Identifier: Apache-2.0
"""Any bytes and any values: a document or a problem, and nothing else."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.streams import shapes
from tests.unit.streams.documents.noble import noble, parse, product_of
from tests.unit.streams.shapes import Tree
from webapp.streams import checks
from webapp.streams.documents import (
    parse_index,
    parse_products,
)
from webapp.streams.errors import DocumentProblem
from webapp.streams.mapping import map_products

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["..", "a/../b", "2.9", "squashfs", "generic", "ubuntu", "2025-07-24"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["products", "versions", "items", "path"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def outcome(payload: bytes) -> str:
    try:
        map_products([parse_products(payload, where="x")])
    except DocumentProblem as problem:
        return f"{problem.code}: {problem}"
    return ""


def check_outcome(payload: bytes) -> None:
    text = outcome(payload)
    assert not text or (text.startswith("document-") and "\n" not in text)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_a_problem(payload: bytes) -> None:
    check_outcome(payload)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_value_anywhere_is_read_or_a_problem(data: st.DataObject) -> None:
    tree: Any = copy.deepcopy(data.draw(st.sampled_from(SMALL)))
    nodes = list(walk(tree))
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(nodes))
        match data.draw(st.sampled_from(["replace", "remove", "rename"])):
            case "replace":
                holder[key] = data.draw(JSON)
            case "remove":
                holder.pop(key, None)
            case "rename" if key in holder:
                holder[data.draw(st.text(max_size=5))] = holder.pop(key)
    check_outcome(json.dumps(tree).encode())
    with_index = {**tree, "format": "index:1.0", "index": tree.get("products")}
    with suppress(DocumentProblem):
        parse_index(json.dumps(with_index).encode(), where="x")


SMALL = [
    noble(),
    shapes.tree(shapes.centoses()),
    shapes.tree(shapes.loaders()),
    shapes.tree(shapes.ubuntu_core()),
    shapes.tree(shapes.notification()),
]


def walk(tree: Tree) -> Any:
    for key, value in tree.items():
        yield tree, key
        if isinstance(value, dict):
            yield from walk(value)


def test_text_limit_holds_for_names_as_for_fields() -> None:
    tree = noble()
    product_of(tree)["release_title"] = "x" * checks.MAX_TEXT
    tree["products"]["y" * checks.MAX_NAME] = {}
    assert len(parse(tree).products) == 2
