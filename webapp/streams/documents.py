# SPDX-License-Identifier: Apache-2.0
"""The two simplestreams documents, read strictly: bytes in, dataclasses out.

Only verified bytes belong here. A document is read wholly or refused wholly,
naming the entry at fault: whoever signs a path that climbs out of the mirror
or a digest that is none has lost control of the publishing, not of one entry.
Unknown keys may hold anything (rule: strict-documents).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webapp.streams import checks, strictjson
from webapp.streams.urls import check_path

MAX_ENTRIES = 2_000
MAX_PRODUCTS = 20_000
MAX_VERSIONS = 500  # of one product
MAX_ITEMS = 1_000  # of one version
MAX_TOTAL_ITEMS = 200_000
MAX_MESSAGE = 65_536
MAX_SIZE = 2**44

# File types that are stored; others are skipped (rule: stored-file-types).
STORED_FTYPES = frozenset(
    "boot-kernel boot-initrd boot-dtb squashfs root-image.gz root-tgz root-tbz root-txz "
    "root-dd root-dd.tar root-dd.raw root-dd.bz2 root-dd.gz root-dd.xz root-dd.tar.bz2 "
    "root-dd.tar.xz bootloader archive.tar.xz".split()
)

_SERIAL = re.compile(r"[A-Za-z0-9][\w.+~:-]{0,63}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RUN = re.compile(r"[0-9]+|[^0-9]+")


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

    updated: datetime
    entries: tuple[IndexEntry, ...]


@dataclass(frozen=True, slots=True)
class ReleaseNotification:
    """The notice inside an item of ftype ``notifications`` (rule: release-notices)."""

    version: str
    maas_version: str
    message: str


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a version, or, with an empty path, an entry that is no file.

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
    """One build of a product; fields as in Item, without those of its items."""

    serial: str
    items: tuple[Item, ...]
    fields: Mapping[str, str]


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
    updated: datetime
    products: tuple[Product, ...]


def parse_index(payload: bytes, *, where: str) -> Index:
    """Read the verified bytes of an index.

    where: the address or path of the document, for the messages.

    Raises DocumentProblem and nothing else.
    """
    tree = _document(payload, where, "index:1.0")
    entries = checks.table(tree, "index", (where,), MAX_ENTRIES)
    return Index(
        updated=checks.updated_at(tree, (where,)),
        entries=tuple(_entry(name, entry, where) for name, entry in entries.items()),
    )


def parse_products(payload: bytes, *, where: str) -> ProductsDocument:
    """Read the verified bytes of a products document.

    where: the address or path of the document, for the messages.

    Raises DocumentProblem and nothing else.
    """
    tree = _document(payload, where, "products:1.0")
    return _ProductsReader(where).read(tree)


def version_key(serial: str) -> tuple[Any, ...]:
    """Order serials as people do: ``20240821.10`` comes after ``20240821.9``."""
    runs = [
        (0, int(run), "") if run[0] in "0123456789" else (1, 0, run) for run in _RUN.findall(serial)
    ]
    return (*runs, (-1, 0, serial))


class _ProductsReader:
    """Reads one document; knows where it is and what it has seen so far."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.item_count = 0
        self.files: dict[str, tuple[int, str]] = {}

    def read(self, tree: dict[str, Any]) -> ProductsDocument:
        top = (self.where,)
        content_id = checks.name_of(tree.get("content_id"), "content_id", top)
        shared = checks.text_fields(tree, top)
        products = checks.table(tree, "products", top, MAX_PRODUCTS)
        return ProductsDocument(
            content_id=content_id,
            datatype=shared.get("datatype", ""),
            updated=checks.updated_at(tree, top),
            products=tuple(self._product(name, value, shared) for name, value in products.items()),
        )

    def _product(self, name: str, value: Any, shared: Mapping[str, str]) -> Product:
        at = (self.where, f"product {checks.name_of(name, 'product name', (self.where,))}")
        product = checks.mapping(value, "product", at)
        fields = {**shared, **checks.text_fields(product, at)}
        versions = checks.table(product, "versions", at, MAX_VERSIONS, is_required=False)
        for serial in versions:
            _check_serial(serial, at)
        serials = sorted(versions, key=version_key, reverse=True)
        return Product(
            name=name,
            fields=fields,
            versions=tuple(self._version(one, versions[one], fields, at) for one in serials),
        )

    def _version(
        self, serial: str, value: Any, inherited: Mapping[str, str], above: tuple[str, ...]
    ) -> Version:
        at = (*above, f"version {serial}")
        version = checks.mapping(value, "version", at)
        fields = {**inherited, **checks.text_fields(version, at)}
        items = checks.table(version, "items", at, MAX_ITEMS, is_required=False)
        self.item_count += len(items)
        if self.item_count > MAX_TOTAL_ITEMS:
            raise checks.too_many("items in the document", at, MAX_TOTAL_ITEMS, self.item_count)
        return Version(
            serial=serial,
            items=tuple(self._item(name, item, fields, at) for name, item in items.items()),
            fields=fields,
        )

    def _item(
        self, name: str, value: Any, inherited: Mapping[str, str], above: tuple[str, ...]
    ) -> Item:
        at = (*above, f"item {checks.name_of(name, 'item name', above)}")
        item = checks.mapping(value, "item", at)
        own = checks.text_fields(item, at)
        ftype = own.get("ftype", "")
        path, size, sha256 = self._file(item, ftype, at)
        notification = None
        if ftype == "notifications" and "release_notification" in item:
            notification = _notification(item["release_notification"], at)
        return Item(name, ftype, path, size, sha256, {**inherited, **own}, notification)

    def _file(self, item: dict[str, Any], ftype: str, at: tuple[str, ...]) -> tuple[str, int, str]:
        if "path" not in item and ftype not in STORED_FTYPES:
            return "", 0, ""  # such as the cloud images' entries without a file
        path, size, sha256 = item.get("path"), item.get("size"), item.get("sha256")
        if type(path) is not str:
            raise checks.wrong_type("path", "text", path, at)
        check_path(path, where=", ".join(at))
        if type(size) is not int:
            raise checks.wrong_type("size", "a whole number of bytes", size, at)
        if not 0 <= size <= MAX_SIZE:
            raise checks.problem(
                "document-bad-size",
                "The size of an item is out of range",
                at,
                expected=f"0 to {MAX_SIZE} bytes",
                got=ascii(size)[:40],
            )
        if type(sha256) is not str:
            raise checks.wrong_type("sha256", "text", sha256, at)
        if not _SHA256.fullmatch(sha256):
            raise checks.problem(
                "document-bad-digest",
                "The sha256 of an item is not a digest",
                at,
                expected="64 lower-case hexadecimal digits",
                got=ascii(sha256[:100]),
            )
        known = self.files.setdefault(path, (size, sha256))
        if known != (size, sha256):
            raise checks.problem(
                "document-path-conflict",
                "Two items are said to be different files under the same path",
                at,
                expected=f"{known[0]} bytes, sha256 {known[1]}",
                got=f"{size} bytes, sha256 {sha256}",
            )
        return path, size, sha256


