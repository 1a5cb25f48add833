# SPDX-License-Identifier: Apache-2.0
"""In which order images are listed, known before more than their names is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import BootResource
from webapp.services.images.keys import Image
from webapp.services.sources.picture import Picture, arch_order


def read(picture: Picture) -> dict[Image, bool]:
    """The images that ``listing.listed`` gives in its order, and whether each is a boot loader."""
    rows = db.session.execute(
        select(
            BootResource.name,
            BootResource.arch,
            BootResource.os,
            BootResource.title,
            BootResource.bootloader_type,
        )
        .where(BootResource.current_set_id.is_not(None))
        .order_by(BootResource.name, BootResource.architecture)
    )
    found: dict[Image, tuple[str, str, bool]] = {}
    for name, arch, os, title, loader in rows:
        found.setdefault(Image(name, arch), (os, title or name, bool(loader)))
    for box in picture.boxes:
        if box.is_wanted:
            name = f"{box.pick.os}/{box.pick.release}"
            found.setdefault(Image(name, box.pick.arch), (box.pick.os, box.title, False))
    place = places(picture)

    def key(image: Image) -> tuple[Any, ...]:
        os, title, _ = found[image]
        return place(os, image.name, title, image.arch)

    return {image: found[image][2] for image in sorted(found, key=key)}


def places(picture: Picture) -> Callable[[str, str, str, str], tuple[Any, ...]]:
    """Sort key of system, name, title and architecture: as the page offers them.

    Those that no source offers come last within their system.
    """
    known = {f"{rel.os}/{rel.release}": place for place, rel in enumerate(picture.releases)}

    def key(os: str, name: str, title: str, arch: str) -> tuple[Any, ...]:
        return os != "ubuntu", known.get(name, len(known)), title, *arch_order(arch)

    return key
