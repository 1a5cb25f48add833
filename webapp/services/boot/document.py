# SPDX-License-Identifier: Apache-2.0
"""The boot table and the boot loaders as racks elsewhere get them: one JSON document. Pure.

The signed list for racks has its digest (``streams.racks``). A rack unpacks the loaders
itself, from archives that it verified.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from webapp.services.boot.choosing import Entry, StoredImage, Table
from webapp.streams import strictjson
from webapp.streams.errors import DocumentProblem
from webapp.streams.racks import RackFile
from webapp.streams.restrictions import checked

FORMAT = "slipway-boot:1"


@dataclass(frozen=True)
class LoaderVersion:
    """A boot loader's version in use. completed: Unix time. files: name -> SHA-256.

    archives: what they are unpacked from; the path is the file's name alone, quoted.
    """

    firmware: str
    arch: str
    completed: int
    archives: tuple[RackFile, ...]
    files: Mapping[str, str]

    def paths(self, name: str) -> tuple[str, str]:
        """Where a file is served: at the root, where an earlier loader comes first, and below."""
        return name, f"bootloader/{self.firmware}/{self.arch}/{name}"


@dataclass(frozen=True)
class BootDocument:
    """What machines boot at one state of a region. loaders: the first of a name counts."""

    table: Table
    loaders: tuple[LoaderVersion, ...]


def write(document: BootDocument) -> bytes:
    """The document's text; the images are those that entries name."""
    table = document.table
    named = {(entry.os, entry.release, entry.arch) for entry in table.entries.values()}
    images = (one for key in sorted(named) for one in table.images.get(key, ()))
    tree = {
        "format": FORMAT,
        "entries": [asdict(table.entries[machine]) for machine in sorted(table.entries)],
        "images": [{**asdict(one), "damaged": sorted(one.damaged)} for one in images],
        "loaders": [asdict(one) for one in document.loaders],
    }
    return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()


def parse(payload: bytes, *, where: str) -> BootDocument:
    """Read a document whose digest was signed. Raises DocumentProblem, whatever is wrong."""
    try:
        tree: Any = strictjson.loads(payload, what=where)
        if tree["format"] != FORMAT:
            raise ValueError(f"format {str(tree['format'])[:40]!r}")
        entries = [Entry(**_texts(one)) for one in tree["entries"]]
        images: dict[tuple[str, str, str], list[StoredImage]] = {}
        for image in map(_image, tree["images"]):
            images.setdefault((image.os, image.release, image.arch), []).append(image)
        table = Table({entry.machine: entry for entry in entries}, images)
        return BootDocument(table, tuple(map(_loader, tree["loaders"])))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise DocumentProblem(
            "The region's boot table can't be read.",
            where=where,
            expected=FORMAT,
            got=f"{type(error).__name__}: {error}"[:200],
            next_step="Run the same version of Slipway on the region and on its racks.",
        ) from error


def _image(tree: Any) -> StoredImage:
    names = ("os", "release", "arch", "subarch", "version", "folder")
    text = _texts({name: tree[name] for name in names})
    kept = tree.get("restriction")
    return StoredImage(
        text["os"],
        text["release"],
        text["arch"],
        text["subarch"],
        tuple(tree["answers_to"]),
        tree["is_binned"] is True,
        text["version"],
        text["folder"],
        _texts(tree["files"]),
        frozenset(tree["damaged"]),
        checked(kept["networks"], kept["macs"]) if kept else None,
    )


def _loader(tree: Any) -> LoaderVersion:
    archives = tuple(
        RackFile(str(one["sha256"]), int(one["size"]), str(one["path"])) for one in tree["archives"]
    )
    return LoaderVersion(
        str(tree["firmware"]),
        str(tree["arch"]),
        int(tree["completed"]),
        archives,
        _texts(tree["files"]),
    )


def _texts(tree: Any) -> dict[str, str]:
    if not all(isinstance(value, str) for value in tree.values()):
        raise ValueError("a value that's no text")
    return dict(tree)
