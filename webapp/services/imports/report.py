# SPDX-License-Identifier: Apache-2.0
"""An import run as users read it: image by image, file by file, with what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import select

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import FileTransfer, ImportFailure, ImportRun, TransferState, utcnow
from webapp.models.runs import rate
from webapp.services.images.keys import Image
from webapp.services.imports import stopping
from webapp.services.sources import catalogue


@dataclass(frozen=True)
class FileProgress:
    """One file; ``kernel`` distinguishes the kernels of an image, "" where there is one."""

    transfer: FileTransfer
    kernel: str

    @property
    def left_s(self) -> int | None:
        """Seconds until it is complete, None while unknown."""
        speed = self.transfer.bytes_per_s
        if self.transfer.state != TransferState.DOWNLOADING or not speed:
            return None
        return (self.transfer.size - self.transfer.bytes_done) // speed

    @property
    def retry_s(self) -> int | None:
        """Seconds until the next try, None while none is waited for."""
        at = self.transfer.retry_at
        if at is None or self.transfer.state != TransferState.DOWNLOADING:
            return None
        left = at - utcnow()
        return left // timedelta(seconds=1) + 1 if left > timedelta(0) else None

    @property
    def average_bytes_per_s(self) -> int:
        """How fast it came once it's there, 0 while unknown or if nothing was fetched."""
        row = self.transfer
        return rate(row.bytes_done, row.started_at, row.finished_at) if row.mirror else 0


@dataclass(frozen=True)
class ImageProgress:
    """The files of one image in a run, with their bytes together.

    is_stopped: a person stopped it alone.
    """

    image: Image
    title: str
    version: str
    files: tuple[FileProgress, ...]
    size: int
    bytes_done: int
    is_stopped: bool = False

    @property
    def is_done(self) -> bool:
        """Whether all its files are here."""
        return all(file.transfer.state == TransferState.DONE for file in self.files)

    @property
    def is_open(self) -> bool:
        """Whether its files are shown at once: something happens there, or went wrong."""
        quiet = (TransferState.DONE, TransferState.WAITING)
        return any(file.transfer.state not in quiet for file in self.files)

    @property
    def percent(self) -> int:
        """Weighted by bytes; an image of no bytes is done."""
        return self.bytes_done * 100 // self.size if self.size else 100


@dataclass(frozen=True)
class Failure:
    """One failure with the title of the image it is about, "" when it is about a source."""

    title: str
    row: ImportFailure


@dataclass(frozen=True)
class RunReport:
    """A run with all its details; ``left_s`` is None while unknown."""

    run: ImportRun
    images: tuple[ImageProgress, ...]
    failures: tuple[Failure, ...]
    percent: int
    left_s: int | None
    is_active: bool


def of(run_id: int) -> RunReport:
    """The report of a run, or NotFound."""
    run = db.session.get(ImportRun, run_id)
    if run is None:
        raise NotFound(
            "Import not found.",
            where=f"import {run_id}",
            next_step="See the list of imports. Old ones are deleted.",
        )
    return report(run)


def report(run: ImportRun) -> RunReport:
    """A run with its files by image, in three queries."""
    transfers = db.session.scalars(
        select(FileTransfer).where(FileTransfer.run_id == run.id).order_by(FileTransfer.id)
    )
    groups: dict[tuple[str, str, str], list[FileTransfer]] = {}
    for row in transfers:
        arch = row.architecture.partition("/")[0]
        groups.setdefault((row.image, arch, row.version), []).append(row)
    failures = db.session.scalars(
        select(ImportFailure).where(ImportFailure.run_id == run.id).order_by(ImportFailure.id)
    ).all()
    titles = catalogue.titles() if groups or failures else {}
    left = run.bytes_total - run.bytes_done
    stopped = stopping.images_of(run.stopped_images)
    return RunReport(
        run=run,
        images=tuple(
            replace(
                _image(Image(name, arch), f"{titles.get(name, name)} {arch}", version, files),
                is_stopped=Image(name, arch) in stopped,
            )
            for (name, arch, version), files in groups.items()
        ),
        failures=tuple(Failure(_title(row, titles), row) for row in failures),
        percent=min(100, run.bytes_done * 100 // run.bytes_total) if run.bytes_total else 0,
        left_s=left // run.bytes_per_s if run.bytes_per_s and left else None,
        is_active=run.finished_at is None,
    )


def _image(image: Image, title: str, version: str, files: Sequence[FileTransfer]) -> ImageProgress:
    kernels = [row.architecture.partition("/")[2] for row in files]
    is_several = len(set(kernels)) > 1
    return ImageProgress(
        image=image,
        title=title,
        version=version,
        files=tuple(
            FileProgress(row, kernel if is_several else "")
            for row, kernel in zip(files, kernels, strict=True)
        ),
        size=sum(row.size for row in files),
        bytes_done=sum(row.bytes_done for row in files),
    )


def _title(failure: ImportFailure, titles: dict[str, str]) -> str:
    if not failure.image:
        return ""
    parts = (titles.get(failure.image, failure.image), failure.architecture, failure.filename)
    return " ".join(part for part in parts if part)
