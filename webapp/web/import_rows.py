# SPDX-License-Identifier: Apache-2.0
"""Imports and their files as pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import url_for

from webapp.models import ImportRun, Priority
from webapp.services.images.keys import Image, Key
from webapp.services.imports.plan_report import Action
from webapp.services.imports.report import FileProgress, ImageProgress, RunReport
from webapp.web import import_states
from webapp.web.formatting import byte_size, byte_speed, duration
from webapp.web.states import State

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class RunRow:
    """A run in the list of recent imports."""

    run: ImportRun
    state: State
    started_by: str  # the user, or what else started it
    scope: str  # the images that it's about, "" for all
    stopped: str  # the images that were stopped alone, and by whom, "" for none


@dataclass(frozen=True)
class FileRow:
    """One file of a run; what isn't known is a dash."""

    name: str
    kernel: str
    state: State
    amount: str
    speed: str
    left: str
    retries: int
    mirror: str
    trouble: str  # why it failed or is tried again, and when; "" once cured
    next_step: str


@dataclass(frozen=True)
class RunView:
    """A run with its files, failures and progress in words."""

    report: RunReport
    row: RunRow
    amount: str
    note: str
    announcement: str

    @property
    def is_waiting(self) -> bool:
        """Whether a file waits for its next try."""
        files = (file for image in self.report.images for file in image.files)
        return any(file.retry_s is not None for file in files)

    def stop_url(self, image: ImageProgress) -> str:
        """Where one of its images is stopped alone; "" if there's nothing to stop."""
        run = self.report.run
        if not self.report.is_active or run.is_cancelled or image.is_stopped or image.is_done:
            return ""
        os, _, release = image.image.name.partition("/")
        return url_for("imports.stop_one", os=os, release=release, arch=image.image.arch)

    def files(self, image: ImageProgress) -> list[FileRow]:
        """The files of one of its images."""
        return [_file(file) for file in image.files]


def run_row(run: ImportRun, *, is_named: bool) -> RunRow:
    """A run as a row. is_named: whether the visitor may know which users acted on it."""
    user = run.requested_by if is_named else ""
    names = [f"{one['name']} {one['arch']}" for one in run.only_images or ()]
    scope = f"Only {', '.join(names)}" if names else ""
    stopped = [
        f"{one['name']} {one['arch']}{' by ' + one['by'] if is_named else ''}"
        for one in run.stopped_images
    ]
    return RunRow(
        run,
        import_states.of_run(run),
        user or run.trigger.capitalize(),
        scope,
        f"Stopped: {', '.join(stopped)}" if stopped else "",
    )


@dataclass(frozen=True)
class ActionRow:
    """A line of a plan. priority_url: where the priority of its image is set."""

    action: Action
    priority: str
    priority_url: str


def action_rows(actions: Iterable[Action], priorities: Mapping[Image, Priority]) -> list[ActionRow]:
    """What a plan fetches, in its order, with the priorities that decide that."""
    rows = []
    for one in actions:
        image = Key(one.name, one.architecture).image
        os, _, release = image.name.partition("/")
        priority = priorities.get(image, Priority.NORMAL)
        url = url_for("priorities.edit", os=os, release=release, arch=image.arch, next="plan")
        rows.append(ActionRow(one, priority.capitalize(), url))
    return rows


def run_view(report: RunReport, *, is_named: bool, limit: int = 0) -> RunView:
    """A run as its own page shows it. is_named: see run_row. limit: bytes a second, 0: none."""
    run = report.run
    amount = note = progress = ""
    if run.bytes_total:
        amount = f"{_of(run.bytes_done, run.bytes_total)} ({report.percent} %)"
        progress = f": {report.percent // 25 * 25} percent"
    if run.bytes_per_s:
        left = f", {duration(report.left_s)} left" if report.left_s is not None else ""
        allowed = f" (limit {byte_speed(limit)})" if limit else ""
        note = byte_speed(run.bytes_per_s) + allowed + left
    return RunView(
        report=report,
        row=run_row(run, is_named=is_named),
        amount=amount,
        note=note,
        announcement=_announcement(run, progress),
    )


def _announcement(run: ImportRun, progress: str) -> str:
    if run.is_cancelled:
        return "Stopping the import"
    return f"Import paused{progress}" if run.hold else f"Import running{progress}"


def ended(run: ImportRun | None) -> str:
    """What a screen reader announces when a run has ended."""
    if run is None:
        return ""
    return f"Import finished: {run.summary or import_states.of_run(run).text}"


def _file(file: FileProgress) -> FileRow:
    row = file.transfer
    state = import_states.of_transfer(row)
    speed = row.bytes_per_s if row.state == "downloading" else file.average_bytes_per_s
    return FileRow(
        name=row.filename,
        kernel=file.kernel,
        state=state,
        amount=_of(row.bytes_done, row.size),
        speed=byte_speed(speed) if speed else NOTHING,
        left=duration(file.left_s) if file.left_s is not None else NOTHING,
        retries=row.retries,
        mirror=row.mirror,
        trouble=" ".join(filter(None, (row.cause, _waits(file.retry_s)))),
        next_step=row.next_step,
    )


def _waits(seconds: int | None) -> str:
    return f"Next try in {duration(seconds)}." if seconds is not None else ""


def _of(done: int, total: int) -> str:
    return f"{byte_size(done)} of {byte_size(total)}"
