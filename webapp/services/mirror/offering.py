# SPDX-License-Identifier: Apache-2.0
"""What the region holds, as products of a stream (rules: own-product-names, mirror-items)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, select

from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    ImageRestriction,
    Publication,
    ResourceFile,
    ResourceSet,
    ResourceType,
    utcnow,
)
from webapp.services.images.published import IS_KEPT_TO
from webapp.services.mirror.options import Options
from webapp.streams import osnames
from webapp.streams.model import (
    IMAGES,
    PRODUCTS_FORMAT,
    Index,
    IndexEntry,
    Item,
    Product,
    ProductsDocument,
    Version,
)

CONTENT_ID = "com.ubuntu.maas:slipway:v3:download"
ITEMS = "sha256/"  # below it, items have their digest and file name
_COLUMNS = (
    BootResource.id.label("resource_id"),
    BootResource.rtype,
    BootResource.name,
    BootResource.os,
    BootResource.release,
    BootResource.arch,
    BootResource.subarch,
    BootResource.subarches,
    BootResource.kflavor,
    BootResource.title,
    BootResource.bootloader_type,
    BootResource.base_image,
    BootResource.is_rolling,
    BootResource.product,
    BootResource.stream_fields,
    ResourceSet.version,
    ResourceSet.label,
    ResourceFile.filename,
    ResourceFile.ftype,
    ResourceFile.extra,
    Blob.sha256,
    Blob.size,
    Blob.state,
)


@dataclass(frozen=True)
class Offered:
    """The products of one publication. size: bytes, each file once."""

    serial: int
    products: tuple[Product, ...]

    @property
    def images(self) -> int:
        """How many images these are, all kernels of one and no boot loaders counted."""
        fields = [product.fields for product in self.products]
        found = [each for each in fields if "bootloader-type" not in each]
        return len({(each["os"], each.get("release", ""), each["arch"]) for each in found})

    @property
    def files(self) -> dict[str, int]:
        """Digest -> size of every file."""
        versions = (version for product in self.products for version in product.versions)
        return {item.sha256: item.size for version in versions for item in version.items}

    def index(self, updated: datetime | None, path: str) -> Index:
        """The index that names their document at this path."""
        names = tuple(product.name for product in self.products)
        entry = IndexEntry(CONTENT_ID, path, PRODUCTS_FORMAT, IMAGES, names, updated)
        return Index(updated, (entry,))

    def document(self, updated: datetime | None) -> ProductsDocument:
        """Their document."""
        return ProductsDocument(CONTENT_ID, IMAGES, updated, self.products)


def next_date(before: datetime | None) -> datetime:
    """Now, in whole seconds, and later than before, whatever the clock says."""
    now = utcnow().replace(microsecond=0)
    return now if before is None else max(now, before + timedelta(seconds=1))


def read(connection: Connection, options: Options) -> Offered:
    """What is current, complete and intact, all of one publication: each set whole or not."""
    serial = _serial(connection)
    while True:
        found = _products(connection, options)
        after = _serial(connection)
        if after == serial:  # else it was raised in the meantime: they may be of either
            return Offered(serial, found)
        serial = after


def _serial(connection: Connection) -> int:
    return connection.scalar(select(Publication.serial)) or 0


def _products(connection: Connection, options: Options) -> tuple[Product, ...]:
    query = (
        select(*_COLUMNS)
        .join(ResourceSet, ResourceSet.id == BootResource.current_set_id)
        .join(ResourceFile, ResourceFile.set_id == ResourceSet.id)
        .join(Blob, Blob.id == ResourceFile.blob_id)
        .outerjoin(ImageRestriction, IS_KEPT_TO)
        # What isn't for everyone is for enrolled racks alone (rule: kept-images).
        .where(ResourceSet.completed_at.is_not(None), ImageRestriction.os.is_(None))
        .order_by(BootResource.id, ResourceFile.filename)
    )
    sets = [list(group) for _, group in groupby(connection.execute(query), lambda r: r.resource_id)]
    offered = [files for files in sets if _is_offered(files, options)]
    products: dict[str, Product] = {}
    for files in offered:
        name = files[0].product if files[0].rtype == ResourceType.SYNCED else ""
        if not name or name in products:
            name = _own_name(files[0])
        products[name] = _product(name, files)
    return tuple(products[name] for name in sorted(products))


def _is_offered(files: Sequence[Row[Any]], options: Options) -> bool:
    if any(file.state != BlobState.READY for file in files):
        return False
    image = files[0]
    if image.bootloader_type:
        return True  # nothing boots without them
    if image.rtype == ResourceType.UPLOADED and not options.has_uploads:
        return False
    return not options.images or image.name in options.images


def _own_name(image: Row[Any]) -> str:
    """The name of a product that no stream named, as MAAS's gates take it."""
    mark = {"ubuntu-core": "v4"}.get(image.os, "1" if image.bootloader_type else "v3")
    os = image.os or "custom"
    parts = ("com.ubuntu.maas:custom", mark, "boot", os, image.release, image.arch, image.subarch)
    return ":".join(parts)


def _product(name: str, files: Sequence[Row[Any]]) -> Product:
    image = files[0]
    fields = _fields(image)
    items = tuple(_items(files, fields))
    return Product(name, fields, (Version(image.version, items, fields),))


def _fields(image: Row[Any]) -> dict[str, str]:
    """What a reader needs to call the image what it's called here."""
    os = image.os or "custom"
    said = dict(image.stream_fields or {}) if image.rtype == ResourceType.SYNCED else {}
    version = said.pop("release_version", "")
    fields = {"os": os, "arch": image.arch, "label": image.label}
    if image.bootloader_type:
        return {**fields, "bootloader-type": image.bootloader_type}
    release, gadget = image.release, ""
    if os == "ubuntu-core":
        release, _, gadget = image.release.partition("-")
    optional = {
        "title": image.title,
        "os_title": _os_title(os, image.title, said.get("release_title", "")),
        "version": version or image.release,
        "gadget_snap": gadget,
        "kernel_snap": image.kflavor if gadget else "",
        "rolling": "true" if image.is_rolling else "",
        "base_image": image.base_image,
        **said,
    }
    return {
        **fields,
        "release": release,
        "subarch": image.subarch,
        "subarches": ",".join(image.subarches or [image.subarch]),
        "kflavor": image.kflavor or "generic",
        **{key: value for key, value in optional.items() if value},
    }


def _os_title(os: str, title: str, release_title: str) -> str:
    """What MAAS puts before the release's title, where that makes the title."""
    found = osnames.os_title(os)
    return found if release_title and title == f"{found} {release_title}" else ""


def _items(files: Iterable[Row[Any]], above: dict[str, str]) -> Iterable[Item]:
    for file in files:
        extra = {str(key): str(value) for key, value in (file.extra or {}).items() if value}
        yield Item(
            name=file.filename,
            ftype=file.ftype,
            path=f"{ITEMS}{file.sha256}/{file.filename}",
            size=file.size,
            sha256=file.sha256,
            fields={**above, **extra},
        )
