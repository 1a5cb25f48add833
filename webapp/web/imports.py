# SPDX-License-Identifier: Apache-2.0
"""Import status: what runs, what ran, what went wrong; start and stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from webapp import hx, jobs
from webapp.errors import NotFound
from webapp.extensions import db, settings
from webapp.models import FileTransfer, ImportFailure, ImportRun, Role, TransferState
from webapp.services import runs, upkeep
from webapp.web.access import me, requires

blueprint = Blueprint("imports", __name__, url_prefix="/imports")

HISTORY = 20


@dataclass(frozen=True)
class ImageProgress:
    """The files of one image in a run, with their bytes together."""

    image: str
    architecture: str
    version: str
    files: tuple[FileTransfer, ...]
    size: int
    bytes_done: int

    @property
    def title(self) -> str:
        """Name and architecture, as people read it."""
        return f"{self.image} {self.architecture}"

    @property
    def is_open(self) -> bool:
        """Whether its files are shown at once: something happens there, or went wrong."""
        quiet = (TransferState.DONE, TransferState.WAITING)
        return any(file.state not in quiet for file in self.files)

    @property
    def percent(self) -> int:
        """Weighted by bytes; an image of no bytes is done."""
        return self.bytes_done * 100 // self.size if self.size else 100


@dataclass(frozen=True)
class RunView:
    """A run as the status part shows it; ``left_s`` is None while it cannot be told."""

    run: ImportRun
    images: tuple[ImageProgress, ...]
    failures: Sequence[ImportFailure]
    percent: int
    left_s: int | None
    is_active: bool


@blueprint.get("/")
@requires(Role.VIEWER)
def index() -> ResponseReturnValue:
    """Show the current run, live, and the last ones."""
    current = runs.current()
    history = [run for run in runs.recent(HISTORY) if run.finished_at is not None]
    return hx.render(
        "imports/index.html",
        "imports/_current.html",
        view=view_of(current) if current else None,
        history=history,
        is_automatic=upkeep.is_auto_import(),
        interval=settings().import_interval,
    )


@blueprint.get("/<int(max=2147483647):run_id>")
@requires(Role.VIEWER)
def show(run_id: int) -> ResponseReturnValue:
    """Show one run with every file and failure."""
    run = db.session.get(ImportRun, run_id)
    if run is None:
        raise NotFound("There is no such import.", where=f"import {run_id}")
    return hx.render("imports/show.html", "imports/_run.html", view=view_of(run))


@blueprint.post("/start")
@requires(Role.OPERATOR)
def start() -> ResponseReturnValue:
    """Start an import; one that runs already is shown instead."""
    before = runs.current()
    run = runs.queue("manual", me().username)
    jobs.wake(settings())
    if before is not None and before.id == run.id:
        flash("An import is running already; here it is.", "info")
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/stop")
@requires(Role.OPERATOR)
def stop() -> ResponseReturnValue:
    """Stop the import; what was downloaded is kept and goes on from there next time."""
    if runs.stop(me().username) is None:
        flash("No import is running.", "info")
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/automatic")
@requires(Role.ADMINISTRATOR)
def automatic() -> ResponseReturnValue:
    """Turn automatic imports on or off."""
    is_on = request.form.get("on") == "yes"
    upkeep.set_auto_import(is_on, me().username)
    flash(f"Automatic imports are {'on' if is_on else 'off'}.", "ok")
    return hx.see_other(url_for("imports.index"))


def view_of(run: ImportRun) -> RunView:
    """A run with its files by image, in two queries."""
    transfers = db.session.scalars(
        select(FileTransfer).where(FileTransfer.run_id == run.id).order_by(FileTransfer.id)
    )
    groups: dict[tuple[str, str, str], list[FileTransfer]] = {}
    for row in transfers:
        groups.setdefault((row.image, row.architecture, row.version), []).append(row)
    failures = db.session.scalars(
        select(ImportFailure).where(ImportFailure.run_id == run.id).order_by(ImportFailure.id)
    ).all()
    left = run.bytes_total - run.bytes_done
    return RunView(
        run=run,
        images=tuple(
            ImageProgress(
                *key,
                files=tuple(files),
                size=sum(f.size for f in files),
                bytes_done=sum(f.bytes_done for f in files),
            )
            for key, files in groups.items()
        ),
        failures=failures,
        percent=min(100, run.bytes_done * 100 // run.bytes_total) if run.bytes_total else 0,
        left_s=left // run.bytes_per_s if run.bytes_per_s and left else None,
        is_active=run.finished_at is None,
    )
