# SPDX-License-Identifier: Apache-2.0
"""Stored images as users see them: one row per image, however many kernels it has.

An image is every boot resource with the same name and main architecture
(rule: one-image-many-kernels). A status always has a cause and, unless all is
well, a next step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, func, or_, select
from sqlalchemy.orm import joinedload, load_only, selectinload

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import (
    OPEN_UPLOADS,
    Blob,
    BlobState,
    BootResource,
    BootSource,
    Priority,
    ResourceFile,
    ResourceSet,
    ResourceType,
    Upload,
)
from webapp.services.images import keys, locks, ordering, priorities
from webapp.services.images import status as image_status
from webapp.services.images.status import Status, Verdict
from webapp.services.sources import naming, soaking
from webapp.services.sources.picture import Box, Picture
from webapp.services.system import live_settings
from webapp.streams.documents import version_key

_LISTED = (
    BootResource.id,
    BootResource.rtype,
    BootResource.name,
    BootResource.architecture,
    BootResource.subarches,
    BootResource.title,
    BootResource.base_image,
)
_COLUMNS = (
    BootResource.rtype,
    BootResource.name,
    BootResource.os,
    BootResource.release,
    BootResource.arch,
    BootResource.subarch,
    BootResource.title,
    BootResource.bootloader_type,
    BootResource.source_id,
    BootResource.current_set_id,
    BootResource.gone_since,
    BootResource.pinned_at,
    BootResource.pinned_version,
)


@dataclass(frozen=True)
class Image:
    """One row of the images page; ``resource_ids`` is empty while nothing is stored."""

    os: str
    name: str
    arch: str
    title: str
    kernels: tuple[str, ...]
    version: str
    label: str
    size: int
    verdict: Verdict
    source_name: str
    is_unsigned: bool
    is_uploaded: bool
    is_bootloader: bool
    completed_at: datetime | None
    resource_ids: tuple[int, ...]
    is_pinned: bool = False
    is_locked: bool = False
    update: str = ""  # the version that a source offers and a pin keeps away
    pinned_version: str = ""  # the version that the next import fetches and pins
    is_selected: bool = False  # a selection or a loader's source asks for it
    priority: Priority = Priority.NORMAL

    @property
    def key(self) -> str:
        """Name and architecture, as links carry them."""
        return f"{self.name}/{self.arch}"

    @property
    def link_os(self) -> str:
        """The operating system as links name it; an upload without one belongs to custom."""
        return self.os or keys.CUSTOM

    @property
    def release(self) -> str:
        """The name without the operating system."""
        return self.name.partition("/")[2] or self.name

    @property
    def status(self) -> Status:
        """The verdict's one word."""
        return self.verdict.status

    @property
    def cause(self) -> str:
        """Why it is not good, "" when it is."""
        return self.verdict.cause

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return self.verdict.next_step

    @property
    def percent(self) -> int | None:
        """How far the download is, None when there is none."""
        return self.verdict.percent


def listed_resources(rtype: str | None) -> Sequence[Any]:
    """Boot resources with a current set or an upload under way, as REST lists them.

    Rows of the columns that a list shows, in the order type, name, architecture:
    objects for thousands of them would take most of the time.
    """
    query = (
        select(*_LISTED)
        .where(_is_listed())
        .order_by(BootResource.rtype, BootResource.name, BootResource.architecture)
    )
    if rtype:
        query = query.where(BootResource.rtype == rtype)
    return db.session.execute(query).all()


def page_of_resources(
    *, rtype: str | None = None, name: str = "", after: int = 0, limit: int = 100
) -> list[tuple[BootResource, str | None]]:
    """Boot resources by id with the version that machines get; after: only larger ids."""
    query = (
        select(BootResource, ResourceSet.version)
        .outerjoin(ResourceSet, ResourceSet.id == BootResource.current_set_id)
        .where(_is_listed(), BootResource.id > after)
        .order_by(BootResource.id)
        .limit(limit)
    )
    if rtype:
        query = query.where(BootResource.rtype == rtype)
    if name:
        query = query.where(BootResource.name == name)
    return [(row, version) for row, version in db.session.execute(query)]


