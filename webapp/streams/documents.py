# SPDX-License-Identifier: Apache-2.0
"""The two simplestreams documents, read strictly: bytes in, dataclasses out.

Only verified bytes belong here. An item, version, product or index entry that
can't be used is left out and noted with its reason; the rest of the document
counts (rule: odd-entries). Unknown keys may hold anything (rule: strict-documents).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from webapp.streams import checks, strictjson
from webapp.streams.errors import DocumentProblem
from webapp.streams.model import (
    INDEX_FORMAT,
    PRODUCTS_FORMAT,
    Fields,
    Index,
    IndexEntry,
    Item,
    LeftOut,
    Product,
    ProductsDocument,
    ReleaseNotification,
    Version,
)
from webapp.streams.quickjson import Decimal
from webapp.streams.urls import check_path

__all__ = [
    "Index",
    "IndexEntry",
    "Item",
    "LeftOut",
    "Product",
    "ProductsDocument",
    "ReleaseNotification",
    "Version",
    "parse_index",
    "parse_products",
    "reason_of",
    "version_key",
]

MAX_ENTRIES = 2_000
MAX_PRODUCTS = 20_000
MAX_VERSIONS = 500  # of one product
MAX_ITEMS = 1_000  # of one version
MAX_TOTAL_ITEMS = 200_000
MAX_MESSAGE = 65_536
MAX_SIZE = 2**44
MAX_NOTES = 1_000  # what is left out beyond that is counted only

# File types that are stored; others are skipped (rule: stored-file-types).
STORED_FTYPES = frozenset(
    "boot-kernel boot-initrd boot-dtb squashfs root-image.gz root-tgz root-tbz root-txz "
    "root-dd root-dd.tar root-dd.raw root-dd.bz2 root-dd.gz root-dd.xz root-dd.tar.bz2 "
    "root-dd.tar.xz bootloader archive.tar.xz".split()
)

_SERIAL = re.compile(r"[A-Za-z0-9][\w.+~:-]{0,63}", re.ASCII)
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_SIZE = re.compile(r"[0-9]{1,15}")
_RUN = re.compile(r"[0-9]+|[^0-9]+")


def parse_index(payload: bytes, *, where: str) -> Index:
    """Read the verified bytes of an index.

    where: the address or path of the document, for the messages.

    Raises DocumentProblem and nothing else.
    """
    tree = _document(payload, where, INDEX_FORMAT)
    entries = checks.table(tree, "index", (where,), MAX_ENTRIES)
    notes = _Notes()
    updated = checks.updated_at(tree, (where,), notes.about())
    found = []
    for name, value in entries.items():
        try:
            found.append(_entry(name, value, where, notes.about(name)))
        except DocumentProblem as flaw:
            notes.add(flaw, name)
    return Index(updated=updated, entries=tuple(found), left_out=tuple(notes.left_out))


def parse_products(payload: bytes, *, where: str) -> ProductsDocument:
    """Read the verified bytes of a products document.

    where: the address or path of the document, for the messages.

    Raises DocumentProblem and nothing else.
    """
    tree = _document(payload, where, PRODUCTS_FORMAT)
    return _ProductsReader(where).read(tree)


def version_key(serial: str) -> tuple[Any, ...]:
    """Order serials as users expect: ``20240821.10`` comes after ``20240821.9``."""
    runs = [
        (0, int(run), "") if run[0] in "0123456789" else (1, 0, run) for run in _RUN.findall(serial)
    ]
    return (*runs, (-1, 0, serial))


class _Notes:
    """Collects what is left out, at most MAX_NOTES of it."""

    def __init__(self) -> None:
        self.left_out: list[LeftOut] = []

    def add(self, flaw: DocumentProblem, *way: str) -> None:
        """Note one part, named by product, version and item; raises what is too large again."""
        if flaw.code == checks.TOO_LARGE:
            raise flaw
        if len(self.left_out) < MAX_NOTES:
            names = [ascii(name)[1:-1][: checks.MAX_NAME] for name in way]
            self.left_out.append(LeftOut(reason_of(flaw), *names))

    def about(self, *way: str) -> checks.Note:
        """The callback that notes something about this part."""
        return lambda flaw: self.add(flaw, *way)


def reason_of(flaw: DocumentProblem) -> str:
    """Why a part is left out, in one sentence without its full stop."""
    sides = f" (expected {flaw.expected}, got {flaw.got})" if flaw.got else ""
    return flaw.what.removesuffix(".") + sides


class _ProductsReader:
    """Reads one document; knows where it is and what it has seen so far."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.notes = _Notes()
        self.item_count = 0
        self.files: dict[str, tuple[int, str]] = {}

    def read(self, tree: dict[str, Any]) -> ProductsDocument:
        top = (self.where,)
        content_id = checks.name_of(tree.get("content_id"), "content_id", top)
        shared = checks.text_fields(tree, top, self.notes.about(), optional=("datatype",))
        products = checks.table(tree, "products", top, MAX_PRODUCTS)
        updated = checks.updated_at(tree, top, self.notes.about())
        found = []
        for name in list(products):
            try:
                # Let go of each product that was read: no document is in memory twice.
                found.append(self._product(name, products.pop(name), shared))
            except DocumentProblem as flaw:
                self.notes.add(flaw, name)
        return ProductsDocument(
            content_id=content_id,
            datatype=shared.get("datatype", ""),
            updated=updated,
            products=tuple(found),
            left_out=tuple(self.notes.left_out),
        )

    def _product(self, name: str, value: Any, shared: Mapping[str, str]) -> Product:
        at = (self.where, f"product {checks.name_of(name, 'product name', (self.where,))}")
        product = checks.mapping(value, "product", at)
        fields = Fields(checks.text_fields(product, at, self.notes.about(name)), shared)
        versions = checks.table(product, "versions", at, MAX_VERSIONS, is_required=False)
        found = []
        for serial in sorted(versions, key=_order, reverse=True):
            try:
                found.append(self._version(name, serial, versions[serial], fields, at))
            except DocumentProblem as flaw:
                self.notes.add(flaw, name, serial)
        return Product(name=name, fields=fields, versions=tuple(found))

    def _version(
        self,
        product: str,
        serial: str,
        value: Any,
        inherited: Mapping[str, str],
        above: tuple[str, ...],
    ) -> Version:
        _check_serial(serial, above)
        at = (*above, f"version {serial}")
        version = checks.mapping(value, "version", at)
        note = self.notes.about(product, serial)
        fields = Fields(checks.text_fields(version, at, note), inherited)
        items = checks.table(version, "items", at, MAX_ITEMS, is_required=False)
        self.item_count += len(items)
        if self.item_count > MAX_TOTAL_ITEMS:
            raise checks.too_many("items in the document", at, MAX_TOTAL_ITEMS, self.item_count)
        found, flaws = [], {}
        for name, item in items.items():
            try:
                found.append(self._item(name, item, fields, at, (product, serial, name)))
            except DocumentProblem as flaw:
                self.notes.add(flaw, product, serial, name)
                flaws[name] = flaw
        return Version(
            serial=serial, items=tuple(found), fields=fields, flaw=_flaw(items, found, flaws)
        )

    def _item(
        self,
        name: str,
        value: Any,
        inherited: Mapping[str, str],
        above: tuple[str, ...],
        way: tuple[str, str, str],
    ) -> Item:
        at = (*above, f"item {checks.name_of(name, 'item name', above)}")
        item = checks.mapping(value, "item", at)
        own = checks.text_fields(item, at, self.notes.about(*way))
        ftype = own.get("ftype", "")
        path, size, sha256 = "", 0, ""
        try:
            path, size, sha256 = self._file(item, ftype, at)
        except DocumentProblem as flaw:
            if ftype in STORED_FTYPES:
                raise
            self.notes.add(flaw, *way)  # only a mirror would keep it
        notification = None
        if ftype == "notifications" and "release_notification" in item:
            notification = _notification(item["release_notification"], at)
        return Item(name, ftype, path, size, sha256, Fields(own, inherited), notification)

    def _file(self, item: dict[str, Any], ftype: str, at: tuple[str, ...]) -> tuple[str, int, str]:
        if "path" not in item and ftype not in STORED_FTYPES:
            return "", 0, ""  # e.g. an entry of the cloud images, which has an id only
        path, sha256 = item.get("path"), item.get("sha256")
        if type(path) is not str:
            raise checks.wrong_type("path", "text", path, at)
        check_path(path, where=", ".join(at))
        size = _size(item.get("size"), at)
        if type(sha256) is not str:
            raise checks.wrong_type("sha256", "text", sha256, at)
        if not _SHA256.fullmatch(sha256):
            raise checks.problem(
                "document-bad-digest",
                "The sha256 of an item isn't a digest",
                at,
                expected="64 hexadecimal digits",
                got=ascii(sha256[:100]),
            )
        sha256 = sha256.lower()
        known = self.files.setdefault(path, (size, sha256))
        if known != (size, sha256):
            raise checks.problem(
                "document-path-conflict",
                "Another item has the same path and is a different file",
                at,
                expected=f"{known[0]} bytes, sha256 {known[1]}",
                got=f"{size} bytes, sha256 {sha256}",
            )
        return path, size, sha256


