# SPDX-License-Identifier: Apache-2.0
"""Import runs: the table is the queue, the lease is the lock."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.models.base import Base, utcnow


class RunState(enum.StrEnum):
    """queued -> running -> one of the ended states."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"  # everything wanted is stored
    PARTIAL = "partial"  # some of it failed, the rest is stored
    FAILED = "failed"  # nothing could be done
    STOPPED = "stopped"


HOLD_USER, HOLD_WINDOW = "user", "window"  # why a run is paused
ACTIVE_STATES = (RunState.QUEUED, RunState.RUNNING)


class ImportRun(Base):
    """One pass over all sources. The row is the truth, huey only wakes the worker.

    A run is claimed by one conditional UPDATE; its worker renews ``lease_until``
    with every progress write and reads ``is_cancelled`` there. The two partial
    unique indexes make a second running or queued row impossible.
    """

    __tablename__ = "import_run"
    __table_args__ = (
        Index(
            "uq_import_run_running",
            "state",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index(
            "uq_import_run_queued",
            "state",
            unique=True,
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default=RunState.QUEUED)
    trigger: Mapped[str] = mapped_column(
        default="manual"
    )  # manual, schedule, source, start, change
    requested_by: Mapped[str] = mapped_column(default="")
    phase: Mapped[str] = mapped_column(default="")  # refreshing, planning, downloading, publishing
    lease_owner: Mapped[str] = mapped_column(default="")
    lease_until: Mapped[datetime | None]
    is_cancelled: Mapped[bool] = mapped_column(default=False)
    hold: Mapped[str] = mapped_column(default="", server_default="")  # HOLD_*, "" to go on
    # A person asked for it, so it doesn't wait for a window.
    is_attended: Mapped[bool] = mapped_column(default=True, server_default=true())
    retry_asked_at: Mapped[datetime | None]  # someone asked to wait no longer before retries
    # The only sources that it reads, None for all of them.
    source_ids: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    # The only images that it imports, as {name, arch}; None for all of them.
    only_images: Mapped[list[dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))
    # The images that people stopped in it, as {name, arch, by}.
    stopped_images: Mapped[list[dict[str, str]]] = mapped_column(
        JSON, default=list, server_default="[]"
    )
    queued_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    bytes_total: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)  # never falls, never > total
    bytes_per_s: Mapped[int] = mapped_column(BigInteger, default=0)
    sets_published: Mapped[int] = mapped_column(default=0)
    sets_retired: Mapped[int] = mapped_column(default=0)
    summary: Mapped[str] = mapped_column(default="")
    # What it does (services.imports.plan_report); large, so lists don't read it.
    plan: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    is_approved: Mapped[bool] = mapped_column(default=False)  # a person started that very plan

    transfers: Mapped[list[FileTransfer]] = relationship(
        back_populates="run", cascade="all, delete-orphan", passive_deletes=True
    )
    failures: Mapped[list[ImportFailure]] = relationship(
        back_populates="run", cascade="all, delete-orphan", passive_deletes=True
    )

    @property
    def average_bytes_per_s(self) -> int:
        """How fast it downloaded from start to end, 0 until then or without a download."""
        return rate(self.bytes_done, self.started_at, self.finished_at)


def rate(count: int, started: datetime | None, finished: datetime | None) -> int:
    """Bytes a second between two times, 0 while one is missing."""
    seconds = (finished - started).total_seconds() if started and finished else 0.0
    return int(count / seconds) if seconds > 0 else 0


class TransferState(enum.StrEnum):
    """The life of one file in one run."""

    WAITING = "waiting"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class FileTransfer(Base):
    """One blob that a run has to fetch, with its progress in bytes.

    ``image`` and ``architecture`` name the first image that wants it, as users
    read it: "ubuntu/noble" and "amd64/ga-24.04".
    """

    __tablename__ = "file_transfer"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("import_run.id", ondelete="CASCADE"), index=True)
    source_id: Mapped[int | None] = mapped_column(
        ForeignKey("boot_source.id", ondelete="SET NULL"), index=True
    )
    blob_id: Mapped[int | None] = mapped_column(
        ForeignKey("blob.id", ondelete="SET NULL"), index=True
    )
    image: Mapped[str]
    architecture: Mapped[str]
    version: Mapped[str]
    filename: Mapped[str]
    path: Mapped[str]  # below the source's root
    sha256: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default=TransferState.WAITING)
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_per_s: Mapped[int] = mapped_column(BigInteger, default=0)
    retries: Mapped[int] = mapped_column(default=0)
    mirror: Mapped[str] = mapped_column(default="")  # the address that it comes from
    # Why the last try failed, what helps, and when the next one is; empty once cured.
    cause: Mapped[str] = mapped_column(default="")
    next_step: Mapped[str] = mapped_column(default="")
    retry_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    run: Mapped[ImportRun] = relationship(back_populates="transfers")


class ImportFailure(Base):
    """One typed failure of a run: errors.Problem as a row."""

    __tablename__ = "import_failure"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("import_run.id", ondelete="CASCADE"), index=True)
    source_id: Mapped[int | None] = mapped_column(
        ForeignKey("boot_source.id", ondelete="SET NULL"), index=True
    )
    source_url: Mapped[str] = mapped_column(default="")
    image: Mapped[str] = mapped_column(default="")
    architecture: Mapped[str] = mapped_column(default="")
    filename: Mapped[str] = mapped_column(default="")
    code: Mapped[str]
    what: Mapped[str]
    where: Mapped[str] = mapped_column(default="")
    expected: Mapped[str] = mapped_column(default="")
    got: Mapped[str] = mapped_column(default="")
    next_step: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(default=utcnow)

    run: Mapped[ImportRun] = relationship(back_populates="failures")
