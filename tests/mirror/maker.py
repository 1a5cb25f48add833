# SPDX-License-Identifier: Apache-2.0
"""Make a really signed simplestreams mirror with the layout of the published one.

    OUT/www/ephemeral-v3/STREAM/streams/v1/{index,<content id>}.{sjson,json,json.gpg}
    OUT/www/ephemeral-v3/STREAM/<release>/<arch>/<serial>/...        payload
    OUT/keys/{keyring.gpg,keyring.asc,secret.asc,fingerprint}

Payload bytes, paths and serials depend on the recipe alone; only key, signatures and
``updated`` differ between two runs. From a shell:

    python -m tests.mirror.maker OUT --releases noble,jammy --arches amd64 --real-sizes
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.mirror import bootfiles, catalogue
from tests.mirror.bootfiles import BootFiles
from tests.mirror.payloads import Payloads, replace
from tests.mirror.products import Builder, Recipe
from tests.support import signed

ARCHES = ("amd64", "arm64", "armhf", "i386", "ppc64el", "s390x", "riscv64")
Documents = dict[str, dict[str, Any]]
Edit = Callable[[Documents], None]


@dataclass(frozen=True)
class MirrorItem:
    """One file that a document of the mirror names, with the product it belongs to."""

    product: str
    os: str
    release: str
    arch: str
    subarch: str
    kflavor: str
    serial: str
    ftype: str
    path: str
    size: int
    sha256: str


@dataclass
class Mirror:
    """A mirror on disk. ``root`` is what a server serves, ``path`` the stream below it."""

    root: Path
    path: str
    key: signed.SigningKey
    keyring: Path
    keyring_armored: Path
    recipe: Recipe
    files: Payloads
    updated: datetime
    is_detached: bool = False
    generation: int = 0
    documents: Documents = field(default_factory=dict)

    @property
    def stream(self) -> Path:
        """The folder of the stream: what a source's URL points to."""
        return self.root / self.path

    @property
    def sizes(self) -> dict[str, int]:
        """The size of every file that the documents name, by its path."""
        return {item.path: item.size for item in self.items()}

    @property
    def sha256(self) -> dict[str, str]:
        """The digest of every file that the documents name, by its path."""
        return {item.path: item.sha256 for item in self.items()}

    def items(self, **wanted: str) -> list[MirrorItem]:
        """All named files, or those whose fields equal the wanted ones."""
        found = [
            MirrorItem(
                name,
                product.get("os", "ubuntu"),
                product["release"] if "release" in product else product["bootloader-type"],
                product["arch"],
                product.get("subarch", "generic"),
                product.get("kflavor", ""),
                serial,
                item["ftype"],
                item["path"],
                item["size"],
                item["sha256"],
            )
            for document in self.documents.values()
            for name, product in document["products"].items()
            for serial, version in product["versions"].items()
            for item in version["items"].values()
        ]
        return [i for i in found if all(getattr(i, k) == v for k, v in wanted.items())]

    def newest(self, **wanted: str) -> list[MirrorItem]:
        """The named files of each product's newest version."""
        found = self.items(**wanted)
        last: dict[str, str] = {}
        for item in found:
            last[item.product] = max(last.get(item.product, ""), item.serial)
        return [item for item in found if item.serial == last[item.product]]

    def publish_next(
        self, *, after: timedelta = timedelta(days=1), edit: Edit | None = None, prune: bool = False
    ) -> None:
        """Publish the next build of every image: payload first, the index last."""
        self.generation += 1
        self.publish(after=after, edit=edit, prune=prune)

    def publish(
        self, *, after: timedelta = timedelta(0), edit: Edit | None = None, prune: bool = False
    ) -> None:
        """Write all documents anew, signed with ``key``.

        after: how much later the documents say they are than the ones before.
        edit: changes the documents (by content id) before they are signed.
        prune: remove payload that is no longer named.
        """
        self.updated += after
        made = Builder(self.recipe, self.files, self.generation).documents()
        self.documents = {
            content_id: {
                "content_id": content_id,
                "datatype": datatype,
                "format": "products:1.0",
                "products": products,
                "updated": stamp(self.updated),
            }
            for content_id, (datatype, products) in made.items()
        }
        if edit is not None:
            edit(self.documents)
        home = signed.home_of(self.key)
        for content_id, document in self.documents.items():
            self._put(home, content_id, document, document)
        self._put(home, "index", self.index(".json"), self.index(".sjson"))
        if prune:
            self.files.forget(self.sizes)
            self.files.prune()

    def index(self, suffix: str) -> dict[str, Any]:
        """The index that names the documents with this suffix."""
        entries = {
            content_id: {
                "datatype": document["datatype"],
                "format": document["format"],
                "path": f"streams/v1/{content_id}{suffix}",
                "products": sorted(document["products"]),
                "updated": document["updated"],
            }
            for content_id, document in self.documents.items()
        }
        return {"format": "index:1.0", "index": entries, "updated": stamp(self.updated)}

    def _put(self, home: signed.Home, name: str, plain: Any, clearsigned: Any) -> None:
        base = self.stream / "streams" / "v1"
        text = dump(plain)
        sign = ("--digest-algo", "SHA512", "--local-user", self.key.fingerprint)
        replace(base / f"{name}.json", text)
        if self.is_detached:
            signature = home.run(*sign, "--armor", "--detach-sign", data=text)
            replace(base / f"{name}.json.gpg", signature)
        body = text if clearsigned is plain else dump(clearsigned)
        replace(base / f"{name}.sjson", home.run(*sign, "--clearsign", data=body))


