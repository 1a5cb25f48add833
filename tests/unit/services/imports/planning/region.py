# SPDX-License-Identifier: Apache-2.0
"""Sources, offers and stored images for plans."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from webapp.services.images.keys import Key
from webapp.services.imports.plans import (
    ImportPlan,
    Inventory,
    SourceState,
    StoredBlob,
    StoredResource,
    StoredSet,
)
from webapp.streams.filters import Wanted
from webapp.streams.mapping import Item, Offer

NOTHING = Inventory((), {})
NOBLE, JAMMY = Wanted("ubuntu", "noble"), Wanted("ubuntu", "jammy")
GA = Key("ubuntu/noble", "amd64/ga-24.04")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def item(name: str, content: str, size: int = 10, path: str = "") -> Item:
    return Item(name, name, path or f"p/{content}", size, digest(content))


def offer(
    release: str = "noble",
    subarch: str = "ga-24.04",
    *,
    arch: str = "amd64",
    version: str = "1",
    items: Iterable[Item] | None = None,
    **fields: Any,
) -> Offer:
    line = f"{release}/{arch}/{subarch}/{version}"
    values: dict[str, Any] = {
        "product": f"x:v3:{line}",
        "os": "ubuntu",
        "arch": arch,
        "subarch": subarch,
        "release": release,
        "kflavor": "generic",
        "label": "stable",
        "version": version,
        "size": 0,
        "title": "Ubuntu",
        "release_title": "",
        "release_codename": "",
        "release_version": "",
        "support_eol": None,
        "support_esm_eol": None,
        "bootloader_type": "",
        "is_rolling": False,
        "subarches": (subarch,),
        "answers_to": (subarch,),
        "items": (
            item("boot-kernel", f"kernel {line}", 10),
            item("squashfs", f"root {release}/{arch}/{version}", 300),
        ),
    }
    if items is not None:
        values["items"] = tuple(items)
    return Offer(**{**values, **fields})


LOADER = offer(
    "pxe", "generic", os="pxelinux", bootloader_type="pxe", items=[item("syslinux.tar.xz", "pxe")]
)


def source(
    *offers: Offer,
    id: int = 1,
    wanted: Iterable[Wanted] = (NOBLE,),
    priority: int = 0,
    is_enabled: bool = True,
    is_fresh: bool = True,
    name: str = "",
) -> SourceState:
    return SourceState(
        id, f"http://{id}/", priority, is_enabled, is_fresh, tuple(offers), tuple(wanted), name
    )


def stored(
    made: Offer, number: int = 1, source_id: int | None = 1, **fields: Any
) -> StoredResource:
    resource = StoredResource(
        id=number,
        source_id=source_id,
        os=made.os,
        release=made.release,
        arch=made.arch,
        subarch=made.subarch,
        kflavor=made.kflavor,
        title=made.title,
        bootloader_type=made.bootloader_type,
        is_rolling=made.is_rolling,
        is_uploaded=False,
        subarches=made.subarches,
        answers_to=made.answers_to,
        gone_since=None,
        current=StoredSet(made.version, made.label, {i.filename: i.sha256 for i in made.items}),
    )
    return replace(resource, **fields)


def inventory_of(*offers: Offer, source_id: int = 1) -> Inventory:
    """A region that has imported these from one source."""
    blobs = {i.sha256: StoredBlob(i.size, is_ready=True) for o in offers for i in o.items}
    resources = [stored(made, n, source_id) for n, made in enumerate(offers, 1)]
    return Inventory(tuple(resources), blobs)


def reason(made: ImportPlan, key: Key) -> str:
    return next(one.why for one in made.untouched if one.key == key)


def codes(made: ImportPlan) -> list[str]:
    return [refusal.problem.code for refusal in made.refusals]