def resource_with_sets(resource_id: int) -> BootResource:
    """A boot resource with sets, files and blobs loaded.

    NotFound when it is neither served nor being uploaded.
    """
    resource = next(iter(_with_sets(BootResource.id == resource_id, _is_listed())), None)
    if resource is None:
        raise _unknown(resource_id)
    return resource


def type_of(resource_id: int) -> str:
    """Whether a boot resource is synced or uploaded; NotFound as ``resource_with_sets``."""
    found = db.session.scalar(_TYPE, {"id": resource_id})
    if found is None:
        raise _unknown(resource_id)
    return found


def resources_of(image: Image) -> Sequence[BootResource]:
    """The kernels of an image with sets, files and blobs loaded, in a few queries in all."""
    return _with_sets(
        BootResource.id.in_(image.resource_ids), BootResource.current_set_id.is_not(None)
    )


def stored_bytes() -> int:
    """Bytes of all whole blobs, each counted once."""
    total = select(func.coalesce(func.sum(Blob.size), 0)).where(Blob.state == BlobState.READY)
    return int(db.session.scalar(total) or 0)


def listed(picture: Picture, only: Collection[keys.Image] | None = None) -> list[Image]:
    """Every image that is stored or selected, or some of them, in the order of the picture.

    The number of queries does not depend on the number of images.
    """
    query = (
        select(BootResource)
        .where(BootResource.current_set_id.is_not(None))
        .options(load_only(*_COLUMNS), joinedload(BootResource.current_set))
        .order_by(BootResource.name, BootResource.architecture)
    )
    if only is not None:
        query = query.where(BootResource.name.in_({one.name for one in only}))
    groups: dict[tuple[str, str], list[BootResource]] = defaultdict(list)
    for resource in db.session.scalars(query):
        if only is None or (resource.name, resource.arch) in only:
            groups[resource.name, resource.arch].append(resource)
    run = image_status.newest_run()
    sources = {source.id: source for source in db.session.scalars(select(BootSource))}
    boxes = {_key(box): box for box in picture.boxes}
    holds = soaking.holds()
    installers = _installers()
    damaged, locked = _damaged_resources(), locks.of()
    ruled = {(f"{os}/{release}", arch) for os, release, arch in picture.ruled}
    wanted_first = priorities.read()
    made = []
    for key, group in groups.items():
        box = boxes.get(key)
        verdict = image_status.of_stored(
            group,
            run.of(*key),
            sources.get(group[0].source_id or 0),
            is_wanted=key in ruled or (box is not None and box.is_selected),
            is_offered=box is not None and bool(box.digests),
            has_installer=key[1] in installers,
            is_damaged=any(resource.id in damaged for resource in group),
            lock=next((locked[r.id].words for r in group if r.id in locked), ""),
            update=_update(group, box),
            holds=holds.get((group[0].source_id or 0, *key), ()),
        )
        image = _stored_image(group, picture, sources, verdict)
        is_locked = any(r.id in locked and not locked[r.id].version for r in group)
        made.append(
            replace(
                image,
                is_locked=is_locked,
                update=_update(group, box),
                pinned_version=next((r.pinned_version for r in group if r.pinned_version), ""),
                is_selected=image.is_bootloader or (box is not None and box.is_wanted),
            )
        )
    is_automatic = live_settings.is_auto_import()
    for key, box in boxes.items():
        if box.is_wanted and key not in groups and (only is None or key in only):
            verdict = image_status.of_selected(
                box,
                run.of(*key),
                sources.get(box.pick.source_id),
                is_importing=run.is_active,
                is_automatic=is_automatic,
                holds=holds.get((box.pick.source_id, *key), ()),
            )
            made.append(_selected_image(box, verdict))
    made = [
        replace(one, priority=wanted_first.get(keys.Image(one.name, one.arch), one.priority))
        for one in made
    ]
    place = ordering.places(picture)
    return sorted(made, key=lambda one: place(one.os, one.name, one.title, one.arch))


