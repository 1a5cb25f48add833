# SPDX-License-Identifier: Apache-2.0
"""Versions, items, file names, titles and notices."""

from __future__ import annotations

import copy

import pytest

from tests.unit.streams import shapes
from tests.unit.streams.mapping.products import NOBLE, STREAM, versions
from tests.unit.streams.shapes import Tree, changed, item, kernel, mapped, offer
from webapp.streams.mapping import map_products
from webapp.streams.offers import Mapped, Skipped


def with_items(products: Tree, items: Tree, serial: str = "20250717") -> Tree:
    """The same products with one version, of these items."""
    return changed(products, versions={serial: {"items": items}})


# -- versions and items


@pytest.mark.parametrize(
    ("serials", "newest"),
    [
        (("20240821.9", "20240821.10"), "20240821.10"),
        (("20240821", "20240821.1", "20240820.9"), "20240821.1"),
        (("20240604_01", "20240622_01"), "20240622_01"),
        (("20240622_10", "20240622_9"), "20240622_10"),
    ],
)
def test_newest_version_is_offered(serials: tuple[str, ...], newest: str) -> None:
    found = offer(versions(*serials))
    assert found.version == newest
    assert all(f"/{newest}/" in one.path for one in found.items)


def test_version_with_nothing_to_store_is_passed_over_and_said_so() -> None:
    products = versions("20250710", "20250717", "20250724")
    (product,) = products.values()
    product["versions"]["20250717"]["items"] = {"manifest": item("manifest", "m")}
    product["versions"]["20250724"]["items"] = {}
    (name,) = products
    result = mapped(products)
    assert [one.version for one in result.offers] == ["20250710"]
    assert result.skipped == (
        Skipped(name, "it has no files", "20250724"),
        Skipped(name, "files of type manifest aren't stored", "20250717"),
    )


def test_product_with_nothing_to_store_is_skipped_once() -> None:
    result = mapped(with_items(NOBLE, {"a": item("manifest", "a"), "b": item("vmlinux", "b")}))
    assert not result.offers
    assert [one.reason for one in result.skipped] == [
        "no version of it can be stored; the newest: "
        "files of type manifest aren't stored; files of type vmlinux aren't stored"
    ]


STORED = [
    "boot-kernel boot-initrd boot-dtb squashfs",
    "root-image.gz",
    "root-tgz",
    "root-tbz",
    "root-txz",
    "root-dd",
    "root-dd.tar",
    "root-dd.raw",
    "root-dd.bz2",
    "root-dd.gz",
    "root-dd.xz",
    "root-dd.tar.bz2",
    "root-dd.tar.xz",
]


@pytest.mark.parametrize("ftypes", STORED)
def test_known_file_types_are_stored_and_others_left_out(ftypes: str) -> None:
    items = {ftype: item(ftype, f"x/{ftype}.some-suffix") for ftype in ftypes.split()}
    others = {ftype: item(ftype, f"x/{ftype}") for ftype in ("manifest", "notes", "root-dd.zip")}
    found = offer(with_items(NOBLE, {**items, **others}))
    assert {one.ftype for one in found.items} == set(ftypes.split())
    assert [one.filename for one in found.items] == sorted(ftypes.split())


@pytest.mark.parametrize(
    ("ftypes", "stored"),
    [
        ("squashfs root-image.gz", {"squashfs"}),
        ("root-image.gz", {"root-image.gz"}),
        ("root-image.gz boot-kernel", {"root-image.gz", "boot-kernel"}),
    ],
)
def test_squashfs_is_preferred_to_root_image(ftypes: str, stored: set[str]) -> None:
    found = offer(with_items(NOBLE, {ftype: item(ftype, ftype) for ftype in ftypes.split()}))
    assert {one.ftype for one in found.items} == stored


@pytest.mark.parametrize("needed", ["2.2", "2.9.3", "2.10", "3.0.0~alpha1", "9" * 500, "next"])
def test_a_newer_maas_is_no_reason_to_leave_out_files_of_a_known_type(needed: str) -> None:
    result = mapped(changed(NOBLE, maas_supported=needed))
    assert [one.version for one in result.offers] == ["20250717"]


