# SPDX-License-Identifier: Apache-2.0
"""The two simplestreams documents, written: dataclasses in, bytes out.

The values are those that the reader (``documents``) makes, so that what one writes the
other one reads. One key a line: gpg cuts signed lines at 20,000 characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from webapp.streams.model import (
    INDEX_FORMAT,
    PRODUCTS_FORMAT,
    Index,
    Item,
    Product,
    ProductsDocument,
    Version,
)


def write_index(index: Index) -> bytes:
    """The bytes of an ``index:1.0`` document."""
    entries = {
        entry.content_id: {
            **_dated(entry.updated),
            "datatype": entry.datatype,
            "format": entry.format,
            "path": entry.path,
            "products": list(entry.products),
        }
        for entry in index.entries
    }
    return _written({"format": INDEX_FORMAT, **_dated(index.updated), "index": entries})


def write_products(document: ProductsDocument) -> bytes:
    """The bytes of a ``products:1.0`` document."""
    top = {"datatype": document.datatype}
    return _written(
        {
            **top,
            "format": PRODUCTS_FORMAT,
            "content_id": document.content_id,
            **_dated(document.updated),
            "products": {one.name: _product(one, top) for one in document.products},
        }
    )


def _product(product: Product, above: Mapping[str, str]) -> dict[str, Any]:
    versions = {one.serial: _version(one, product.fields) for one in product.versions}
    return {**_own(product.fields, above), "versions": versions}


def _version(version: Version, above: Mapping[str, str]) -> dict[str, Any]:
    items = {one.name: _item(one, version.fields) for one in version.items}
    return {**_own(version.fields, above), "items": items}


def _item(item: Item, above: Mapping[str, str]) -> dict[str, Any]:
    file = {"ftype": item.ftype, "path": item.path, "size": item.size, "sha256": item.sha256}
    return {**_own(item.fields, above), **file}


def _own(fields: Mapping[str, str], above: Mapping[str, str]) -> dict[str, str]:
    """The fields that the level above doesn't have already."""
    return {name: value for name, value in fields.items() if above.get(name) != value}


def _dated(moment: datetime | None) -> dict[str, str]:
    return {"updated": format_datetime(moment.astimezone(UTC))} if moment else {}


def _written(tree: dict[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()
