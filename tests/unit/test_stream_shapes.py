# SPDX-License-Identifier: Apache-2.0
"""Streams of legal, less usual shapes, as people publish them, read and mirrored for real."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from webapp.errors import Problem
from webapp.fetch import Fetcher, Limits
from webapp.mirror import PullReport, pull
from webapp.streamclient import KnownDocument, Snapshot, StreamSource, read_stream
from webapp.streams.urls import normalise
from webapp.trust.keyrings import Keyring, load_keyring

Tree = dict[str, Any]
LIMITS = Limits(connect_s=2, read_s=2, total_metadata_s=5, retries=0, backoff_s=0.01)
CONTENT = "com.example.maas:stable:v3:download"
NOBLE = "com.example.maas.stable:v3:boot:24.04:amd64:ga-24.04"
DATE = "Sun, 22 Nov 2026 08:00:00 +0000"
LATER = "Mon, 23 Nov 2026 08:00:00 +0000"
NEVER_STALE = 36_500


class Stream:
    """A small stream in a folder, with the files that it lists."""

    def __init__(self, root: Path, key: SigningKey) -> None:
        self.root, self.key = root, key
        (root / "streams/v1").mkdir(parents=True)
        self.products: Tree = {}
        self.listed: list[str] | None = None
        self.dates: Tree = {"updated": DATE}
        self.content_id = CONTENT
        self.others: Tree = {}
        self.forms = (".sjson", ".json")

    def item(self, path: str, ftype: str, *, without: str = "", **more: Any) -> Tree:
        data = f"payload of {path}".encode() * 50
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)
        found = {
            "ftype": ftype,
            "path": path,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "md5": hashlib.md5(data).hexdigest(),
            **more,
        }
        return {name: value for name, value in found.items() if name not in without.split()}

    def ubuntu(self, **extra: Tree) -> Tree:
        items = {
            ftype: self.item(f"noble/amd64/20261120/{ftype}", ftype)
            for ftype in ("boot-kernel", "boot-initrd", "squashfs")
        }
        return {
            "arch": "amd64",
            "kflavor": "generic",
            "label": "stable",
            "os": "ubuntu",
            "release": "noble",
            "release_title": "24.04 LTS",
            "subarch": "ga-24.04",
            "subarches": "generic,ga-24.04",
            "version": "24.04",
            "versions": {"20261120": {"items": {**items, **extra}}},
        }

    def loader(self, arch: str) -> Tree:
        path = f"bootloaders/pxe/{arch}/20261101.0/syslinux.tar.xz"
        return {
            "arch": arch,
            "arches": "amd64,i386",
            "bootloader-type": "pxe",
            "label": "stable",
            "os": "pxelinux",
            "versions": {"20261101.0": {"items": {"x": self.item(path, "archive.tar.xz")}}},
        }

    def publish(self) -> Stream:
        path = f"streams/v1/{self.content_id}.json"
        entry = {
            "datatype": "image-downloads",
            "format": "products:1.0",
            "path": path,
            "products": sorted(self.products) if self.listed is None else self.listed,
            **self.dates,
        }
        index = {self.content_id: entry, **self.others}
        self._write("streams/v1/index", {"format": "index:1.0", "index": index, **self.dates})
        products = {"content_id": self.content_id, "products": self.products, **self.dates}
        self._write(path.removesuffix(".json"), {"format": "products:1.0", **products})
        return self

    def _write(self, stem: str, tree: Tree) -> None:
        raw = json.dumps(tree, indent=1).encode() + b"\n"
        contents: dict[str, Callable[[], bytes]] = {
            ".sjson": lambda: signed.clearsign(self.key, raw),
            ".json": lambda: raw,
            ".json.gpg": lambda: signed.detach(self.key, raw),
        }
        for form in self.forms:
            (self.root / (stem + form)).write_bytes(contents[form]())


@pytest.fixture
def stream(tmp_path: Path, signing_key: SigningKey) -> Stream:
    return Stream(tmp_path / "upstream", signing_key)


@functools.cache
def keyring_of(key: SigningKey) -> Keyring:
    return load_keyring(key.public)


def read(
    stream: Stream,
    known: Snapshot | None = None,
    *,
    is_signed: bool = True,
    confirmed: frozenset[str] = frozenset(),
) -> Snapshot:
    names = KnownDocument.__dataclass_fields__
    documents = known.documents if known else ()
    kept = {d.path: KnownDocument(**{n: getattr(d, n) for n in names}) for d in documents}
    keyring = keyring_of(stream.key) if is_signed else None
    with MirrorServer(stream.root) as server, Fetcher(limits=LIMITS) as fetcher:
        source = StreamSource(normalise(server.url), keyring, confirmed)
        return read_stream(source, fetcher, kept, stale_days=NEVER_STALE)


def pulled(stream: Stream, folder: Path, *, is_signed: bool = True, **options: Any) -> PullReport:
    keyring = keyring_of(stream.key) if is_signed else None
    with MirrorServer(stream.root) as server, Fetcher(limits=LIMITS) as fetcher:
        return pull(server.url, folder, keyring, fetcher=fetcher, **options)


def codes(snapshot: Snapshot | PullReport) -> list[str]:
    return [warning.code for warning in snapshot.warnings if warning.code != "stream-stale"]


def names(snapshot: Snapshot) -> list[str]:
    return [f"{one.os}/{one.release}/{one.arch}/{one.subarch}" for one in snapshot.offers]


@contextmanager
def refused(code: str) -> Iterator[list[Problem]]:
    caught: list[Problem] = []
    with pytest.raises(Problem) as info:
        yield caught
    caught.append(info.value)
    assert info.value.code == code, info.value


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


# -- edited by hand


def edited(stream: Stream, dates: Tree) -> str:
    gone = NOBLE.replace("24.04", "22.04")
    stream.products, stream.dates = {NOBLE: stream.ubuntu()}, dates
    stream.listed = [NOBLE, gone]
    stream.publish()
    return gone


@pytest.mark.parametrize("dates", [{"updated": DATE}, {}])
def test_a_product_that_only_the_index_has_is_named(stream: Stream, dates: Tree) -> None:
    gone = edited(stream, dates)
    with refused("stream-mixed") as caught:
        read(stream)
    assert f"1 not in the document: {gone}" in caught[0].got
    assert "won't heal by itself" in caught[0].next_step
    assert ("isn't an update in progress" in caught[0].next_step) == bool(dates)


@pytest.mark.parametrize("dates", [{"updated": DATE}, {}])
def test_a_product_that_is_missing_may_be_confirmed_by_name(stream: Stream, dates: Tree) -> None:
    gone = edited(stream, dates)
    assert names(read(stream, confirmed=frozenset({gone}))) == ["ubuntu/noble/amd64/ga-24.04"]
    with refused("stream-mixed"):
        read(stream, confirmed=frozenset({"another"}))
    stream.listed = [gone]  # the index lost another one as well
    stream.publish()
    with refused("stream-mixed") as caught:
        read(stream, confirmed=frozenset({gone}))
    assert caught[0].got == f"1 not in the index: {NOBLE}"


# -- bare documents with detached signatures


@pytest.fixture
def detached(stream: Stream) -> Stream:
    stream.products, stream.forms = {NOBLE: stream.ubuntu()}, (".json", ".json.gpg")
    return stream.publish()


def test_a_stream_with_detached_signatures_is_read(detached: Stream) -> None:
    found = read(detached)
    assert names(found) == ["ubuntu/noble/amd64/ga-24.04"]
    assert found.fingerprint == detached.key.fingerprint
    assert [document.path.partition(".json")[2] for document in found.documents] == [
        "",
        ".gpg",
        "",
        ".gpg",
    ]
    assert read(detached, found).is_unchanged


def test_a_stream_with_detached_signatures_is_mirrored_and_is_one_again(
    detached: Stream, tmp_path: Path
) -> None:
    assert len(pulled(detached, tmp_path / "local").fetched) == 3
    copy = Stream(tmp_path / "copy", detached.key)
    copy.root = tmp_path / "local"
    assert names(read(copy)) == ["ubuntu/noble/amd64/ga-24.04"]
    assert pulled(detached, tmp_path / "local").is_unchanged


@pytest.mark.parametrize("name", ["index", CONTENT])
def test_an_altered_document_is_refused_by_its_detached_signature(
    detached: Stream, name: str
) -> None:
    path = detached.root / f"streams/v1/{name}.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with refused("signature-bad"):
        read(detached)


@pytest.mark.parametrize(
    "signature", [b"", b"-----BEGIN PGP SIGNATURE-----\n", b"{}", b"\x89\x01" * 40_000]
)
def test_a_signature_that_is_none_is_refused(detached: Stream, signature: bytes) -> None:
    (detached.root / "streams/v1/index.json.gpg").write_bytes(signature)
    with pytest.raises(Problem) as caught:
        read(detached)
    assert caught.value.code.startswith("signature-")


def test_a_missing_signature_is_never_a_reason_to_read_unsigned(detached: Stream) -> None:
    (detached.root / "streams/v1/index.json.gpg").unlink()
    with refused("http-status"):
        read(detached)


def test_detached_documents_never_go_back(detached: Stream) -> None:
    old = {path: path.read_bytes() for path in (detached.root / "streams/v1").iterdir()}
    detached.dates = {"updated": LATER}
    found = read(detached.publish())
    for path, content in old.items():
        path.write_bytes(content)
    with refused("stream-rollback"):
        read(detached, found)


def test_detached_documents_of_two_states_are_refused(detached: Stream) -> None:
    names_of = [detached.root / f"streams/v1/{CONTENT}.json{end}" for end in ("", ".gpg")]
    old = {path: path.read_bytes() for path in names_of}
    detached.dates = {"updated": LATER}
    detached.publish()
    for path, content in old.items():
        path.write_bytes(content)
    with refused("stream-mixed"):
        read(detached)


def test_a_publisher_may_change_the_form_of_the_signature(detached: Stream) -> None:
    first = read(detached)
    detached.forms = (".sjson", ".json")
    detached.dates = {"updated": LATER}
    for path in (detached.root / "streams/v1").glob("*.gpg"):
        path.unlink()
    second = read(detached.publish(), first)
    assert all(document.path.endswith(".sjson") for document in second.documents)
    assert read(detached, second).is_unchanged
