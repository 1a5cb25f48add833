# SPDX-License-Identifier: Apache-2.0
"""What names a boot resource, and a version of it that is to be published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from webapp.streams.mapping import Offer

CUSTOM = "custom"  # the operating system of uploads without one, as links name it


class Image(NamedTuple):
    """What names an image as people see it: all its kernels for a main architecture."""

    name: str
    arch: str

    def __str__(self) -> str:
        return f"{self.name} {self.arch}"


class Key(NamedTuple):
    """What names a boot resource."""

    name: str
    architecture: str

    @property
    def image(self) -> Image:
        """The image that it's a kernel of."""
        return Image(self.name, self.architecture.partition("/")[0])


def key_of(offer: Offer) -> Key:
    """The boot resource that an offer is stored as (rule: resource-names)."""
    return Key(f"{offer.os}/{offer.release}", f"{offer.arch}/{offer.subarch}")


@dataclass(frozen=True, slots=True)
class PlannedSet:
    """A version that is to become current, as its source offers it."""

    source_id: int
    offer: Offer
    why: str

    @property
    def key(self) -> Key:
        """The boot resource that it belongs to."""
        return key_of(self.offer)

    @property
    def digests(self) -> frozenset[str]:
        """Everything that has to be whole before it can be published."""
        return frozenset(item.sha256 for item in self.offer.items)