def make_mirror(
    folder: Path,
    key: signed.SigningKey,
    *,
    releases: Iterable[str] = ("noble", "jammy"),
    arches: Iterable[str] = ("amd64", "arm64"),
    kernels: int = 2,
    versions: int = 2,
    generation: int = 0,
    stream: str = "stable",
    sizes: Mapping[str, int] | None = None,
    jitter: float = 0.1,
    manifest_lines: int = 20,
    loaders: bool = True,
    centos: bool = True,
    notification: bool = True,
    esxi: bool = False,
    ubuntu_core: bool = False,
    detached: bool = False,
    boot_files: BootFiles | None = None,
    updated: datetime | None = None,
    seed: str = "slipway",
) -> Mirror:
    """Make a mirror below folder and return what is in it.

    kernels: how many products a release has on an architecture (0: all it has).
    sizes: bytes by file type, on top of ``catalogue.SMALL_SIZES``.
    detached: also write ``.json.gpg`` beside each ``.json``.
    boot_files: real files for the first amd64 kernel's newest build and the loaders.
    updated: what the documents say; seven days ago when left out, so that
    ``publish_next`` has room before the future begins.
    """
    path = f"ephemeral-v3/{stream}/"
    recipe = Recipe(
        stream=stream,
        kernels=choose(releases, arches, kernels),
        versions=versions,
        sizes={**catalogue.SMALL_SIZES, **(sizes or {})},
        jitter=jitter,
        manifest_lines=manifest_lines,
        has_loaders=loaders,
        has_centos=centos,
        has_notification=notification,
        has_esxi=esxi,
        has_ubuntu_core=ubuntu_core,
        boot_files=boot_files,
    )
    keys = folder / "keys"
    mirror = Mirror(
        root=folder / "www",
        path=path,
        key=key,
        keyring=keys / "keyring.gpg",
        keyring_armored=keys / "keyring.asc",
        recipe=recipe,
        files=Payloads(folder / "www" / path, seed),
        updated=(updated or datetime.now(UTC) - timedelta(days=7)).replace(microsecond=0),
        is_detached=detached,
        generation=generation,
    )
    replace(mirror.keyring, key.public)
    replace(mirror.keyring_armored, key.public_armored)
    mirror.publish(after=timedelta(days=generation))
    return mirror


