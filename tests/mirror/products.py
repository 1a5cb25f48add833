# SPDX-License-Identifier: Apache-2.0
"""The products documents of a made mirror, in the shapes of the published stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tests.mirror import catalogue, payloads
from tests.mirror.bootfiles import BootFiles
from tests.mirror.catalogue import Kernel, Loader, LoaderPackage

FIRST_DAY = date(2026, 1, 5)
Product = dict[str, Any]
Products = dict[str, Product]
NOTICE = (
    "<strong>MAAS 2.9 has been released</strong>. Find out "
    '<a href="https://maas.io/docs/release-notes">what\u2019s new in 2.9</a>\n'
)


@dataclass(frozen=True)
class Recipe:
    """What a stream holds. ``generation`` slides every image by that many builds."""

    stream: str
    kernels: tuple[Kernel, ...]
    versions: int
    sizes: Mapping[str, int]
    jitter: float
    manifest_lines: int
    has_loaders: bool
    has_centos: bool
    has_notification: bool
    has_esxi: bool
    has_ubuntu_core: bool
    boot_files: BootFiles | None


class Builder:
    """Makes the documents of one generation; payload files are written on the way."""

    def __init__(self, recipe: Recipe, files: payloads.Payloads, generation: int) -> None:
        self.recipe = recipe
        self.files = files
        self.builds = range(generation, generation + recipe.versions)

    def documents(self) -> dict[str, tuple[str, Products]]:
        """Every content id with its datatype and its products."""
        recipe, prefix = self.recipe, f"com.ubuntu.maas:{self.recipe.stream}"
        found: dict[str, tuple[str, Products]] = {}
        if recipe.kernels:
            found[f"{prefix}:v3:download"] = ("image-ids", self._ubuntu())
        if recipe.has_loaders:
            found[f"{prefix}:1:bootloader-download"] = ("image-ids", self._loaders())
        if recipe.has_centos:
            found[f"{prefix}:centos-bases-download"] = ("image-ids", self._centos())
        if recipe.has_esxi:
            found[f"{prefix}:esxi-download"] = ("image-ids", self._esxi())
        if recipe.has_ubuntu_core:
            found[f"{prefix}:v4:download"] = ("image-ids", self._ubuntu_core())
        if recipe.has_notification:
            found[f"{prefix}:1:maas-notification"] = ("release-notifications", self._notification())
        return found

    # -- Ubuntu

    def _ubuntu(self) -> Products:
        return {
            f"com.ubuntu.maas.{self.recipe.stream}:v3:boot:{k.version}:{k.arch}:{k.name}": (
                self._ubuntu_product(k)
            )
            for k in self.recipe.kernels
        }

    def _ubuntu_product(self, k: Kernel) -> Product:
        release = catalogue.RELEASE_BY_NAME[k.codename]
        product: Product = {
            "arch": k.arch,
            "kflavor": k.flavor,
            "krel": k.krel,
            "label": self.recipe.stream,
            "os": "ubuntu",
            "release": k.codename,
            "release_codename": release.fullname,
            "release_title": release.title,
            "subarch": k.subarch,
            "subarches": k.subarches,
            "support_eol": release.eol,
            "support_esm_eol": release.esm_eol,
            "version": k.version,
            "versions": {},
        }
        for build in self.builds:
            items = self._ubuntu_items(k, build)
            product["versions"][self._serial(f"{k.codename}/{k.arch}", build)] = {"items": items}
        if (k.codename, k.arch) == ("jammy", "amd64") and len(self.builds) > 1:
            # A date that differs between two builds stays on the versions, as published.
            del product["support_eol"]
            for version in product["versions"].values():
                version["support_eol"] = release.eol
            min(product["versions"].items())[1]["support_eol"] = "2027-04-21"
        return product

    def _ubuntu_items(self, k: Kernel, build: int) -> dict[str, Product]:
        family = f"{k.codename}/{k.arch}"
        serial = self._serial(family, build)
        base = f"{family}/{serial}"
        # arm64: every other build changes the root file system only; an edge kernel is
        # the plain hwe one. So one content has several paths, as in the real stream.
        kernel_build = build - build % 2 if k.arch == "arm64" else build
        flavor = f"{k.subarch.replace('-edge', '')}/{k.flavor}"
        key = f"{family}/{kernel_build}/{flavor}"
        real = self._real_kernel(k, build)
        items: dict[str, Product] = {}
        for ftype in ("boot-kernel", "boot-initrd", *(("boot-dtb",) if k.has_dtb else ())):
            path = f"{base}/{k.subarch}/{k.flavor}/{ftype}{k.suffix}"
            if ftype in real:
                info = self.files.copied(path, real[ftype])
            else:
                info = self._made(path, ftype, key)
            items[ftype] = {"ftype": ftype, "kpackage": k.package, "path": path, **info}
        items["squashfs"] = self._item(f"{base}/squashfs", "squashfs", f"{family}/{build}")
        items["manifest"] = self._manifest(f"{base}/squashfs.manifest")
        if k.codename == "trusty":  # the one release that has the older root image as well
            path = f"{base}/root-image.gz"
            items["root-image.gz"] = self._item(path, "root-image.gz", f"{family}/{build}")
        return items

    def _real_kernel(self, k: Kernel, build: int) -> dict[str, Any]:
        boot = self.recipe.boot_files
        first = next((f for f in self.recipe.kernels if f.arch == "amd64"), None)
        if boot is None or k != first or build != self.builds[-1]:
            return {}
        return {"boot-kernel": boot.kernel, "boot-initrd": boot.initrd}

    # -- boot loaders

    def _loaders(self) -> Products:
        return {
            f"com.ubuntu.maas.{self.recipe.stream}:1:{x.os}:{x.platform}:{x.arch}": {
                "arch": x.arch,
                "arches": x.arches,
                "bootloader-type": x.platform,
                "label": self.recipe.stream,
                "os": x.os,
                "versions": {
                    serial: {"items": self._loader_items(x, serial)}
                    for serial in x.serials[-self.recipe.versions :]
                },
            }
            for x in catalogue.LOADERS
        }

    def _loader_items(self, loader: Loader, serial: str) -> dict[str, Product]:
        items: dict[str, Product] = {}
        for package in loader.packages:
            path = f"bootloaders/{loader.platform}/{loader.arch}/{serial}/{package.source}.tar.xz"
            release, version, members = self._loader_content(loader, package, path, serial)
            items[package.source] = {
                "ftype": "archive.tar.xz",
                "path": path,
                "src_package": package.source,
                "src_release": release,
                "src_version": version,
                **self.files.given(path, payloads.archive(members)),
            }
        return items

    def _loader_content(
        self, loader: Loader, package: LoaderPackage, path: str, serial: str
    ) -> tuple[str, str, list[tuple[str, bytes]]]:
        boot = self.recipe.boot_files
        if boot is not None and serial == loader.serials[-1]:
            real = boot.loaders.get((loader.platform, loader.arch, package.source))
            if real is not None:
                members = [(name, file.read_bytes()) for name, file in real.members]
                return "bookworm", real.version, members
        made = []
        for name in package.members:
            rng = self.files.random("loader", path, name)
            head = b"MZ" if name.endswith(".efi") else b"\xfa\xfc"
            made.append((name, head + rng.randbytes(self.recipe.sizes["loader"])))
        return package.release, package.version, made

    # -- other systems

    def _centos(self) -> Products:
        products: Products = {}
        for system in catalogue.CENTOS:
            versions = {}
            for build in self.builds:
                serial = self._listed_serial(system.serials, build)
                path = f"centos/{system.release}/amd64/{serial}/root-tgz"
                versions[serial] = {
                    "items": {
                        "root-tgz": self._item(path, "root-tgz", path),
                        "manifest": self._manifest(f"{path}.manifest"),
                    }
                }
            name = f"com.ubuntu.maas.{self.recipe.stream}:centos-bases:{system.version}:amd64"
            products[name] = {
                "arch": "amd64",
                "label": self.recipe.stream,
                "os": "centos",
                "release": system.release,
                "release_title": system.title,
                "subarch": "generic",
                "subarches": "generic",
                "support_eol": system.eol,
                "version": system.version,
                "versions": versions,
            }
        return products

    def _esxi(self) -> Products:
        versions = {}
        for build in self.builds:
            serial = self._serial("esxi/7.0", build)
            path = f"esxi/7.0/amd64/{serial}/root-dd.gz"
            versions[serial] = {"items": {"root-dd.gz": self._item(path, "root-dd.gz", path)}}
        return {
            f"com.example.lab.{self.recipe.stream}:esxi:7.0:amd64": {
                "arch": "amd64",
                "label": self.recipe.stream,
                "os": "esxi",
                "os_title": "VMware ESXi",
                "release": "7.0",
                "release_title": "7.0",
                "subarch": "generic",
                "subarches": "generic",
                "version": "7.0",
                "versions": versions,
            }
        }

    def _ubuntu_core(self) -> Products:
        versions = {}
        for build in self.builds:
            serial = self._serial("ubuntu-core/18", build)
            path = f"ubuntu-core/18/amd64/pc/{serial}/root-dd.xz"
            versions[serial] = {"items": {"root-dd.xz": self._item(path, "root-dd.xz", path)}}
        return {
            f"com.ubuntu.maas.{self.recipe.stream}:v4:boot:18:amd64:pc-kernel:pc": {
                "arch": "amd64",
                "gadget_snap": "pc",
                "gadget_title": "PC",
                "kernel_snap": "pc-kernel",
                "label": self.recipe.stream,
                "os": "ubuntu-core",
                "os_title": "Ubuntu Core",
                "release": "18",
                "release_title": "18",
                "version": "18",
                "versions": versions,
            }
        }

    def _notification(self) -> Products:
        serial = "20201204.0"
        path = f"release-notifications/{serial}/release-notification.yaml"
        item = {
            "ftype": "notifications",
            "path": path,
            "release_notification": {"version": 1.0, "maas_version": "2.9.0", "message": NOTICE},
            **self.files.given(path, b"This file is unused."),
        }
        return {
            f"com.ubuntu.maas:{self.recipe.stream}:1:maas-notification": {
                "arch": "all",
                "label": self.recipe.stream,
                "name": "release-notifications",
                "release": "notifications",
                "versions": {serial: {"items": {"release_notification": item}}},
            }
        }

    # -- pieces

    def _item(self, path: str, ftype: str, key: str) -> Product:
        return {"ftype": ftype, "path": path, **self._made(path, ftype, key)}

    def _made(self, path: str, ftype: str, key: str) -> dict[str, int | str]:
        size = self.files.size(self.recipe.sizes[ftype], self.recipe.jitter, f"{ftype}|{key}")
        return self.files.made(path, key, ftype, size)

    def _manifest(self, path: str) -> Product:
        rows = payloads.manifest(self.files.random("manifest", path), self.recipe.manifest_lines)
        return {"ftype": "manifest", "path": path, **self.files.given(path, rows)}

    def _serial(self, family: str, build: int) -> str:
        """The name of a build: a week apart, sometimes the second of its day."""
        rng = self.files.random("serial", family)
        day = FIRST_DAY + timedelta(days=rng.randrange(5) + 7 * build)
        is_second = self.files.random("second", family, str(build)).random() < 0.15
        return f"{day:%Y%m%d}" + (".1" if is_second else "")

    def _listed_serial(self, listed: tuple[str, ...], build: int) -> str:
        if build < len(listed):
            return listed[build]
        return f"{FIRST_DAY + timedelta(days=7 * build):%Y%m%d}_01"
