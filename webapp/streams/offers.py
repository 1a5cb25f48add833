# SPDX-License-Identifier: Apache-2.0
"""What a boot source offers, as values: the outcome of ``mapping.map_products``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from html.parser import HTMLParser
from typing import Any

MAX_MESSAGE = 1000  # characters of a publisher's notice that are shown

ImageName = tuple[str, str, str]  # os, release, architecture


@dataclass(frozen=True, slots=True)
class Item:
    """One file worth storing.

    filename: the name it is served under (rule: rack-paths), unique in its offer.
    path: where the mirror keeps it, below the source's root.
    extra: kpackage, kparams and src_* where the stream has them (rule: stored-file-types).
    """

    filename: str
    ftype: str
    path: str
    size: int
    sha256: str
    extra: dict[str, str] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """The item as JSON keeps it in the boot source cache."""
        return {
            "filename": self.filename,
            "ftype": self.ftype,
            "path": self.path,
            "size": self.size,
            "sha256": self.sha256,
            "extra": dict(self.extra),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Item:
        """The item that ``as_dict`` was made from."""
        return cls(
            filename=data["filename"],
            ftype=data["ftype"],
            path=data["path"],
            size=data["size"],
            sha256=data["sha256"],
            extra=dict(data["extra"]),
        )


@dataclass(frozen=True, slots=True)
class Build:
    """An older version of a product, under the names that its newest one has."""

    version: str
    items: tuple[Item, ...]
    package_list: Item | None = None

    @property
    def size(self) -> int:
        """Bytes, each distinct file once."""
        return size_of(self.items)

    def as_dict(self) -> dict[str, Any]:
        """The build as JSON keeps it in the boot source cache."""
        packages = self.package_list.as_dict() if self.package_list else None
        items = [item.as_dict() for item in self.items]
        return {"version": self.version, "items": items, "package_list": packages}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Build:
        """The build that ``as_dict`` was made from."""
        packages = data["package_list"]
        items = tuple(Item.from_dict(item) for item in data["items"])
        return cls(data["version"], items, Item.from_dict(packages) if packages else None)


def size_of(items: Iterable[Item]) -> int:
    """Bytes of some items, each distinct file once."""
    return sum({item.sha256: item.size for item in items}.values())


@dataclass(frozen=True, slots=True)
class Offer:
    """One product of a source: its newest storable version with all its files.

    The fields are the columns of the boot source cache. ``os``/``release`` and
    ``arch``/``subarch`` name the boot resource (rule: resource-names). ``subarches`` is
    what the stream claims; ``answers_to`` is what this product serves once all claims
    are settled, its own name first (rule: kernel-names). ``package_list`` names the
    packages inside; it is read and never served. ``older`` are the versions before the
    newest, newest first; they're only loaded where a soak time may ask for them.
    """

    product: str
    os: str
    arch: str
    subarch: str
    release: str
    kflavor: str
    label: str
    version: str
    size: int  # bytes, each distinct file once
    title: str
    release_title: str
    release_codename: str
    release_version: str
    support_eol: date | None
    support_esm_eol: date | None
    bootloader_type: str
    is_rolling: bool
    subarches: tuple[str, ...]
    answers_to: tuple[str, ...]
    items: tuple[Item, ...]
    package_list: Item | None = None
    older: tuple[Build, ...] = ()

    @property
    def package_lists(self) -> list[tuple[str, Item]]:
        """The lists of packages by version, as far as there are any."""
        found = [(self.version, self.package_list)]
        found += [(build.version, build.package_list) for build in self.older]
        return [(version, item) for version, item in found if item is not None]

    def of_build(self, build: Build) -> Offer:
        """The same offer in an older version."""
        return replace(
            self,
            version=build.version,
            items=build.items,
            package_list=build.package_list,
            size=build.size,
        )

    def as_columns(self) -> dict[str, Any]:
        """The offer as keyword arguments of a boot source cache row."""
        columns = {name: getattr(self, name) for name in self.__dataclass_fields__}
        columns["subarches"] = list(self.subarches)
        columns["answers_to"] = list(self.answers_to)
        columns["items"] = [item.as_dict() for item in self.items]
        columns["package_list"] = self.package_list.as_dict() if self.package_list else {}
        columns["older"] = [build.as_dict() for build in self.older]
        return columns

    def describing_fields(self) -> dict[str, str]:
        """What describes the release to people, for whoever publishes the image again."""
        names = ("release_title", "release_codename", "release_version", "support_eol")
        return {name: str(value) for name in names if (value := getattr(self, name))}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A product, or one version of it, that is not offered, and why.

    version: "" when it is the whole product; otherwise a build that was passed
    over although the product itself is offered from an older one.
    """

    product: str
    reason: str
    version: str = ""

    def as_dict(self) -> dict[str, str]:
        """The fields, as JSON keeps them with the source."""
        return {"product": self.product, "version": self.version, "reason": self.reason}


class _Text(HTMLParser):
    """Collects the text between tags."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def plain_text(message: str) -> str:
    """A stranger's HTML as one line of at most MAX_MESSAGE characters, without its tags."""
    parser = _Text()
    parser.feed(message[: 4 * MAX_MESSAGE])
    words = " ".join("".join(parser.parts).split())[:MAX_MESSAGE]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


@dataclass(frozen=True, slots=True)
class Notification:
    """A publisher's notice of a new MAAS. The message is untrusted HTML (rule: release-notices)."""

    product: str
    version: str  # of the notice itself
    maas_version: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """The version of MAAS and the message as plain text, as JSON keeps them."""
        return {"maas_version": self.maas_version, "message": plain_text(self.message)}


@dataclass(frozen=True, slots=True)
class Mapped:
    """All that some products documents offer, in product-name order."""

    offers: tuple[Offer, ...]
    skipped: tuple[Skipped, ...]
    notifications: tuple[Notification, ...] = ()
