# SPDX-License-Identifier: Apache-2.0
"""Values that strict JSON doesn't have cost what they belong to (rule: odd-entries)."""

from __future__ import annotations

import json

import pytest

from tests.unit.streams.documents.noble import NAME, item_of, noble
from webapp.streams.documents import ProductsDocument, parse_index, parse_products
from webapp.streams.errors import DocumentProblem
from webapp.streams.mapping import map_products

ODD = {
    "a large integer": b"1" + b"0" * 30,
    "infinity": b"1e999",
    "NaN": b"NaN",
    "minus infinity": b"-Infinity",
    "U+0000": b'"a\\u0000b"',
    "half a pair": b'"\\ud800"',
    "a key twice": b'{"a": 1, "a": 2}',
    "very deep": b"[" * 60 + b"]" * 60,
}
HERE = "put it here"


def parse(tree: object, odd: bytes) -> ProductsDocument:
    raw = json.dumps(tree).encode().replace(b'"' + HERE.encode() + b'"', odd)
    return parse_products(raw, where="products")


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["size", "sha256", "path", "ftype"])
def test_an_odd_value_of_an_item_costs_its_version(odd: str, key: str) -> None:
    tree = noble()
    item_of(tree)[key] = HERE
    document = parse(tree, ODD[odd])
    ((left_out,),) = (document.left_out,)
    assert (left_out.product, left_out.version, left_out.item) == (NAME, "20250717", "squashfs")
    assert key in left_out.reason
    assert [one.version for one in map_products([document]).offers] == ["20250710"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["arch", "label", "versions"])
def test_an_odd_value_of_a_product_costs_the_product(odd: str, key: str) -> None:
    tree = noble()
    tree["products"]["odd"] = {**tree["products"][NAME], key: HERE}
    document = parse(tree, ODD[odd])
    assert [one.product for one in map_products([document]).offers] == [NAME]
    assert {one.product for one in document.left_out} == {"odd"}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_value_that_is_not_needed_costs_nothing(odd: str) -> None:
    tree = noble()
    item_of(tree)["comment"] = HERE
    tree["comment"] = tree["products"][NAME]["comment"] = HERE
    tree["updated"] = tree["datatype"] = HERE
    tree["products"][NAME]["release_title"] = HERE
    document = parse(tree, ODD[odd])
    (offer,) = map_products([document]).offers
    assert offer.version == "20250717"
    named = {one.reason.partition(" ")[0].strip('"') for one in document.left_out}
    assert named <= {"updated", "datatype", "release_title", "The"}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_entry_of_an_index_is_left_out(odd: str) -> None:
    entry = {"format": "products:1.0", "path": "a.json"}
    tree = {"format": "index:1.0", "index": {"a": entry, "b": HERE, "c": {**entry, "path": HERE}}}
    raw = json.dumps(tree).encode().replace(b'"' + HERE.encode() + b'"', ODD[odd])
    index = parse_index(raw, where="index")
    assert [one.content_id for one in index.entries] == ["a"]
    assert [one.product for one in index.left_out] == ["b", "c"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["products", "format", "content_id"])
def test_what_the_whole_document_is_made_of_has_to_be_sound(odd: str, key: str) -> None:
    with pytest.raises(DocumentProblem):
        parse({**noble(), key: HERE}, ODD[odd])


def test_a_document_that_is_odd_as_a_whole_says_why() -> None:
    with pytest.raises(DocumentProblem) as caught:
        parse_products(b'{"format": "products:1.0", "format": "products:1.0"}', where="x")
    assert caught.value.code == "document-duplicate-key"
