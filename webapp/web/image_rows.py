# SPDX-License-Identifier: Apache-2.0
"""Images as the images page and an image's own page show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import url_for

from webapp.errors import Problem
from webapp.extensions import store
from webapp.models import BootResource, ResourceSet
from webapp.services.images.listing import Image
from webapp.services.images.status import Status
from webapp.services.sources.changes import Pending
from webapp.severity import Severity
from webapp.web.formatting import byte_size
from webapp.web.states import State

_SEVERITY: Mapping[Status, Severity] = {
    Status.SYNCED: Severity.OK,
    Status.SELECTED: Severity.WAIT,
    Status.QUEUED: Severity.WAIT,
    Status.DOWNLOADING: Severity.BUSY,
    Status.REMOVING: Severity.WARN,
    Status.GONE: Severity.WARN,
    Status.FAILED: Severity.ERROR,
}


_IMPORTABLE = (Status.SYNCED, Status.SELECTED, Status.FAILED)


@dataclass(frozen=True)
class ImageRow:
    """An image with its words and links; the links are "" while nothing is stored.

    import_url: where it's imported alone, "" if nothing is to be imported.
    """

    image: Image
    name: str
    arch: str
    state: State
    note: str
    origin: str
    show_url: str
    delete_url: str
    import_url: str
    priority_url: str


def image_row(image: Image) -> ImageRow:
    """One image as pages show it."""
    percent = f" {image.percent} %" if image.status == Status.DOWNLOADING else ""
    arch = "all" if image.arch == "*" else image.arch
    link: dict[str, Any] = {"os": image.link_os, "release": image.release, "arch": image.arch}
    is_importable = image.is_selected and image.status in _IMPORTABLE
    return ImageRow(
        image=image,
        name=f"{image.title} {arch}",
        arch=arch,
        state=State(_SEVERITY[image.status], f"{image.status}{percent}"),
        note=" ".join(filter(None, (image.cause, image.next_step))),
        origin=image.source_name or ("Uploaded" if image.is_uploaded else "Removed boot source"),
        show_url=url_for("images.show", **link) if image.resource_ids else "",
        delete_url=url_for("images.confirm_delete", **link) if image.resource_ids else "",
        import_url=url_for("imports.start_one", **link) if is_importable else "",
        priority_url=(
            url_for("priorities.edit", **link)
            if image.is_selected and not image.is_bootloader
            else ""
        ),
    )


@dataclass(frozen=True)
class ResourceRow:
    """One kernel of an image: its current set, and where machines find it."""

    resource: BootResource
    current: ResourceSet
    folder: str


def resource_row(resource: BootResource, rack_url: str) -> ResourceRow | None:
    """A resource with its current set; None when machines get none of its versions."""
    current = next((s for s in resource.sets if s.id == resource.current_set_id), None)
    if current is None:
        return None
    parts = (resource.os or "custom", resource.architecture, resource.release, current.label)
    return ResourceRow(
        resource=resource,
        current=current,
        folder=f"{rack_url}images/{'/'.join(parts)}/",
    )


def summary(pending: Pending, free_bytes: int | None) -> str:
    """What saving would change, in one line."""
    parts = [f"{byte_size(pending.new_bytes)} to download"]
    if pending.freed_bytes:
        parts.append(f"frees {byte_size(pending.freed_bytes)}")
    if free_bytes is not None:
        parts.append(f"{byte_size(free_bytes)} free")
    return " · ".join(parts)


def free_bytes() -> int | None:
    """Room in the store; None where it can't tell: `slipway doctor` reports why."""
    try:
        return store().free_bytes()
    except Problem:
        return None