def _stored_image(
    group: list[BootResource],
    picture: Picture,
    sources: dict[int, BootSource],
    verdict: Verdict,
) -> Image:
    first = group[0]
    sets = [r.current_set for r in group if r.current_set is not None]
    files = picture.stored.get((first.os, first.release, first.arch), {})
    source = sources.get(first.source_id or 0)
    return Image(
        os=first.os,
        name=first.name,
        arch=first.arch,
        title=first.title or first.name,
        kernels=tuple(r.subarch for r in group),
        version=max((s.version for s in sets), key=version_key, default=""),
        label=sets[0].label if sets else "",
        size=sum(files.values()),
        verdict=verdict,
        source_name=naming.title_of(source) if source else "",
        is_unsigned=any(s.is_unsigned for s in sets),
        is_uploaded=first.rtype == ResourceType.UPLOADED,
        is_bootloader=bool(first.bootloader_type),
        completed_at=max((s.completed_at for s in sets if s.completed_at), default=None),
        resource_ids=tuple(r.id for r in group),
        is_pinned=any(r.pinned_at for r in group),
    )


def _update(group: Iterable[BootResource], box: Box | None) -> str:
    """The newer version that a pin keeps away, as far as that is known."""
    pinned = [r.current_set.version for r in group if r.pinned_at and r.current_set]
    is_newer = box and any(version_key(box.version) > version_key(version) for version in pinned)
    return box.version if box and is_newer else ""


def _selected_image(box: Box, verdict: Verdict) -> Image:
    return Image(
        os=box.pick.os,
        name=f"{box.pick.os}/{box.pick.release}",
        arch=box.pick.arch,
        title=box.title,
        kernels=(),
        version=box.version,
        label="",
        size=box.size,
        verdict=verdict,
        source_name=box.source_name,
        is_unsigned=False,
        is_uploaded=False,
        is_bootloader=False,
        completed_at=None,
        resource_ids=(),
        is_selected=True,
    )


def _installers() -> set[str]:
    """The architectures of which an Ubuntu image is stored, which installs the others."""
    is_ubuntu = BootResource.name.startswith("ubuntu/", autoescape=True)
    found = select(BootResource.arch).where(BootResource.current_set_id.is_not(None), is_ubuntu)
    return set(db.session.scalars(found.distinct()))


def _unknown(resource_id: int) -> NotFound:
    return NotFound("Boot resource not found.", where=f"boot resource {resource_id}")


def _is_listed() -> ColumnElement[bool]:
    is_coming = exists().where(
        Upload.resource_id == BootResource.id, Upload.state.in_(OPEN_UPLOADS)
    )
    return or_(BootResource.current_set_id.is_not(None), is_coming)


# Asked for each piece of an upload, so it is made only once.
_TYPE = select(BootResource.rtype).where(BootResource.id == bindparam("id"), _is_listed())


def _damaged_resources() -> set[int]:
    """The ids of boot resources whose current version has a damaged file."""
    return set(
        db.session.scalars(
            select(BootResource.id)
            .join(ResourceFile, ResourceFile.set_id == BootResource.current_set_id)
            .join(Blob, Blob.id == ResourceFile.blob_id)
            .where(Blob.state == BlobState.BAD)
        )
    )


def _with_sets(*conditions: ColumnElement[bool]) -> Sequence[BootResource]:
    return db.session.scalars(
        select(BootResource)
        .where(*conditions)
        .order_by(BootResource.architecture)
        .options(
            selectinload(BootResource.sets)
            .selectinload(ResourceSet.files)
            .selectinload(ResourceFile.blob)
        )
    ).all()


def _key(box: Box) -> tuple[str, str]:
    return f"{box.pick.os}/{box.pick.release}", box.pick.arch
