# SPDX-License-Identifier: Apache-2.0
"""The two simplestreams documents as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

INDEX_FORMAT = "index:1.0"
PRODUCTS_FORMAT = "products:1.0"
IMAGES = "image-downloads"  # the datatype of documents whose items are image files
INDEX_PATH = "streams/v1/index.sjson"


class Fields(Mapping[str, str]):
    """The text keys of one level, before those of the levels above it.

    What is above isn't copied: thousands of items may share thousands of keys.
    """

    __slots__ = ("_above", "_own")

    def __init__(self, own: dict[str, str], above: Mapping[str, str]) -> None:
        self._own = own
        self._above = above

    def __getitem__(self, key: str) -> str:
        level: Mapping[str, str] = self
        # No call for each level, nor of an abstract class: asked often.
        while type(level) is Fields:
            if key in level._own:
                return level._own[key]
            level = level._above
        return level[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._above, **self._own})

    def __len__(self) -> int:
        return len({**self._above, **self._own})

    def __repr__(self) -> str:
        """Its keys and values, so that what is alike is written alike."""
        return f"{type(self).__name__}({self._own!r}, {self._above!r})"


def only(fields: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    """Those of some keys that hold for a level; cheaper than asking for each."""
    found: dict[str, str] = {}
    while type(fields) is Fields:
        for name in fields._own.keys() & names:
            found.setdefault(name, fields._own[name])
        fields = fields._above
    for name in fields.keys() & names:
        found.setdefault(name, fields[name])
    return found


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of a document that isn't used, and why.

    product, version and item name it, as far down as it goes; for an index entry,
    product is its content id. All are fit to print.
    """

    reason: str
    product: str = ""
    version: str = ""
    item: str = ""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One document that the index names."""

    content_id: str
    path: str
    format: str
    datatype: str
    products: tuple[str, ...]
    updated: datetime | None


@dataclass(frozen=True, slots=True)
class Index:
    """An ``index:1.0`` document."""

    updated: datetime | None
    entries: tuple[IndexEntry, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseNotification:
    """The notice inside an item of ftype ``notifications`` (rule: release-notices)."""

    version: str
    maas_version: str
    message: str


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a version, or, with an empty path, an entry without a file that can be verified.

    fields: every text key that holds for it, its own before those of version,
    product and document.
    """

    name: str
    ftype: str
    path: str
    size: int
    sha256: str
    fields: Mapping[str, str]
    notification: ReleaseNotification | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One build of a product; fields as in Item, without those of its items.

    flaw: why its files aren't complete, "" when they are.
    """

    serial: str
    items: tuple[Item, ...]
    fields: Mapping[str, str]
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Product:
    """One product with its versions, newest first."""

    name: str
    fields: Mapping[str, str]
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class ProductsDocument:
    """A ``products:1.0`` document."""

    content_id: str
    datatype: str
    updated: datetime | None
    products: tuple[Product, ...]
    left_out: tuple[LeftOut, ...] = ()