def _flaw(items: Mapping[str, Any], found: list[Item], flaws: Mapping[str, DocumentProblem]) -> str:
    """Why a version lacks a file that machines need, "" when it doesn't.

    An item whose type can't be read may have been any, so its name counts.
    """
    has_squashfs = any(item.ftype == "squashfs" for item in found)
    for name, flaw in flaws.items():
        value = items[name]
        kinds = [name, value.get("ftype") if type(value) is dict else ""]
        stored = {kind for kind in kinds if type(kind) is str} & STORED_FTYPES
        if stored and not (has_squashfs and stored == {"root-image.gz"}):
            return f"item {ascii(name)[1:-1][:100]}: {reason_of(flaw)}"
    return ""


def _size(value: Any, at: tuple[str, ...]) -> int:
    """A size in bytes, which some publishers write as text."""
    size = int(value) if type(value) is str and _SIZE.fullmatch(value) else value
    if type(size) is not int:
        raise checks.wrong_type("size", "a whole number of bytes", value, at)
    if not 0 <= size <= MAX_SIZE:
        raise checks.problem(
            "document-bad-size",
            "The size of an item is out of range",
            at,
            expected=f"0 to {MAX_SIZE} bytes",
            got=ascii(size)[:40],
        )
    return size


def _order(serial: str) -> tuple[Any, ...]:
    """The order of serials; what isn't one comes last."""
    return version_key(serial) if _SERIAL.fullmatch(serial) else ((-2, 0, serial),)


