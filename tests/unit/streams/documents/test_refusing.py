# SPDX-License-Identifier: Apache-2.0
"""What of a document is left out, what refuses it whole, and where the error points."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.streams import shapes
from tests.unit.streams.documents.noble import NAME, NOBLE, at, item_of, noble, parse, product_of
from tests.unit.streams.shapes import Tree
from webapp.streams import documents
from webapp.streams.documents import (
    parse_index,
    parse_products,
)
from webapp.streams.errors import DocumentProblem
from webapp.streams.mapping import map_products

HOSTILE_PATHS = [
    "",
    "/etc/passwd",
    "../../etc/passwd",
    "noble/../../x",
    "noble//x",
    "noble/./x",
    "noble/",
    "..",
    "http://evil.example/x",
    "file:///etc/passwd",
    "//evil.example/x",
    "C:/x",
    "noble\\x",
    "noble/%2e%2e/x",
    "noble/%252e%252e/x",
    "noble/%2f",
    "noble/a\x01b",
    "noble/a\u202eb",
    "noble/a\r\nb",
    "noble/" + "a" * 300,
    "a/" * 1000 + "b",
]
BAD_ITEMS = [
    *[{"path": path} for path in HOSTILE_PATHS],
    {"path": None},
    {"path": 7},
    {"path": ["a"]},
    {"size": None},
    {"size": True},
    {"size": "7 MB"},
    {"size": "-7"},
    {"size": ""},
    {"size": 7.0},
    {"size": -1},
    {"size": 2**44 + 1},
    {"sha256": None},
    {"sha256": 7},
    {"sha256": ""},
    {"sha256": "a" * 63},
    {"sha256": "a" * 65},
    {"sha256": "g" * 64},
    {"sha256": "a" * 63 + "\u0661"},
    {"sha256": "a" * 64 + "\n"},
    {"ftype": ["squashfs"]},
    {"ftype": "squash\nfs"},
]


@pytest.mark.parametrize("change", BAD_ITEMS)
def test_bad_item_is_left_out_with_its_reason_and_its_version_is_passed_over(change: Tree) -> None:
    tree = noble()
    item_of(tree).update(change)
    document = parse(tree)
    ((left_out,),) = (document.left_out,)
    assert (left_out.product, left_out.version, left_out.item) == (NAME, "20250717", "squashfs")
    assert left_out.reason
    (version, older) = document.products[0].versions
    assert "squashfs" not in {item.name for item in version.items}
    assert version.flaw == f"item squashfs: {left_out.reason}"
    assert not older.flaw
    mapped = map_products([document])
    assert [(one.version, len(one.items)) for one in mapped.offers] == [("20250710", 3)]
    assert {one.version for one in mapped.skipped} == {"20250717"}


@pytest.mark.parametrize("change", [*BAD_ITEMS, {"sha256": None, "md5": "0" * 32}])
def test_bad_item_of_a_type_that_is_not_stored_costs_no_version(change: Tree) -> None:
    tree = noble()
    item_of(tree, "manifest").update(change)
    document = parse(tree)
    assert [one.item for one in document.left_out] == ["manifest"]
    assert not any(
        item.path
        for v in document.products[0].versions[:1]
        for item in v.items
        if item.ftype == "manifest"
    )
    assert [one.version for one in map_products([document]).offers] == ["20250717"]


@pytest.mark.parametrize("missing", ["path", "size", "sha256"])
def test_file_that_would_be_stored_needs_path_size_and_digest(missing: str) -> None:
    tree = noble()
    del item_of(tree)[missing]
    document = parse(tree)
    assert (
        document.products[0].versions[0].flaw.startswith(f'item squashfs: "{missing}" is missing')
    )


@pytest.mark.parametrize("key", ["kparams", "src_version", "maas_supported", "kpackage"])
@pytest.mark.parametrize("value", [["x"], {}, "a\nb", "x" * 5000, True])
def test_a_describing_key_that_cannot_be_read_is_left_out_alone(key: str, value: Any) -> None:
    tree = noble()
    item_of(tree)[key] = value
    document = parse(tree)
    assert [(one.item, f'"{key}"' in one.reason) for one in document.left_out] == [
        ("squashfs", True)
    ]
    squashfs = next(i for i in document.products[0].versions[0].items if i.ftype == "squashfs")
    assert squashfs.path
    assert key not in squashfs.fields


def test_numbers_may_be_text_and_text_numbers() -> None:
    payload = shapes.dump(noble()).replace(b'"24.04"', b"24.10")
    tree = json.loads(payload)
    del tree["products"][NAME]["version"]
    tree["products"][NAME]["release"] = 24
    size = item_of(tree)["size"]
    item_of(tree)["size"] = str(size)
    text = json.dumps(tree).replace(
        '"kflavor": "generic"', '"kflavor": "generic", "version": 24.10'
    )
    document = parse_products(text.encode(), where="x")
    (product,) = document.products
    assert (product.fields["version"], product.fields["release"]) == ("24.10", "24")
    assert next(i for i in product.versions[0].items if i.ftype == "squashfs").size == size
    assert document.left_out == ()


def test_one_path_with_two_digests_is_one_file_at_most() -> None:
    tree = noble()
    item_of(tree, "boot-kernel")["path"] = item_of(tree)["path"]
    version = parse(tree).products[0].versions[0]
    assert "same path" in version.flaw


def test_a_root_image_beside_a_squashfs_need_not_be_right() -> None:
    tree = noble()
    at(product_of(tree), "versions", "20250717", "items")["root-image.gz"] = {
        "ftype": "root-image.gz",
        "path": "x/root-image.gz",
        "md5": "0" * 32,
    }
    document = parse(tree)
    assert [one.item for one in document.left_out] == ["root-image.gz"]
    assert [one.version for one in map_products([document]).offers] == ["20250717"]


BAD_DOCUMENTS: list[tuple[Callable[[Tree], Any], str]] = [
    (lambda t: t.pop("format"), "document-wrong-format"),
    (lambda t: t.update(format="index:1.0"), "document-wrong-format"),
    (lambda t: t.update(format=["products:1.0"]), "document-wrong-format"),
    (lambda t: t.pop("content_id"), "document-wrong-type"),
    (lambda t: t.update(content_id=""), "document-bad-name"),
    (lambda t: t.update(content_id="a\nb"), "document-bad-name"),
    (lambda t: t.pop("products"), "document-wrong-type"),
    (lambda t: t.update(products=[]), "document-wrong-type"),
    (lambda t: t.update(os=["ubuntu"]), "document-wrong-type"),
]


@pytest.mark.parametrize(("change", "code"), BAD_DOCUMENTS)
def test_bad_document_is_refused(change: Callable[[Tree], Any], code: str) -> None:
    tree = noble()
    change(tree)
    with pytest.raises(DocumentProblem) as caught:
        parse(tree, where="x")
    assert (caught.value.code, caught.value.where) == (code, "x")
    assert caught.value.next_step


@pytest.mark.parametrize(
    "updated", [None, 20250724, "yesterday", "Thu, 32 Jul 2025 08:01:47 +0000", {}]
)
def test_a_date_is_optional(updated: Any) -> None:
    for tree, read in ((noble(), parse_products), (shapes.index({}), parse_index)):
        tree["updated"] = updated
        found = read(shapes.dump(tree), where="x")
        assert found.updated is None
        assert len(found.left_out) == (updated is not None)
        del tree["updated"]
        assert read(shapes.dump(tree), where="x").updated is None


BAD_PRODUCTS: list[tuple[str, Any]] = [
    ("odd", []),
    ("odd", None),
    ("", {}),
    ("a\x1b[2J", {}),
    ("a" * 600, {}),
    ("odd", {"arch": True}),
    ("odd", {"subarches": ["generic"]}),
    ("odd", {"release": "noble\x1b[2J"}),
    ("odd", {"versions": None}),
]
BAD_VERSIONS: list[tuple[str, Any]] = [
    ("", {}),
    ("..", {}),
    ("a/b", {}),
    ("9" * 5000, {}),
    ("1\n", {}),
    ("1", 1),
    ("1", {"items": []}),
    ("1", {"label": {}}),
]


@pytest.mark.parametrize(("name", "value"), BAD_PRODUCTS)
def test_bad_product_is_left_out_and_the_others_count(name: str, value: Any) -> None:
    tree = noble()
    tree["products"] = {name: value, **tree["products"]}
    document = parse(tree)
    assert [product.name for product in document.products] == [NAME]
    ((left_out,),) = (document.left_out,)
    assert left_out.product == ascii(name)[1:-1][:512]
    mapped = map_products([document])
    assert [one.product for one in mapped.offers] == [NAME]
    assert [one.reason for one in mapped.skipped] == [left_out.reason]


@pytest.mark.parametrize(("serial", "value"), BAD_VERSIONS)
def test_bad_version_is_left_out_and_the_others_count(serial: str, value: Any) -> None:
    tree = noble()
    product_of(tree)["versions"][serial] = value
    document = parse(tree)
    assert [one.serial for one in document.products[0].versions] == ["20250717", "20250710"]
    ((left_out,),) = (document.left_out,)
    assert (left_out.product, left_out.version) == (NAME, ascii(serial)[1:-1][:512])


@pytest.mark.parametrize("value", [7, None, [], "text", {"path": "..", "ftype": "x"}])
@pytest.mark.parametrize("name", ["odd", "a\nb", ""])
def test_bad_item_of_no_known_type_costs_only_itself(name: str, value: Any) -> None:
    tree = noble()
    at(product_of(tree), "versions", "20250717", "items")[name] = value
    document = parse(tree)
    assert len(document.left_out) == 1
    assert [one.version for one in map_products([document]).offers] == ["20250717"]


def test_what_is_left_out_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_NOTES", 3)
    tree = noble()
    tree["products"] |= {f"odd{n}": n for n in range(9)}
    assert len(parse(tree).left_out) == 3


@pytest.mark.parametrize("other", [[], "text", 7, None, True])
def test_document_that_is_no_object_is_refused(other: Any) -> None:
    for read in (parse_products, parse_index):
        with pytest.raises(DocumentProblem) as caught:
            read(shapes.dump(other), where="x")
        assert caught.value.code == "document-wrong-format"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "../x.sjson"}, "path"),
        ({"path": "http://evil.example/x.sjson"}, "path"),
        ({"path": None}, "missing"),
        ({"products": {}}, "wrong type"),
        ({"products": [1]}, "wrong type"),
        ({"products": [""]}, "empty"),
        ({"format": []}, "wrong type"),
    ],
)
def test_bad_index_entry_is_left_out_and_the_others_count(change: Tree, reason: str) -> None:
    tree = shapes.index({"a:b": shapes.tree({}), "c:d": shapes.tree({})})
    tree["index"]["a:b"].update(change)
    index = parse_index(shapes.dump(tree), where="index.sjson")
    assert [entry.content_id for entry in index.entries] == ["c:d"]
    ((left_out,),) = (index.left_out,)
    assert left_out.product == "a:b"
    assert reason in left_out.reason


@pytest.mark.parametrize(
    ("limit", "change"),
    [
        ("MAX_PRODUCTS", lambda t: None),
        ("MAX_VERSIONS", lambda t: t["products"].popitem()),
        ("MAX_ITEMS", lambda t: None),
        ("MAX_TOTAL_ITEMS", lambda t: None),
    ],
)
def test_more_than_any_real_stream_holds_is_refused(
    monkeypatch: pytest.MonkeyPatch, limit: str, change: Callable[[Tree], Any]
) -> None:
    tree = shapes.tree({NAME: shapes.ubuntu(NOBLE), "another": {}})
    change(tree)
    parse(tree)
    monkeypatch.setattr(documents, limit, 1)
    with pytest.raises(DocumentProblem) as caught:
        parse(tree)
    assert caught.value.code == "document-too-large"
    assert caught.value.expected == "at most 1"


def test_index_of_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = shapes.dump(shapes.index(shapes.full_catalogue()))
    monkeypatch.setattr(documents, "MAX_ENTRIES", 5)
    with pytest.raises(DocumentProblem) as caught:
        parse_index(payload, where="x")
    assert caught.value.code == "document-too-large"


@pytest.mark.parametrize(
    "notice",
    [
        [],
        {"maas_version": "2.9.0"},
        {"message": "m", "maas_version": 2.9},
        {"message": "m" * 70000, "maas_version": "2.9"},
        {"message": "m"},
    ],
)
def test_bad_notice_is_left_out(notice: Any) -> None:
    products = shapes.notification()
    (product,) = products.values()
    product["versions"]["20201204.0"]["items"]["release_notification"]["release_notification"] = (
        notice
    )
    (document,) = [shapes.parse(products)]
    assert [one.item for one in document.left_out] == ["release_notification"]