# -- names of files


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "xgene-uboot",
            {"boot-kernel": "boot-kernel.xgene", "boot-initrd": "boot-initrd.xgene"},
        ),
        (
            "xgene-uboot-mustang",
            {
                "boot-kernel": "boot-kernel.xgene-mustang",
                "boot-initrd": "boot-initrd.xgene-mustang",
                "boot-dtb": "boot-dtb.xgene-mustang",
            },
        ),
    ],
)
def test_boards_serve_their_kernels_under_the_names_boot_configs_use(
    name: str, files: dict[str, str]
) -> None:
    one = kernel("jammy", "arm64", name)
    found = offer({shapes.ubuntu_name(one): shapes.ubuntu(one)})
    got = {f.filename: f.path.rsplit("/", 1)[1] for f in found.items}
    assert got == {**files, "squashfs": "squashfs"}


def test_loader_files_keep_the_names_in_their_paths() -> None:
    (loader,) = (v for k, v in shapes.loaders().items() if "pxelinux:pxe:i386" in k)
    names = ("pxelinux.0", "ldlinux.c32")
    items = {f"i{n}": item("bootloader", f"b/pxe/{name}") for n, name in enumerate(names)}
    loader["versions"] = {"1": {"items": items}}
    found = offer({f"{STREAM}:1:pxelinux:pxe:i386": loader})
    assert [one.filename for one in found.items] == ["ldlinux.c32", "pxelinux.0"]


def test_files_of_one_type_keep_the_names_in_their_paths() -> None:
    items = {"a": item("root-dd.gz", "x/one.gz"), "b": item("root-dd.gz", "x/two.gz")}
    items["c"] = item("squashfs", "x/fs.squash")
    found = offer(with_items(NOBLE, items))
    assert {one.filename: one.path for one in found.items} == {
        "one.gz": "x/one.gz",
        "two.gz": "x/two.gz",
        "squashfs": "x/fs.squash",
    }


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (("a/one.tar.xz", "b/one.tar.xz"), "would be served under one name"),
        (("a/one.tar.xz", "a/-x.tar.xz"), "its file can't be part of a URL: '-x.tar.xz'"),
        (("a/one.tar.xz", "a/o ne.tar.xz"), "its file can't be part of a URL: 'o ne.tar.xz'"),
    ],
)
def test_version_whose_files_cannot_all_be_served_is_not_offered(
    paths: tuple[str, ...], reason: str
) -> None:
    items = {path: item("archive.tar.xz", path) for path in paths}
    result = mapped(with_items(NOBLE, items))
    assert not result.offers
    assert reason in result.skipped[0].reason


def test_one_file_named_twice_is_one_file() -> None:
    items = {"a": item("squashfs", "x/squashfs"), "b": item("squashfs", "x/squashfs")}
    found = offer(with_items(NOBLE, items))
    assert [one.filename for one in found.items] == ["squashfs"]


def test_size_counts_each_content_once() -> None:
    kernel_file = item("boot-kernel", "x/boot-kernel")
    items = {"k": kernel_file, "i": {**kernel_file, "ftype": "boot-initrd", "path": "x/i"}}
    items["s"] = item("squashfs", "x/squashfs")
    found = offer(with_items(NOBLE, items))
    assert found.size == kernel_file["size"] + items["s"]["size"]
    assert len(found.items) == 3


# -- titles and notices


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"os": "x", "os_title": "X OS", "release_title": "One"}, "X OS One"),
        ({"os": "x", "os_title": "X OS", "release_title": "1", "gadget_title": "G"}, "X OS 1 G"),
        ({"os": "x", "os_title": "X OS", "release_title": None}, "x noble"),
        ({"os": "x", "release_title": "One"}, "x One"),
        ({"os": "centos", "release_title": "CentOS Nine"}, "CentOS Nine"),
    ],
)
def test_title_is_the_streams_where_it_gives_both_parts(fields: Tree, title: str) -> None:
    assert offer(changed(NOBLE, **fields)).title == title


def test_only_the_newest_notice_counts() -> None:
    products = shapes.notification()
    (product,) = products.values()
    newer = copy.deepcopy(product["versions"]["20201204.0"])
    (one,) = newer["items"].values()
    one["path"], one["release_notification"]["maas_version"] = "n", "3.0.0"
    product["versions"]["20210501.0"] = newer
    result = mapped(products)
    assert [notice.maas_version for notice in result.notifications] == ["3.0.0"]
    assert not result.offers
    assert not result.skipped


def test_notice_without_a_message_is_skipped_with_the_reason() -> None:
    products = shapes.notification()
    (product,) = products.values()
    del product["versions"]["20201204.0"]["items"]["release_notification"]["release_notification"]
    result = mapped(products)
    assert not result.notifications
    assert [one.reason for one in result.skipped] == ["it is an empty notice"]


def test_no_documents_offer_nothing() -> None:
    assert map_products([]) == Mapped((), ())
