# SPDX-License-Identifier: Apache-2.0
"""``/imports``: start, stop and follow imports."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.run_items import RunPlanItem, StoppedImageItem
from webapp.api.v1.schemas import (
    Empty,
    MessageResponse,
    Page,
    Paging,
    ProblemItem,
    RequestModel,
    ResponseModel,
    page_of,
)
from webapp.errors import NotFound
from webapp.models import ImportRun, Role, utcnow
from webapp.services.accounts.rights import Right
from webapp.services.images.keys import Image
from webapp.services.imports import approving, pausing, report, retrying, runs, single, stopping
from webapp.services.imports.single import Outcome

routes = Routes("imports")


class RunFields(ResponseModel):
    """An import. bytes_done of bytes_total are downloaded, at bytes_per_s.

    hold: user or window while it's paused by someone or until a window opens, else empty.
    """

    id: int
    state: str
    trigger: str
    phase: str
    hold: str
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    bytes_total: int
    bytes_done: int
    bytes_per_s: int
    sets_published: int
    summary: str


class RunImageItem(ResponseModel):
    """An image with all its kernels."""

    name: str
    arch: str


class StartOneRequest(RequestModel):
    """How to start."""

    can_run_outside_windows: bool = Field(
        True, description="false: refuse with `outside-windows` while no window is open"
    )


class StartRequest(StartOneRequest):
    """What to import."""

    plan: str = Field(
        "",
        max_length=64,
        description="The digest of `GET /plan`: confirms what that plan removes",
    )


class RunResponse(RunFields):
    """An import, and who started it: empty for viewers, who see no names of users.

    average_bytes_per_s: over all of it, 0 until it has ended.
    """

    requested_by: str
    sets_retired: int
    average_bytes_per_s: int
    only_images: list[RunImageItem] | None = Field(
        description="The images that it's about, null for all"
    )
    stopped_images: list[StoppedImageItem]


class StartedResponse(RunResponse):
    """The import. is_outside_windows: no window is open, and it doesn't wait for one."""

    is_outside_windows: bool


class AllImagesResponse(StartedResponse):
    """The import that downloads all images. is_new: false if it was already running."""

    is_new: bool


class OneImageResponse(StartedResponse):
    """The import that downloads the image. outcome: started; queued behind another; or joined."""

    outcome: Outcome
    message: str


class TransferResponse(ResponseModel):
    """A file of an import."""

    filename: str
    kernel: str
    sha256: str
    size: int
    bytes_done: int
    bytes_per_s: int
    state: str
    retries: int
    mirror: str = Field(description="The address it comes from")
    cause: str = Field(description="Why its last try failed; empty once it's cured")
    next_step: str
    retry_s: int | None = Field(description="Seconds until its next try, null if none is awaited")
    left_s: int | None
    started_at: datetime | None
    finished_at: datetime | None
    average_bytes_per_s: int


class RunImageResponse(ResponseModel):
    """The files of one image in an import."""

    title: str
    version: str
    size: int
    bytes_done: int
    percent: int
    files: list[TransferResponse]


class FailureResponse(ProblemItem):
    """What failed in an import, and what to do about it."""

    title: str


class RunDetailResponse(RunResponse):
    """An import with its plan, files and failures. left_s: seconds left, null if unknown.

    plan: null before it is made. is_approved: a person started exactly that plan.
    """

    is_approved: bool
    plan: RunPlanItem | None

    percent: int
    left_s: int | None
    is_active: bool
    images: list[RunImageResponse]
    failures: list[FailureResponse]


class CurrentImportResponse(ResponseModel):
    """Whether an import is running, and the current or last one."""

    is_importing: bool
    run: RunDetailResponse | None = Field(None)


@routes("GET", "/imports", Right.SEE)
def read_all(call: Call[Paging, None]) -> Page[RunResponse]:
    """List imports, newest first."""
    rows = runs.page(before=call.query.cursor, limit=call.query.limit + 1)
    role = call.caller.sees
    return page_of(rows, call.query.limit, lambda run: _response(run, role), lambda run: run.id)


@routes("POST", "/imports", Right.IMPORT, status=202)
def start(call: Call[Empty, StartRequest]) -> AllImagesResponse:
    """Import all selected images; if an import is already running, it continues, not ``is_new``.

    With a plan, do exactly that or nothing, after the one that is running. Imports that are
    started by hand don't wait for a window.
    """
    is_outside = _is_outside(call.body)
    if call.body.plan:
        started = runs.Start(approving.start(call.body.plan, call.actor), is_new=True)
    else:
        started = runs.start("manual", call.actor)
    found = _response(started.run, call.caller.sees)
    return AllImagesResponse(
        **found.model_dump(), is_outside_windows=is_outside, is_new=started.is_new
    )


