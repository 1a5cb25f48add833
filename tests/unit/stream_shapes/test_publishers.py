# SPDX-License-Identifier: Apache-2.0
"""Whose streams: dates, fields and products that are optional or unusual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.stream_shapes.published import (
    DATE,
    LATER,
    NOBLE,
    Stream,
    Tree,
    names,
    pulled,
    read,
    refused,
)
from webapp.mirror import PullReport
from webapp.streamclient import Snapshot


def codes(snapshot: Snapshot | PullReport) -> list[str]:
    return [warning.code for warning in snapshot.warnings if warning.code != "stream-stale"]


# -- optional is optional


def test_a_stream_without_dates_counts_from_its_signature(stream: Stream, tmp_path: Path) -> None:
    stream.products, stream.dates = {NOBLE: stream.ubuntu()}, {}
    found = read(stream.publish())
    assert names(found) == ["ubuntu/noble/amd64/ga-24.04"]
    assert codes(found) == ["stream-undated"]
    assert found.index_updated_at == found.signed_at
    assert read(stream, found).is_unchanged
    report = pulled(stream, tmp_path / "local")
    assert len(report.fetched) == 3
    assert report.index_updated_at == found.signed_at


def test_a_stream_without_dates_does_not_go_back_before_its_signature(stream: Stream) -> None:
    stream.products, stream.dates = {NOBLE: stream.ubuntu()}, {}
    old = read(stream.publish())
    newer = Snapshot(
        **{
            **{name: getattr(old, name) for name in Snapshot.__dataclass_fields__},
            "documents": tuple(
                type(d)(
                    **{
                        **{name: getattr(d, name) for name in type(d).__dataclass_fields__},
                        "signed_at": d.signed_at.replace(year=d.signed_at.year + 1),
                        "sha256": "0" * 64,
                        "etag": "",
                        "last_modified": "",
                    }
                )
                for d in old.documents
                if d.signed_at
            ),
        }
    )
    with refused("stream-rollback"):
        read(stream, newer)


@pytest.mark.parametrize("dates", [{"updated": "soon"}, {"updated": 20261122}, {"updated": None}])
def test_a_date_that_cannot_be_read_is_as_good_as_none(stream: Stream, dates: Tree) -> None:
    stream.products, stream.dates = {NOBLE: stream.ubuntu()}, dates
    found = read(stream.publish())
    assert len(found.offers) == 1
    assert "stream-undated" in codes(found)


def test_an_unsigned_stream_without_dates_is_read(stream: Stream) -> None:
    stream.products, stream.dates = {NOBLE: stream.ubuntu()}, {}
    found = read(stream.publish(), is_signed=False)
    assert (len(found.offers), found.index_updated_at) == (1, None)
    assert codes(found) == ["stream-undated"]
    assert read(stream, found, is_signed=False).is_unchanged


@pytest.mark.parametrize("ftype", ["squashfs.manifest", "manifest", "vmlinuz", "sha256sums", ""])
@pytest.mark.parametrize("without", ["sha256", "size", "size sha256", "size sha256 md5"])
def test_a_file_that_cannot_be_verified_is_skipped_and_named(
    stream: Stream, tmp_path: Path, ftype: str, without: str
) -> None:
    odd = stream.item("noble/amd64/20261120/odd", ftype, without=without)
    stream.products = {NOBLE: stream.ubuntu(odd=odd)}
    found = read(stream.publish())
    assert [len(one.items) for one in found.offers] == [3]
    (warning,) = [one for one in found.warnings if one.code == "stream-left-out"]
    assert f"{NOBLE}, version 20261120: item odd" in warning.got
    assert any("item odd" in one.reason for one in found.skipped)
    report = pulled(stream, tmp_path / "local")
    assert not (tmp_path / "local" / odd["path"]).exists()
    assert (len(report.fetched), codes(report)) == (3, ["stream-left-out"])


@pytest.mark.parametrize("without", ["sha256", "size", "size sha256"])
def test_a_stored_file_with_md5_only_is_never_stored(
    stream: Stream, tmp_path: Path, without: str
) -> None:
    bad = stream.item("noble/amd64/20261120/squashfs", "squashfs", without=without)
    stream.products = {NOBLE: stream.ubuntu(squashfs=bad)}
    found = read(stream.publish())
    assert found.offers == ()
    assert any("no version of it can be stored" in one.reason for one in found.skipped)
    pulled(stream, tmp_path / "local")
    assert not (tmp_path / "local" / bad["path"]).exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"format": "ids:2.0", "path": "x.json"},
        {"format": "products:1.0", "datatype": "image-ids-v9", "path": "x.json"},
        {"format": "products:1.0", "path": "../x.json"},
        {"format": 7, "path": 7},
        "text",
        None,
    ],
)
def test_other_entries_of_the_index_do_not_matter(stream: Stream, entry: Any) -> None:
    stream.products, stream.others = {NOBLE: stream.ubuntu()}, {"com.example:odd": entry}
    found = read(stream.publish())
    assert len(found.offers) == 1
    assert len(codes(found)) == 1


@pytest.mark.parametrize("product", [None, [], {"versions": 7}, {"arch": {}}, {"label": ["x"]}])
def test_an_odd_product_does_not_matter(stream: Stream, product: Any) -> None:
    stream.products = {NOBLE: stream.ubuntu(), "com.example:v3:odd": product}
    found = read(stream.publish())
    assert len(found.offers) == 1
    assert codes(found) == ["stream-left-out"]
    assert [one.product for one in found.skipped] == ["com.example:v3:odd"]


def test_cloud_images_beside_are_not_images_for_machines(stream: Stream) -> None:
    cloud = stream.ubuntu()
    items = {
        "us-east-1": {"id": "ami-1", "root_store": "ssd"},
        "squashfs": stream.item("cloud/noble.squashfs", "squashfs"),
        "disk1.img": stream.item("cloud/noble.img", "disk1.img"),
    }
    cloud["versions"] = {"20261120": {"items": items}}
    stream.products = {NOBLE: stream.ubuntu(), "com.ubuntu.cloud:server:24.04:amd64": cloud}
    found = read(stream.publish())
    assert [one.product for one in found.offers] == [NOBLE]
    (skipped,) = found.skipped
    assert "neither kernel, initrd and squashfs nor a root tarball" in skipped.reason


# -- whose streams


@pytest.mark.parametrize(
    ("content_id", "product"),
    [
        (
            "manager.site.example:stream:v1:download",
            "manager.site.example.stream:ubuntu:noble:amd64:ga-24.04-generic",
        ),
        ("maas:v2:download", "maas:boot:ubuntu:amd64:ga-24.04:noble"),
        ("lab", "ubuntu-24.04-amd64"),
        ("lab:1", "lab:24.04:amd64"),
    ],
)
def test_the_fields_say_what_a_product_is_whatever_its_id(
    stream: Stream, content_id: str, product: str
) -> None:
    stream.products, stream.content_id = {product: stream.ubuntu()}, content_id
    assert names(read(stream.publish())) == ["ubuntu/noble/amd64/ga-24.04"]


def test_a_running_maas_is_a_boot_source(stream: Stream) -> None:
    """Its documents are unsigned, written at each request, and call the release its version."""
    kernel = {**stream.ubuntu(), "version": "noble", "title": "Ubuntu 24.04 LTS"}
    del kernel["release_title"]
    edge = {**kernel, "subarch": "hwe-24.04", "subarches": "generic,hwe-24.04"}
    core = {
        **kernel,
        "os": "ubuntu-core",
        "release": "18-pc",
        "subarch": "generic",
        "kflavor": "pc",
        "versions": {"1": {"items": {"d": stream.item("core/root-dd.xz", "root-dd.xz")}}},
    }
    loader = {**stream.loader("i386"), "release": "pxe", "version": "pxe"}
    custom = {
        **core,
        "os": "custom",
        "release": "web",
        "versions": {"1": {"items": {"t": stream.item("custom/root-tgz", "root-tgz")}}},
    }
    stream.content_id = "maas:v2:download"
    stream.products = {
        "maas:boot:ubuntu:amd64:ga-24.04:noble": kernel,
        "maas:boot:ubuntu:amd64:hwe-24.04:noble": edge,
        "maas:boot:ubuntu-core:amd64:generic:18-pc": core,
        "maas:boot:pxelinux:i386:generic:pxe": loader,
        "maas:boot:custom:amd64:generic:web": custom,
    }
    stream.publish()
    path = stream.root / f"streams/v1/{stream.content_id}.json"
    path.write_bytes(path.read_bytes().replace(DATE.encode(), LATER.encode()))
    found = read(stream, is_signed=False)
    assert names(found) == [
        "custom/web/amd64/generic",
        "pxelinux/pxe/i386/generic",
        "ubuntu-core/18-pc/amd64/generic",
        "ubuntu/noble/amd64/ga-24.04",
        "ubuntu/noble/amd64/hwe-24.04",
    ]
    assert found.offers[3].answers_to == ("ga-24.04", "generic")
    assert found.offers[3].title == "Ubuntu 24.04 LTS"
    assert found.skipped == ()


@pytest.mark.parametrize("arches", [["amd64"], ["i386"], ["amd64", "i386"]])
def test_the_bios_loader_is_taken_for_either_architecture(
    stream: Stream, arches: list[str]
) -> None:
    prefix = "com.example.maas.stable:1:pxelinux:pxe"
    loaders = {f"{prefix}:{arch}": stream.loader(arch) for arch in arches}
    stream.products = {**loaders, NOBLE: stream.ubuntu()}
    found = read(stream.publish())
    loader_names = [name for name in names(found) if name.startswith("pxelinux")]
    assert loader_names == [f"pxelinux/pxe/{arch}/generic" for arch in arches]


def root_only(stream: Stream, ftype: str = "root-tgz") -> Tree:
    return {
        "arch": "amd64",
        "label": "stable",
        "os": "ubuntu",
        "release": "noble",
        "release_title": "24.04 LTS",
        "subarches": "generic",
        "version": "24.04",
        "versions": {"20261121": {"items": {"r": stream.item(f"bases/{ftype}", ftype)}}},
    }


@pytest.mark.parametrize("ftype", ["root-tgz", "root-tbz", "root-txz", "root-dd.gz"])
def test_an_ubuntu_of_a_root_file_alone_is_taken(stream: Stream, ftype: str) -> None:
    product = "com.example.maas.candidate:ubuntu-bases:24.04:amd64"
    stream.products = {product: root_only(stream, ftype)}
    found = read(stream.publish())
    assert names(found) == ["ubuntu/noble/amd64/generic"]
    assert [item.filename for item in found.offers[0].items] == [ftype]


def test_a_root_tarball_never_displaces_a_kernel(stream: Stream) -> None:
    product = "com.example.maas.candidate:ubuntu-bases:24.04:amd64"
    stream.products = {product: root_only(stream), NOBLE: stream.ubuntu()}
    found = read(stream.publish())
    assert [(one.product, one.answers_to) for one in found.offers] == [
        (NOBLE, ("ga-24.04", "generic"))
    ]
    assert [(one.product, NOBLE in one.reason) for one in found.skipped] == [(product, True)]


@pytest.mark.parametrize("needed", ["3.6", "2.10", "99", "next"])
def test_a_newer_maas_is_no_reason_to_refuse_what_is_understood(
    stream: Stream, needed: str
) -> None:
    stream.products = {NOBLE: {**stream.ubuntu(), "maas_supported": needed}}
    assert len(read(stream.publish()).offers) == 1


def test_a_stream_of_incus_can_be_mirrored(stream: Stream, tmp_path: Path) -> None:
    """As images.linuxcontainers.org has it: unsigned and undated, with labels of its own."""
    base = "images/alpine/3.20/amd64/default/20261120_13:00"
    delta = stream.item(f"{base}/rootfs.20261119.vcdiff", "squashfs.vcdiff", delta_base="20261119")
    items = {
        "incus.tar.xz": stream.item(f"{base}/incus.tar.xz", "incus.tar.xz", combined_sha256="a"),
        "lxd.tar.xz": stream.item(f"{base}/lxd.tar.xz", "lxd.tar.xz", without="size"),
        "root.squashfs": stream.item(f"{base}/rootfs.squashfs", "squashfs"),
        "delta": delta,
    }
    stream.content_id, stream.dates = "images", {}
    stream.products = {
        "alpine:3.20:amd64:default": {
            "aliases": "alpine/3.20/default,alpine/3.20",
            "arch": "amd64",
            "os": "Alpine",
            "release": "3.20",
            "release_title": 3.20,
            "requirements": {"secureboot": False},
            "variant": "default",
            "versions": {"20261120_13:00": {"items": items}},
        }
    }
    report = pulled(stream.publish(), tmp_path / "local", is_signed=False)
    assert {file.path.rpartition("/")[2] for file in report.fetched} == {
        "incus.tar.xz",
        "rootfs.squashfs",
        "rootfs.20261119.vcdiff",
    }
    assert set(codes(report)) == {"stream-undated", "stream-left-out", "stream-empty"}
    assert (tmp_path / "local/streams/v1/images.json").exists()
    assert pulled(stream, tmp_path / "local", is_signed=False).is_unchanged
