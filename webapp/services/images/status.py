# SPDX-License-Identifier: Apache-2.0
"""The status of an image, with a cause and a next step when something has to be done."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import (
    BootResource,
    BootSource,
    FileTransfer,
    ImportFailure,
    ImportRun,
    ResourceType,
    TransferState,
)
from webapp.services.sources import health, soaking
from webapp.services.sources.health import SourceState
from webapp.services.sources.picture import Box
from webapp.services.sources.soaking import Hold

OPEN_STATES = (TransferState.WAITING, TransferState.DOWNLOADING, TransferState.VERIFYING)
_NO_ANSWER = {SourceState.OFF: "is off", SourceState.UNREADABLE: "can't be read"}


class Status(enum.StrEnum):
    """The state of one image, in MAAS's words (rule: status-words)."""

    SYNCED = "Synced"
    SELECTED = "Selected for download"
    QUEUED = "Queued for download"
    DOWNLOADING = "Downloading"
    REMOVING = "Will be deleted"
    GONE = "Kept (no longer offered)"
    FAILED = "Failed"


@dataclass(frozen=True)
class Verdict:
    """A status with cause and next step; ``percent`` only while it is downloading."""

    status: Status
    cause: str = ""
    next_step: str = ""
    percent: int | None = None


@dataclass(frozen=True)
class DownloadProgress:
    """What the newest run has done for one image."""

    bytes_done: int = 0
    bytes_total: int = 0
    is_active: bool = False
    is_started: bool = False
    failure: ImportFailure | None = None


@dataclass(frozen=True)
class NewestRun:
    """The run requested last, with its progress by (name, main architecture)."""

    is_active: bool
    progress: Mapping[tuple[str, str], DownloadProgress]

    def of(self, name: str, arch: str) -> DownloadProgress:
        """The progress of one image; empty when the run doesn't include it."""
        return self.progress.get((name, arch), DownloadProgress())


def newest_run() -> NewestRun:
    """Read the newest run, in at most three queries."""
    run = db.session.scalar(select(ImportRun).order_by(ImportRun.id.desc()).limit(1))
    if run is None:
        return NewestRun(is_active=False, progress={})
    is_active = run.finished_at is None
    found: dict[tuple[str, str], DownloadProgress] = {}
    transfers = db.session.execute(
        select(
            FileTransfer.image,
            FileTransfer.architecture,
            FileTransfer.state,
            FileTransfer.size,
            FileTransfer.bytes_done,
            FileTransfer.started_at,
        ).where(FileTransfer.run_id == run.id)
    )
    for row in transfers:
        key = (row.image, row.architecture.partition("/")[0])
        old = found.get(key, DownloadProgress())
        found[key] = DownloadProgress(
            bytes_done=old.bytes_done + row.bytes_done,
            bytes_total=old.bytes_total + row.size,
            is_active=old.is_active or (is_active and row.state in OPEN_STATES),
            is_started=old.is_started or row.started_at is not None,
        )
    failures = select(ImportFailure).where(
        ImportFailure.run_id == run.id, ImportFailure.image != ""
    )
    for failure in db.session.scalars(failures):
        found[failure.image, failure.architecture.partition("/")[0]] = DownloadProgress(
            failure=failure
        )
    return NewestRun(is_active, found)


def of_stored(
    resources: Sequence[BootResource],
    progress: DownloadProgress,
    source: BootSource | None,
    *,
    is_wanted: bool,
    is_offered: bool,
    is_damaged: bool = False,
    has_installer: bool = True,
    lock: str = "",
    update: str = "",
    holds: Sequence[Hold | None] = (),
) -> Verdict:
    """Judge an image that machines can get now. resources: all its kernels; source: its own.

    has_installer: an Ubuntu image of the architecture is stored; its ephemeral system
    writes uploaded images to disk (rule: upload-before-images). lock: why it can't be
    removed. update: the version that a pin keeps away; holds: those that a soak time does.
    """
    first = resources[0]
    if is_damaged:
        return _damaged(first, progress)
    if progress.is_active:
        cause = "Updating. The current version is served until the new one is complete."
        return _on_its_way(progress, cause)
    if progress.failure is not None:
        cause = f"The latest version could not be downloaded: {progress.failure.what}"
        return Verdict(Status.FAILED, cause, progress.failure.next_step)
    is_selectable = first.rtype == ResourceType.SYNCED and not first.bootloader_type
    if is_selectable and not is_wanted:
        return _unselected(source, is_offered, lock)
    gone = next((r.gone_since for r in resources if r.gone_since), None)
    if gone is not None:
        return Verdict(
            Status.GONE,
            f"No longer offered since {gone.day} {gone:%B %Y}.",
            "Delete it when no machine needs it.",
        )
    if first.rtype == ResourceType.UPLOADED and not has_installer:
        return Verdict(
            Status.SYNCED,
            f"Can't be deployed yet: it needs an Ubuntu image for {first.arch}.",
            "Select one. Machines boot it to write this image to disk.",
        )
    if update:
        cause = f"Update available, pinned: {update}."
        return Verdict(Status.SYNCED, cause, "Unpin it, and the next import updates it.")
    hold = soaking.newest(holds, [r.current_set.version for r in resources if r.current_set])
    if hold is not None:
        return Verdict(Status.SYNCED, f"Update available from {hold.until}: {hold.version}.")
    return Verdict(Status.SYNCED)