def _check_serial(serial: str, at: tuple[str, ...]) -> None:
    if not _SERIAL.fullmatch(serial):
        raise checks.problem(
            "document-bad-name",
            "The serial of a version isn't a plain name",
            at,
            expected="letters, digits and . _ + ~ : - (at most 64)",
            got=ascii(serial[:100]),
        )


def _entry(content_id: str, value: Any, where: str, note: checks.Note) -> IndexEntry:
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
    fields = checks.text_fields(entry, at, note)
    return IndexEntry(
        content_id=content_id,
        path=path,
        format=fields.get("format", ""),
        datatype=fields.get("datatype", ""),
        products=tuple(checks.name_of(product, "product name", at) for product in products),
        updated=checks.updated_at(entry, at, note),
    )


def _document(payload: bytes, where: str, form: str) -> dict[str, Any]:
    tree = strictjson.loads(payload, what=where, keeps_unusable=True)
    if type(tree) is not dict or tree.get("format") != form:
        got = tree.get("format") if type(tree) is dict else tree
        got = got if type(got) is str else type(got).__name__
        raise checks.problem(
            "document-wrong-format",
            "This isn't the expected kind of document",
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
    if type(version) is int or isinstance(version, Decimal):
        version = str(version)
    return ReleaseNotification(
        version=checks.name_of(version or "1", "version", at),
        maas_version=checks.name_of(maas_version, "maas_version", at),
        message=message,
    )