def _check_serial(serial: str, at: tuple[str, ...]) -> None:
    if not _SERIAL.fullmatch(serial):
        raise checks.problem(
            "document-bad-name",
            "The serial of a version is not a plain name",
            at,
            expected="letters, digits and . _ + ~ : - (at most 64)",
            got=ascii(serial[:100]),
        )


def _entry(content_id: str, value: Any, where: str) -> IndexEntry:
    at = (where, f"entry {checks.name_of(content_id, 'content id', (where,))}")
    entry = checks.mapping(value, "index entry", at)
    path = entry.get("path")
    if type(path) is not str:
        raise checks.wrong_type("path", "text", path, at)
    check_path(path, where=", ".join(at))
    products = entry.get("products", [])
    if type(products) is not list:
        raise checks.wrong_type("products", "a list", products, at)
    if len(products) > MAX_PRODUCTS:
        raise checks.too_many("products in an index entry", at, MAX_PRODUCTS, len(products))
    fields = checks.text_fields(entry, at)
    return IndexEntry(
        content_id=content_id,
        path=path,
        format=fields.get("format", ""),
        datatype=fields.get("datatype", ""),
        products=tuple(checks.name_of(product, "product name", at) for product in products),
        updated=checks.updated_at(entry, at) if "updated" in entry else None,
    )


def _document(payload: bytes, where: str, form: str) -> dict[str, Any]:
    tree = strictjson.loads(payload, what=where)
    if type(tree) is not dict or tree.get("format") != form:
        got = tree.get("format") if type(tree) is dict else tree
        got = got if type(got) is str else type(got).__name__
        raise checks.problem(
            "document-wrong-format",
            "This is not the kind of document that belongs here",
            (where,),
            expected=f'an object with "format": "{form}"',
            got=ascii(got[:100]),
        )
    return tree


def _notification(value: Any, at: tuple[str, ...]) -> ReleaseNotification:
    notice = checks.mapping(value, "release_notification", at)
    message, maas_version = notice.get("message"), notice.get("maas_version")
    if type(message) is not str or len(message) > MAX_MESSAGE:
        raise checks.wrong_type("message", f"text of at most {MAX_MESSAGE} characters", message, at)
    version = notice.get("version", "")
    if type(version) in (int, float):
        version = str(version)
    return ReleaseNotification(
        version=checks.name_of(version or "1", "version", at),
        maas_version=checks.name_of(maas_version, "maas_version", at),
        message=message,
    )