def choose(
    releases: Iterable[str], arches: Iterable[str], limit: int
) -> tuple[catalogue.Kernel, ...]:
    """The kernels of these releases and architectures, in the order of the catalogue."""
    names, machines = set(releases), set(arches)
    unknown = names - set(catalogue.RELEASE_BY_NAME)
    if unknown:
        raise ValueError(f"unknown release: {', '.join(sorted(unknown))}")
    seen: dict[tuple[str, str], int] = {}
    chosen = []
    for kernel in catalogue.kernels():
        if kernel.codename in names and kernel.arch in machines:
            family = (kernel.codename, kernel.arch)
            seen[family] = seen.get(family, 0) + 1
            if not limit or seen[family] <= limit:
                chosen.append(kernel)
    return tuple(chosen)


def stamp(when: datetime) -> str:
    """A time as simplestreams documents write it."""
    return when.strftime("%a, %d %b %Y %H:%M:%S +0000")


def dump(document: Any) -> bytes:
    """JSON with short lines: gpg cannot clear-sign lines of 20,000 characters."""
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    return text.encode() + b"\n"


def main(argv: list[str] | None = None) -> int:
    """Make the mirror that the command line describes and print what is in it."""
    options = _options(argv)
    key = _kept_key(options.out / "keys", options.key_type)
    boot = bootfiles.find() if options.boot_files else None
    everything = [release.codename for release in catalogue.RELEASES]
    report: dict[str, Any] = {"fingerprint": key.fingerprint, "streams": {}}
    for stream in options.streams.split(","):
        mirror = make_mirror(
            options.out,
            key,
            releases=everything if options.full else options.releases.split(","),
            arches=ARCHES if options.full else options.arches.split(","),
            kernels=0 if options.full else options.kernels,
            versions=options.versions,
            generation=options.generation,
            stream=stream,
            sizes=catalogue.REAL_SIZES if options.real_sizes else None,
            jitter=options.jitter,
            loaders=not options.only_ubuntu,
            centos=not options.only_ubuntu,
            notification=not options.only_ubuntu,
            esxi=options.esxi,
            ubuntu_core=options.ubuntu_core,
            detached=True,
            boot_files=boot,
            seed=options.seed,
        )
        report["streams"][stream] = {
            "path": mirror.path,
            "products": sum(len(d["products"]) for d in mirror.documents.values()),
            "files": len(mirror.sizes),
            "bytes": sum(mirror.sizes.values()),
        }
    if boot is not None:
        report["boot_files"] = boot.note
    print(json.dumps(report, indent=1))
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("out", type=Path)
    add("--streams", default="stable", help="stable, daily, candidate; several with commas")
    add("--releases", default="noble,jammy", help="code names with commas")
    add("--arches", default="amd64,arm64", help="architectures with commas")
    add("--kernels", type=int, default=2, help="products per release and architecture, 0 for all")
    add("--full", action="store_true", help="the whole catalogue: 242 Ubuntu products")
    add("--versions", type=int, default=2)
    add("--generation", type=int, default=0, help="the same mirror that many days later")
    add("--real-sizes", action="store_true", help="sizes as published: hundreds of MB a file")
    add("--jitter", type=float, default=0.1, help="sizes vary by this fraction")
    add("--only-ubuntu", action="store_true", help="no loaders, CentOS or notification")
    add("--esxi", action="store_true")
    add("--ubuntu-core", action="store_true")
    add("--boot-files", action="store_true", help="real kernel, initrd and boot loaders")
    add("--key-type", default="ed25519", help="ed25519, rsa4096 ...; an existing key is kept")
    add("--seed", default="slipway")
    return parser.parse_args(argv)


def _kept_key(folder: Path, key_type: str) -> signed.SigningKey:
    """The key of an earlier run into the same folder, or a new one kept there."""
    secret = folder / "secret.asc"
    if secret.exists():
        with signed.Home(secret.read_bytes()) as home:
            return home.export(home.fingerprints()[0])
    key = signed.new_key(algorithm=key_type)
    folder.mkdir(parents=True, exist_ok=True)
    secret.touch(mode=0o600)
    secret.write_bytes(key.secret)
    replace(folder / "fingerprint", key.fingerprint.encode() + b"\n")
    return key


if __name__ == "__main__":
    sys.exit(main())