@routes(
    "POST", "/images/<string:os>/<string:release>/<string:arch>/import", Right.IMPORT, status=202
)
def start_one(
    call: Call[Empty, StartOneRequest], os: str, release: str, arch: str
) -> OneImageResponse:
    """Import one selected image, and nothing else because of that.

    An import that has it already is joined; else it gets its own, after the one that is running.
    """
    is_outside = _is_outside(call.body)
    done = single.start(Image(f"{os}/{release}", arch), call.actor)
    found = _response(done.run, call.caller.sees)
    return OneImageResponse(
        **found.model_dump(),
        is_outside_windows=is_outside,
        outcome=done.outcome,
        message=done.message,
    )


def _is_outside(sent: StartOneRequest) -> bool:
    """Whether no window is open now. Raises Conflict if that matters."""
    if not sent.can_run_outside_windows:
        pausing.demand_window()
    return not pausing.window_state(utcnow()).is_open


@routes("POST", "/imports/retry", Right.IMPORT, status=202)
def retry(call: PlainCall) -> RunResponse:
    """Try again at once: the running import stops waiting, or one is started."""
    return _response(retrying.try_again(call.actor), call.caller.sees)


@routes("GET", "/imports/current", Right.SEE)
def read_current(call: PlainCall) -> CurrentImportResponse:
    """Show whether an import is running, and its progress."""
    run = runs.current()
    found = _report(run, call.caller.sees) if run else None
    return CurrentImportResponse(is_importing=runs.is_importing(), run=found)


@routes("GET", "/imports/<int:id>", Right.SEE)
def read(call: PlainCall, id: int) -> RunDetailResponse:
    """Read an import with its files and failures."""
    return _report(report.of(id).run, call.caller.sees)


@routes("POST", "/imports/stop", Right.IMPORT, status=202)
def stop(call: PlainCall) -> MessageResponse:
    """Stop the running import; what it downloaded is kept for the next one."""
    if runs.stop(call.actor) is None:
        raise NotFound("No import is running.")
    return MessageResponse(message="The import is being stopped.")


@routes(
    "POST",
    "/images/<string:os>/<string:release>/<string:arch>/import/stop",
    Right.IMPORT,
    status=202,
)
def stop_one(call: PlainCall, os: str, release: str, arch: str) -> RunResponse:
    """Stop one image of the running import. The others go on, and the next import takes it up."""
    return _response(stopping.stop(Image(f"{os}/{release}", arch), call.actor), call.caller.sees)


@routes("POST", "/imports/pause", Right.IMPORT, status=202)
def pause(call: PlainCall) -> MessageResponse:
    """Pause the import; it resumes each file from where it is."""
    if pausing.pause(call.actor) is None:
        raise NotFound("No import is running.")
    return MessageResponse(message="The import is paused.")


@routes("POST", "/imports/resume", Right.IMPORT, status=202)
def resume(call: PlainCall) -> MessageResponse:
    """Resume the import, outside windows as well."""
    if pausing.resume(call.actor) is None:
        raise NotFound("No import is running.")
    return MessageResponse(message="The import resumes.")


def _response(run: ImportRun, role: Role) -> RunResponse:
    found = RunResponse.model_validate(run)
    if role == Role.VIEWER:
        found.requested_by = ""
        for one in found.stopped_images:
            one.by = ""
    return found


def _report(run: ImportRun, role: Role) -> RunDetailResponse:
    found = report.report(run)
    return RunDetailResponse(
        **_response(run, role).model_dump(),
        is_approved=run.is_approved,
        plan=RunPlanItem.model_validate(run.plan) if run.plan else None,
        percent=found.percent,
        left_s=found.left_s,
        is_active=found.is_active,
        images=[
            RunImageResponse(
                title=image.title,
                version=image.version,
                size=image.size,
                bytes_done=image.bytes_done,
                percent=image.percent,
                files=[
                    TransferResponse(
                        filename=file.transfer.filename,
                        kernel=file.kernel,
                        sha256=file.transfer.sha256,
                        size=file.transfer.size,
                        bytes_done=file.transfer.bytes_done,
                        bytes_per_s=file.transfer.bytes_per_s,
                        state=file.transfer.state,
                        retries=file.transfer.retries,
                        mirror=file.transfer.mirror,
                        cause=file.transfer.cause,
                        next_step=file.transfer.next_step,
                        retry_s=file.retry_s,
                        left_s=file.left_s,
                        started_at=file.transfer.started_at,
                        finished_at=file.transfer.finished_at,
                        average_bytes_per_s=file.average_bytes_per_s,
                    )
                    for file in image.files
                ],
            )
            for image in found.images
        ],
        failures=[
            FailureResponse(title=one.title, **ProblemItem.model_validate(one.row).model_dump())
            for one in found.failures
        ],
    )
