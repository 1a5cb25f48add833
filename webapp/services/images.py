# SPDX-License-Identifier: Apache-2.0
"""What is stored, as people see it: one image a row, whatever its number of kernels.

An image is every boot resource of one name and one main architecture (spec
maas-images 1.1). Its status always has a cause and, when it is not good, a
next step.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import (
    Blob,
    BootResource,
    BootSource,
    FileTransfer,
    ImportFailure,
    ImportRun,
    ResourceFile,
    ResourceSet,
    ResourceType,
    TransferState,
)
from webapp.services.catalogue import Picture
from webapp.streams.documents import version_key


class Status(enum.StrEnum):
    """The state of one image, in the words that MAAS users know (spec 1.20)."""

    SYNCED = "Synced"
    SELECTED = "Selected for download"
    QUEUED = "Queued for download"
    DOWNLOADING = "Downloading"
    REMOVING = "Will be deleted"
    GONE = "Kept: gone from the source"
    FAILED = "Failed"


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
    status: Status
    percent: int | None
    cause: str
    next_step: str
    source_name: str
    is_unsigned: bool
    is_uploaded: bool
    is_bootloader: bool
    completed_at: datetime | None
    resource_ids: tuple[int, ...]

    @property
    def key(self) -> str:
        """Name and architecture, as links carry them."""
        return f"{self.name}/{self.arch}"


@dataclass(frozen=True)
class Progress:
    """What the active or last run says of one image."""

    bytes_done: int = 0
    bytes_total: int = 0
    is_active: bool = False
    is_started: bool = False
    failure: ImportFailure | None = None


def listed_resources(rtype: str | None) -> Sequence[BootResource]:
    """Boot resources that have a current set, as REST lists them: type, name, architecture."""
    query = (
        select(BootResource)
        .where(BootResource.current_set_id.is_not(None))
        .order_by(BootResource.rtype, BootResource.name, BootResource.architecture)
    )
    if rtype:
        query = query.where(BootResource.rtype == rtype)
    return db.session.scalars(query).all()


def resource_with_sets(resource_id: int) -> BootResource:
    """A boot resource with sets, files and blobs loaded; NotFound when it is not served."""
    resource = db.session.scalar(
        select(BootResource)
        .where(BootResource.id == resource_id, BootResource.current_set_id.is_not(None))
        .options(
            selectinload(BootResource.sets)
            .selectinload(ResourceSet.files)
            .selectinload(ResourceFile.blob)
        )
    )
    if resource is None:
        raise NotFound("There is no such boot resource.", where=f"boot resource {resource_id}")
    return resource


def stored_bytes() -> int:
    """Bytes of all whole blobs, each counted once."""
    sizes = db.session.scalars(select(Blob.size).where(Blob.state == "ready"))
    return sum(sizes)


def listed(picture: Picture) -> list[Image]:
    """Every image that is stored or selected, in a fixed number of queries."""
    resources = db.session.scalars(
        select(BootResource)
        .where(BootResource.current_set_id.is_not(None))
        .options(selectinload(BootResource.current_set))
        .order_by(BootResource.name, BootResource.architecture)
    ).all()
    digests = _digests_by_set([r.current_set_id for r in resources if r.current_set_id])
    progress = _progress()
    names = {s.id: s.name or s.url for s in db.session.scalars(select(BootSource))}
    groups: dict[tuple[str, str], list[BootResource]] = defaultdict(list)
    for resource in resources:
        groups[resource.name, resource.arch].append(resource)
    wanted = {
        (f"{box.pick.os}/{box.pick.release}", box.pick.arch) for box in picture.boxes
        if box.is_ticked
    }  # fmt: skip
    offered = {(f"{b.pick.os}/{b.pick.release}", b.pick.arch) for b in picture.boxes}
    stored = [
        _stored_image(
            group, digests, names, progress.get(key, Progress()), key in wanted, key in offered
        )
        for key, group in groups.items()
    ]
    return stored + _selected_images(picture, set(groups), progress)


def _stored_image(
    group: list[BootResource],
    digests: dict[int, dict[str, int]],
    names: dict[int, str],
    progress: Progress,
    is_wanted: bool,
    is_offered: bool,
) -> Image:
    first = group[0]
    sets = [r.current_set for r in group if r.current_set is not None]
    files: dict[str, int] = {}
    for row in sets:
        files |= digests.get(row.id, {})
    status, cause, next_step = _judge(group, progress, is_wanted, is_offered)
    return Image(
        os=first.os,
        name=first.name,
        arch=first.arch,
        title=first.title or first.name,
        kernels=tuple(r.subarch for r in group),
        version=max((s.version for s in sets), key=version_key, default=""),
        label=sets[0].label if sets else "",
        size=sum(files.values()),
        status=status,
        percent=_percent(progress),
        cause=cause,
        next_step=next_step,
        source_name=names.get(first.source_id or 0, ""),
        is_unsigned=any(s.is_unsigned for s in sets),
        is_uploaded=first.rtype == ResourceType.UPLOADED,
        is_bootloader=bool(first.bootloader_type),
        completed_at=max((s.completed_at for s in sets if s.completed_at), default=None),
        resource_ids=tuple(r.id for r in group),
    )


def _judge(
    group: list[BootResource], progress: Progress, is_wanted: bool, is_offered: bool
) -> tuple[Status, str, str]:
    first = group[0]
    gone = next((r.gone_since for r in group if r.gone_since), None)
    if progress.is_active:
        word = Status.DOWNLOADING if progress.is_started else Status.QUEUED
        return word, "A newer version is on its way; this one is served until it is whole.", ""
    if progress.failure is not None:
        cause = f"The newest version was not stored: {progress.failure.what}"
        return Status.FAILED, cause, progress.failure.next_step
    if gone is not None:
        return (
            Status.GONE,
            f"The source stopped offering it on {gone:%d %B %Y}.",
            "Delete it here when no machine needs it any more.",
        )
    if first.rtype == ResourceType.SYNCED and is_offered and not is_wanted:
        if not first.bootloader_type:
            cause = "It is not selected any more."
            return Status.REMOVING, cause, "It goes with the next import; tick it to keep it."
    return Status.SYNCED, "", ""


def _selected_images(
    picture: Picture, stored: set[tuple[str, str]], progress: dict[tuple[str, str], Progress]
) -> list[Image]:
    images = []
    for release in (*picture.ubuntu, *picture.others):
        for arch, box in release.boxes.items():
            key = (f"{release.os}/{release.release}", arch)
            if box.is_ticked and key not in stored:
                state = progress.get(key, Progress())
                images.append(_selected_image(release.title, box.size, key, box, state))
    return images


def _selected_image(
    title: str, size: int, key: tuple[str, str], box: object, progress: Progress
) -> Image:
    status, cause, next_step = Status.SELECTED, "", "It comes with the next import."
    if progress.is_active:
        status = Status.DOWNLOADING if progress.is_started else Status.QUEUED
        next_step = ""
    elif progress.failure is not None:
        status, cause = Status.FAILED, progress.failure.what
        next_step = progress.failure.next_step
    return Image(
        os=key[0].partition("/")[0],
        name=key[0],
        arch=key[1],
        title=title,
        kernels=(),
        version=str(getattr(box, "version", "")),
        label="",
        size=size,
        status=status,
        percent=_percent(progress),
        cause=cause,
        next_step=next_step,
        source_name=str(getattr(box, "source_name", "")),
        is_unsigned=False,
        is_uploaded=False,
        is_bootloader=False,
        completed_at=None,
        resource_ids=(),
    )


def _percent(progress: Progress) -> int | None:
    if not progress.is_active:
        return None
    # A file of no bytes is done as soon as it is looked at (LP 2058037).
    return min(100, progress.bytes_done * 100 // progress.bytes_total) if (
        progress.bytes_total
    ) else 100  # fmt: skip


def _digests_by_set(set_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    rows = db.session.execute(
        select(ResourceFile.set_id, Blob.sha256, Blob.size)
        .join(Blob)
        .where(ResourceFile.set_id.in_(list(set_ids)))
    )
    for set_id, sha256, size in rows:
        found[set_id][sha256] = size
    return found


def _progress() -> dict[tuple[str, str], Progress]:
    """What the newest run says, by (name, main architecture)."""
    run = db.session.scalar(select(ImportRun).order_by(ImportRun.id.desc()).limit(1))
    if run is None:
        return {}
    is_active = run.finished_at is None
    found: dict[tuple[str, str], Progress] = {}
    transfers = db.session.scalars(select(FileTransfer).where(FileTransfer.run_id == run.id))
    open_states = {TransferState.WAITING, TransferState.DOWNLOADING, TransferState.VERIFYING}
    for row in transfers:
        key = (row.image, row.architecture.partition("/")[0])
        old = found.get(key, Progress())
        found[key] = Progress(
            bytes_done=old.bytes_done + row.bytes_done,
            bytes_total=old.bytes_total + row.size,
            is_active=old.is_active or (is_active and row.state in open_states),
            is_started=old.is_started or row.started_at is not None,
        )
    for failure in db.session.scalars(
        select(ImportFailure).where(ImportFailure.run_id == run.id, ImportFailure.image != "")
    ):
        key = (failure.image, failure.architecture.partition("/")[0])
        found[key] = Progress(failure=failure)
    return found
