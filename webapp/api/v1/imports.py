# SPDX-License-Identifier: Apache-2.0
"""``/imports``: start, stop and follow; every run with its files and failures."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.schemas import Done, Page, Paging, Told
from webapp.errors import NotFound
from webapp.models import ImportRun
from webapp.services.accounts.tokens import Scope
from webapp.services.imports import report, runs

TAG = "imports"


class RunTold(Told):
    """An import. Bytes fetched and to fetch, speed in bytes per second."""

    id: int
    state: str
    trigger: str
    requested_by: str
    phase: str
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    bytes_total: int
    bytes_done: int
    bytes_per_s: int
    sets_published: int
    sets_retired: int
    summary: str


class TransferTold(Told):
    """A file of an import."""

    filename: str
    kernel: str
    sha256: str
    size: int
    bytes_done: int
    bytes_per_s: int
    state: str
    retries: int
    left_s: int | None


class RunImage(Told):
    """The files of one image in an import."""

    title: str
    version: str
    size: int
    bytes_done: int
    percent: int
    files: list[TransferTold]


class FailureTold(Told):
    """What went wrong in an import, with what to do about it."""

    title: str
    code: str
    what: str
    where: str
    expected: str
    got: str
    next_step: str


class RunReportTold(RunTold):
    """An import with everything of it. left_s: seconds left, null while nobody can tell."""

    percent: int
    left_s: int | None
    is_active: bool
    images: list[RunImage]
    failures: list[FailureTold]


class CurrentTold(Told):
    """Whether an import runs, and which."""

    is_importing: bool
    run: RunReportTold | None = Field(None)


def read_all(call: Call) -> Page[RunTold]:
    """List imports, the newest first."""
    rows = runs.page(before=call.query.cursor, limit=call.query.limit + 1)
    more = len(rows) > call.query.limit
    items = [RunTold.model_validate(row) for row in rows[: call.query.limit]]
    return Page[RunTold](items=items, next=items[-1].id if more else None)


def start(call: Call) -> RunTold:
    """Start the import of all selected images; one that runs already goes on."""
    run = runs.queue("manual", call.actor)
    return RunTold.model_validate(run)


def read_current(call: Call) -> CurrentTold:
    """Tell whether an import runs, and how far it is."""
    run = runs.current()
    return CurrentTold(is_importing=runs.is_importing(), run=_report(run) if run else None)


def read(call: Call, id: int) -> RunReportTold:
    """Read an import with its files and failures."""
    return _report(report.of(id).run)


def stop(call: Call) -> Done:
    """Stop the import that runs; what it fetched is kept for the next one."""
    if runs.stop(call.actor) is None:
        raise NotFound("No import is running.", next_step="Nothing to do.")
    return Done(message="The import is being stopped.")


def _report(run: ImportRun) -> RunReportTold:
    found = report.report(run)
    return RunReportTold(
        **RunTold.model_validate(run).model_dump(),
        percent=found.percent,
        left_s=found.left_s,
        is_active=found.is_active,
        images=[
            RunImage(
                title=image.title,
                version=image.version,
                size=image.size,
                bytes_done=image.bytes_done,
                percent=image.percent,
                files=[
                    TransferTold(
                        filename=file.transfer.filename,
                        kernel=file.kernel,
                        sha256=file.transfer.sha256,
                        size=file.transfer.size,
                        bytes_done=file.transfer.bytes_done,
                        bytes_per_s=file.transfer.bytes_per_s,
                        state=file.transfer.state,
                        retries=file.transfer.retries,
                        left_s=file.left_s,
                    )
                    for file in image.files
                ],
            )
            for image in found.images
        ],
        failures=[
            FailureTold(
                title=one.title,
                code=one.row.code,
                what=one.row.what,
                where=one.row.where,
                expected=one.row.expected,
                got=one.row.got,
                next_step=one.row.next_step,
            )
            for one in found.failures
        ],
    )


ENDPOINTS = (
    Endpoint("GET", "/imports", read_all, Scope.READ, TAG, query=Paging, answer=Page[RunTold]),
    Endpoint("POST", "/imports", start, Scope.IMPORT, TAG, answer=RunTold, status=202),
    Endpoint("GET", "/imports/current", read_current, Scope.READ, TAG, answer=CurrentTold),
    Endpoint("POST", "/imports/stop", stop, Scope.IMPORT, TAG, answer=Done, status=202),
    Endpoint("GET", "/imports/<int:id>", read, Scope.READ, TAG, answer=RunReportTold),
)
