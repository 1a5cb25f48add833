# SPDX-License-Identifier: Apache-2.0
"""What is read from index and product documents, times and serials."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.streams import shapes
from tests.unit.streams.documents.noble import NAME, at, item_of, noble, parse, product_of
from tests.unit.streams.shapes import Tree
from webapp.streams.checks import MAX_FIELDS, parse_time
from webapp.streams.documents import (
    IndexEntry,
    parse_index,
    version_key,
)
from webapp.streams.mapping import map_products

# -- what is read


def test_index_gives_every_document_in_order() -> None:
    catalogue = shapes.full_catalogue()
    index = parse_index(shapes.dump(shapes.index(catalogue)), where="index")
    assert index.updated == datetime(2025, 7, 24, 8, 2, tzinfo=UTC)
    assert [entry.content_id for entry in index.entries] == list(catalogue)
    assert index.entries[0] == IndexEntry(
        content_id="com.ubuntu.maas:stable:v3:download",
        path="streams/v1/com.ubuntu.maas:stable:v3:download.sjson",
        format="products:1.0",
        datatype="image-ids",
        products=tuple(sorted(catalogue["com.ubuntu.maas:stable:v3:download"]["products"])),
        updated=datetime(2025, 7, 24, 8, 1, 47, tzinfo=UTC),
    )


def test_index_entry_needs_no_more_than_a_path() -> None:
    tree = {"format": "index:1.0", "index": {"x": {"path": "a/b.json"}}, "updated": "2025-07-24"}
    (entry,) = parse_index(shapes.dump(tree), where="index").entries
    assert entry == IndexEntry("x", "a/b.json", "", "", (), None)


def test_of_many_keys_without_a_meaning_the_first_are_kept() -> None:
    tree = noble()
    product = product_of(tree)
    label = product.pop("label")
    tree |= {f"key {number}": "x" for number in range(5_000)}
    product |= {f"other {number}": "x" for number in range(5_000)} | {"label": label}
    (found,) = parse(tree).products
    items = [item for version in found.versions for item in version.items]
    assert all(item.fields["label"] == label for item in items)
    assert all(item.fields["key 0"] == item.fields["other 0"] == "x" for item in items)
    assert max(len(item.fields) for item in items) < 4 * MAX_FIELDS + 50


def test_documents_that_are_alike_are_written_alike() -> None:
    tree = noble()
    assert repr(parse(tree)) == repr(parse(tree))
    assert repr(parse(tree)) != repr(parse(tree | {"a key of all items": "x"}))


def test_a_digest_in_capitals_is_the_same_digest() -> None:
    tree = noble()
    digest = item_of(tree)["sha256"]
    twin = {**item_of(tree), "sha256": digest.upper()}
    tree["products"][NAME]["versions"]["20250717"]["items"]["twin"] = twin
    document = parse(tree)
    items = {item.name: item for item in document.products[0].versions[0].items}
    assert items["twin"].sha256 == items["squashfs"].sha256 == digest
    assert document.left_out == ()


def test_product_is_read_with_its_versions_newest_first() -> None:
    document = parse(noble())
    (product,) = document.products
    assert document.content_id == "com.ubuntu.maas:stable:v3:download"
    assert document.datatype == "image-ids"
    assert document.updated == datetime(2025, 7, 24, 8, 1, 47, tzinfo=UTC)
    assert product.name == NAME
    assert product.fields["release_codename"] == "Noble Numbat"
    assert [version.serial for version in product.versions] == ["20250717", "20250710"]
    squashfs = next(i for i in product.versions[0].items if i.ftype == "squashfs")
    assert squashfs.path == "noble/amd64/20250717/squashfs"
    assert squashfs.size == len(squashfs.path)
    assert len(squashfs.sha256) == 64


def test_the_whole_catalogue_is_read() -> None:
    catalogue = shapes.full_catalogue()
    parsed = [parse(tree) for tree in catalogue.values()]
    for tree, document in zip(catalogue.values(), parsed, strict=True):
        assert [p.name for p in document.products] == list(tree["products"])
        for product in document.products:
            versions = tree["products"][product.name]["versions"]
            assert {v.serial: {i.name for i in v.items} for v in product.versions} == {
                serial: set(version["items"]) for serial, version in versions.items()
            }
    assert sum(len(document.products) for document in parsed) == 253


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"document": "d"}, "d"),
        ({"document": "d", "product": "p"}, "p"),
        ({"product": "p", "version": "v"}, "v"),
        ({"document": "d", "version": "v", "item": "i"}, "i"),
        ({"product": "p", "item": None}, "p"),
        ({}, None),
    ],
)
def test_the_more_specific_field_wins(levels: dict[str, str | None], expected: str | None) -> None:
    tree = noble()
    targets = {
        "document": tree,
        "product": product_of(tree),
        "version": product_of(tree)["versions"]["20250717"],
        "item": item_of(tree),
    }
    for level, value in levels.items():
        targets[level]["kparams"] = value
    version = parse(tree).products[0].versions[0]
    fields = {item.ftype: item.fields.get("kparams") for item in version.items}
    assert fields["squashfs"] == expected


def test_support_date_on_the_versions_belongs_to_each_of_them() -> None:
    tree = noble()
    product = product_of(tree)
    del product["support_eol"]
    product["versions"]["20250710"]["support_eol"] = "2029-05-31"
    product["versions"]["20250717"]["support_eol"] = "2029-06-01"
    versions = parse(tree).products[0].versions
    assert [v.fields["support_eol"] for v in versions] == ["2029-06-01", "2029-05-31"]


def test_notice_is_read_from_its_item() -> None:
    (product,) = parse(shapes.tree(shapes.notification())).products
    ((item,),) = (version.items for version in product.versions)
    assert item.notification is not None
    assert item.notification.maas_version == "2.9.0"
    assert item.notification.version == "1.0"
    assert item.notification.message == "<strong>New</strong>\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: item_of(t, "boot-kernel").pop("kpackage"),
        lambda t: product_of(t).pop("support_esm_eol"),
        lambda t: product_of(t).update(release_codename=None),
        lambda t: product_of(t).update(rolling=True),
        lambda t: product_of(t).update(unknown={"deep": [1, 2.5, None]}),
        lambda t: product_of(t).update(description="line\nline"),
        lambda t: product_of(t).pop("versions"),
        lambda t: at(product_of(t), "versions", "20250717").pop("items"),
        lambda t: item_of(t).update(size=0),
        lambda t: item_of(t).update(size=2**44),
        lambda t: item_of(t).update(md5="0" * 32),
        lambda t: at(product_of(t), "versions", "20250717", "items").update(region={"id": "ami-1"}),
        lambda t: t.update(products={}),
    ],
)
def test_what_is_missing_or_unknown_but_not_needed_is_tolerated(
    change: Callable[[Tree], Any],
) -> None:
    tree = noble()
    change(tree)
    map_products([parse(tree)])


# -- times and serials


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thu, 24 Jul 2025 08:01:47 +0000", datetime(2025, 7, 24, 8, 1, 47)),
        ("Thu, 24 Jul 2025 10:01:47 +0200", datetime(2025, 7, 24, 8, 1, 47)),
        ("Thu, 24 Jul 2025 02:31:47 -0530", datetime(2025, 7, 24, 8, 1, 47)),
        ("24 Jul 2025 08:01:47 GMT", datetime(2025, 7, 24, 8, 1, 47)),
        ("Tue, 1 Jul 2025 08:01:47 -0000", datetime(2025, 7, 1, 8, 1, 47)),
        ("2025-07-24T08:01:47Z", datetime(2025, 7, 24, 8, 1, 47)),
        ("2025-07-24T10:01:47+02:00", datetime(2025, 7, 24, 8, 1, 47)),
        ("2025-07-24T08:01:47", datetime(2025, 7, 24, 8, 1, 47)),
        ("2025-07-24 08:01:47.250", datetime(2025, 7, 24, 8, 1, 47, 250000)),
        ("2025-07-24", datetime(2025, 7, 24)),
    ],
)
def test_times_are_read_as_streams_write_them(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected.replace(tzinfo=UTC)
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "Thu, 24 Foo 2025 08:01:47 +0000",
        "Thu, 24 Jul 2025 25:01:47 +0000",
        "Thu, 24 Jul 2025 08:01:47 +9900",
        "Thu, 24 Jul 0000 08:01:47 +0000",
        "Fri, 31 Dec 9999 23:59:59 -0100",
        "Mon, 1 Jan 0001 00:00:00 +0100",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "Thu, 2\u0664 Jul 2025 08:01:47 +0000",
        "1753344107",
    ],
)
def test_time_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_time(text)


@pytest.mark.parametrize(
    "ordered",
    [
        ["20240821.9", "20240821.10"],
        ["20240821", "20240821.1", "20240821.1.1", "20240822"],
        ["20240604_01", "20240622_01", "20240622_02", "20240622_10"],
        ["20180807.0", "20210203.0", "20230615.0"],
        ["9", "10", "99", "100"],
        ["1.a", "1.b"],
        ["01", "1", "2"],
    ],
)
def test_serials_are_ordered_as_users_expect(ordered: list[str]) -> None:
    assert sorted(reversed(ordered), key=version_key) == ordered


SERIALS = st.text(st.sampled_from("0129a._~+:-"), min_size=1, max_size=8)


@given(SERIALS, SERIALS)
def test_two_serials_are_never_equal(left: str, right: str) -> None:
    assert (version_key(left) == version_key(right)) == (left == right)
    assert (version_key(left) < version_key(right)) == (
        not version_key(right) < version_key(left) and left != right
    )