def _damaged(first: BootResource, progress: DownloadProgress) -> Verdict:
    cause = "A stored file is damaged, so machines don't get this image."
    if progress.is_active:
        return _on_its_way(progress, cause + " It is being replaced.")
    if progress.failure is not None:
        return Verdict(Status.FAILED, cause, progress.failure.next_step)
    if first.rtype == ResourceType.UPLOADED:
        return Verdict(Status.FAILED, cause, "Upload the same file again, or start an import.")
    return Verdict(Status.FAILED, cause, "Start an import to download it again.")


def _unselected(source: BootSource | None, is_offered: bool, lock: str) -> Verdict:
    if lock:
        return Verdict(Status.SYNCED, f"No longer selected. Kept: {lock}.")
    # An image isn't deleted while its source is off or unreadable: see planning.
    why = _NO_ANSWER.get(health.judge(source).state) if source is not None else None
    if why is not None:
        return Verdict(Status.SYNCED, f"No longer selected. Kept while its boot source {why}.")
    next_step = "The next import moves it to the bin."
    next_step += " Select it to keep it." if is_offered else ""
    return Verdict(Status.REMOVING, "No longer selected.", next_step)


def of_selected(
    box: Box,
    progress: DownloadProgress,
    source: BootSource | None,
    *,
    is_importing: bool,
    is_automatic: bool,
    holds: Sequence[Hold | None] = (),
) -> Verdict:
    """Judge an image that is selected and not stored. source: the one it is selected from.

    holds: what a soak time keeps back, product by product.
    """
    if progress.is_active:
        return _on_its_way(progress, "")
    if progress.failure is not None:
        return Verdict(Status.FAILED, progress.failure.what, progress.failure.next_step)
    trouble = _trouble(box, source)
    if trouble is not None:
        return trouble
    waiting = [hold for hold in holds if hold and hold.is_first]
    if waiting and len(waiting) == len(holds):
        first = min(waiting, key=lambda hold: hold.until)
        words = "Wait, or change the soak time of the image or of its source."
        return Verdict(Status.SELECTED, f"{first.words[0].upper()}{first.words[1:]}.", words)
    if is_importing:
        return Verdict(Status.QUEUED)
    next_step = (
        "The next import downloads it." if is_automatic else "Start an import to download it."
    )
    return Verdict(Status.SELECTED, "", next_step)


def _trouble(box: Box, source: BootSource | None) -> Verdict | None:
    """Why the next import can't download it, if that is known already."""
    if source is None:
        return None
    state = health.judge(source).state
    if state == SourceState.OFF:
        words = ("Its boot source is off.", "Turn the source on, or deselect the image.")
    elif state == SourceState.UNREADABLE:
        words = ("Its boot source can't be read.", "Fix the boot source.")
    elif box.digests:
        return None
    elif state == SourceState.CHECKING:
        words = ("Its boot source is being checked.", "")
    else:
        words = ("Its boot source doesn't offer it.", "Wait until it does, or deselect the image.")
    return Verdict(Status.SELECTED, *words)


def _on_its_way(progress: DownloadProgress, cause: str) -> Verdict:
    # An empty file is complete right away (rule: zero-byte-files).
    percent = 100
    if progress.bytes_total:
        percent = min(100, progress.bytes_done * 100 // progress.bytes_total)
    status = Status.DOWNLOADING if progress.is_started else Status.QUEUED
    return Verdict(status, cause, percent=percent)
