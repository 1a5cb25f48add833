# SPDX-License-Identifier: Apache-2.0
"""Documents in the shapes of the published stream, without files behind them."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tests.mirror import catalogue
from tests.mirror.catalogue import Kernel
from webapp.streams.documents import ProductsDocument, parse_products
from webapp.streams.mapping import map_products
from webapp.streams.offers import Mapped, Offer

Tree = dict[str, Any]
STREAM = "com.ubuntu.maas.stable"
UPDATED = "Thu, 24 Jul 2025 08:01:47 +0000"
SERIALS = ("20250710", "20250717")


def item(ftype: str, path: str, **more: Any) -> Tree:
    digest = hashlib.sha256(path.encode()).hexdigest()
    return {"ftype": ftype, "path": path, "sha256": digest, "size": len(path), **more}


def ubuntu(kernel: Kernel, serials: tuple[str, ...] = SERIALS) -> Tree:
    release = catalogue.RELEASE_BY_NAME[kernel.codename]
    return {
        "arch": kernel.arch,
        "kflavor": kernel.flavor,
        "krel": kernel.krel,
        "label": "stable",
        "os": "ubuntu",
        "release": kernel.codename,
        "release_codename": release.fullname,
        "release_title": release.title,
        "subarch": kernel.subarch,
        "subarches": kernel.subarches,
        "support_eol": release.eol,
        "support_esm_eol": release.esm_eol,
        "version": kernel.version,
        "versions": {serial: {"items": ubuntu_items(kernel, serial)} for serial in serials},
    }


def ubuntu_items(kernel: Kernel, serial: str) -> Tree:
    base = f"{kernel.codename}/{kernel.arch}/{serial}"
    boot = f"{base}/{kernel.subarch}/{kernel.flavor}"
    ftypes = ["boot-kernel", "boot-initrd"] + (["boot-dtb"] if kernel.has_dtb else [])
    items = {
        ftype: item(ftype, f"{boot}/{ftype}{kernel.suffix}", kpackage=kernel.package)
        for ftype in ftypes
    }
    items["manifest"] = item("manifest", f"{base}/squashfs.manifest")
    items["squashfs"] = item("squashfs", f"{base}/squashfs")
    if kernel.codename == "trusty":
        items["root-image.gz"] = item("root-image.gz", f"{base}/root-image.gz")
    return items


def ubuntu_name(kernel: Kernel) -> str:
    return f"{STREAM}:v3:boot:{kernel.version}:{kernel.arch}:{kernel.name}"


def kernel(codename: str, arch: str, name: str) -> Kernel:
    """The one kernel of the catalogue whose product id ends so."""
    (found,) = (
        one
        for one in catalogue.kernels()
        if (one.codename, one.arch, one.name) == (codename, arch, name)
    )
    return found


def ubuntu_products(codename: str, arch: str) -> Tree:
    return {
        ubuntu_name(one): ubuntu(one)
        for one in catalogue.kernels()
        if (one.codename, one.arch) == (codename, arch)
    }


def loaders() -> Tree:
    return {
        f"{STREAM}:1:{one.os}:{one.platform}:{one.arch}": {
            "arch": one.arch,
            "arches": one.arches,
            "bootloader-type": one.platform,
            "label": "stable",
            "os": one.os,
            "versions": {
                serial: {
                    "items": {
                        package.source: item(
                            "archive.tar.xz",
                            f"bootloaders/{one.platform}/{one.arch}/{serial}/{package.source}.tar.xz",
                            src_package=package.source,
                            src_release=package.release,
                            src_version=package.version,
                        )
                        for package in one.packages
                    }
                }
                for serial in one.serials
            },
        }
        for one in catalogue.LOADERS
    }


def centos(release: str, version: str, title: str, serials: tuple[str, ...]) -> Tree:
    return {
        f"{STREAM}:centos-bases:{version}:amd64": {
            "arch": "amd64",
            "label": "stable",
            "os": "centos",
            "release": release,
            "release_title": title,
            "subarch": "generic",
            "subarches": "generic",
            "support_eol": "2024-06-30",
            "version": version,
            "versions": {
                serial: {
                    "items": {
                        "manifest": item("manifest", f"{release}/{serial}/root-tgz.manifest"),
                        "root-tgz": item("root-tgz", f"{release}/{serial}/root-tgz"),
                    }
                }
                for serial in serials
            },
        }
    }


def centoses() -> Tree:
    return {
        **centos("centos66", "6.6", "CentOS 6", ("20180501_01",)),
        **centos("centos70", "7.0", "CentOS 7", ("20240604_01", "20240622_01")),
        **centos("8", "8", "CentOS 8", ("20211029_01", "20211104_01")),
    }


def esxi() -> Tree:
    return {
        "com.example.lab:esxi:6.7:amd64": {
            "arch": "amd64",
            "label": "stable",
            "os": "esxi",
            "release": "6.7",
            "versions": {
                "20240101": {
                    "items": {"root-dd.gz": item("root-dd.gz", "esxi/6.7/20240101/vmware.dd.gz")}
                }
            },
        }
    }


def ubuntu_core() -> Tree:
    return {
        f"{STREAM}:v4:boot:18:amd64:pc-kernel:pc": {
            "arch": "amd64",
            "gadget_snap": "pc",
            "gadget_title": "PC",
            "kernel_snap": "pc-kernel",
            "label": "stable",
            "maas_supported": "2.2",
            "os": "ubuntu-core",
            "os_title": "Ubuntu Core",
            "release": "18",
            "release_title": "18",
            "version": "18",
            "versions": {
                "20190101": {"items": {"root-dd.xz": item("root-dd.xz", "core/18/pc/root-dd.xz")}}
            },
        }
    }


def notification() -> Tree:
    notice = {"version": 1.0, "maas_version": "2.9.0", "message": "<strong>New</strong>\n"}
    path = "release-notifications/20201204.0/release-notification.yaml"
    return {
        "com.ubuntu.maas:stable:1:maas-notification": {
            "arch": "all",
            "label": "stable",
            "name": "release-notifications",
            "release": "notifications",
            "versions": {
                "20201204.0": {
                    "items": {
                        "release_notification": item(
                            "notifications", path, release_notification=notice
                        )
                    }
                }
            },
        }
    }


def tree(
    products: Tree, content_id: str = "com.ubuntu.maas:stable:v3:download", **more: Any
) -> Tree:
    return {
        "content_id": content_id,
        "datatype": "image-ids",
        "format": "products:1.0",
        "products": products,
        "updated": UPDATED,
        **more,
    }


def full_catalogue() -> dict[str, Tree]:
    """All documents of the published stable stream, by content id."""
    every = {
        "com.ubuntu.maas:stable:v3:download": {
            ubuntu_name(one): ubuntu(one) for one in catalogue.kernels()
        },
        "com.ubuntu.maas:stable:1:bootloader-download": loaders(),
        "com.ubuntu.maas:stable:centos-bases-download": centoses(),
        "com.ubuntu.maas:stable:v4:download": ubuntu_core(),
        "com.example.lab:esxi-download": esxi(),
        "com.ubuntu.maas:stable:1:maas-notification": notification(),
    }
    return {content_id: tree(products, content_id) for content_id, products in every.items()}


def parsed_catalogue() -> list[ProductsDocument]:
    return [parse_products(dump(one), where=name) for name, one in full_catalogue().items()]


def index(documents: Mapping[str, Tree]) -> Tree:
    return {
        "format": "index:1.0",
        "index": {
            content_id: {
                "datatype": document["datatype"],
                "format": document["format"],
                "path": f"streams/v1/{content_id}.sjson",
                "products": sorted(document["products"]),
                "updated": document["updated"],
            }
            for content_id, document in documents.items()
        },
        "updated": "Thu, 24 Jul 2025 08:02:00 +0000",
    }


def dump(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def parse(products: Tree, **more: Any) -> ProductsDocument:
    return parse_products(dump(tree(products, **more)), where="doc")


def mapped(products: Tree, **more: Any) -> Mapped:
    return map_products([parse(products, **more)])


def offer(products: Tree) -> Offer:
    """The only offer that these products make, with nothing skipped."""
    result = mapped(products)
    assert not result.skipped, result.skipped
    (found,) = result.offers
    return found


def changed(products: Tree, **fields: Any) -> Tree:
    """The same products with other fields; None removes one."""
    products = copy.deepcopy(products)
    for product in products.values():
        product.update(fields)
        for key in [key for key, value in fields.items() if value is None]:
            del product[key]
    return products
