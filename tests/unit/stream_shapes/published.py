# SPDX-License-Identifier: Apache-2.0
"""Publishing and reading a stream of an unusual shape."""

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
LIMITS = Limits(retries=0, backoff_s=0.01)
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


def names(snapshot: Snapshot) -> list[str]:
    return [f"{one.os}/{one.release}/{one.arch}/{one.subarch}" for one in snapshot.offers]


@contextmanager
def refused(code: str) -> Iterator[list[Problem]]:
    caught: list[Problem] = []
    with pytest.raises(Problem) as info:
        yield caught
    caught.append(info.value)
    assert info.value.code == code, info.value
