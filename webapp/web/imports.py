# SPDX-License-Identifier: Apache-2.0
"""Imports: the running one, recent ones and their errors; start and stop."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx, numbers
from webapp.extensions import settings
from webapp.http.dispatch import MAX_ID
from webapp.models import utcnow
from webapp.services.accounts.rights import Right, may
from webapp.services.images import priorities
from webapp.services.images.keys import Image
from webapp.services.imports import (
    approving,
    pausing,
    preview,
    report,
    retrying,
    runs,
    scheduling,
    single,
    stopping,
)
from webapp.services.imports.single import Outcome
from webapp.services.system import bandwidth, live_settings
from webapp.web import import_start
from webapp.web.access import me, requires
from webapp.web.formatting import byte_speed
from webapp.web.import_rows import action_rows, ended, run_row, run_view

blueprint = Blueprint("imports", __name__, url_prefix="/imports")

HISTORY, PAGE, KEPT = 20, 50, 100


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show the current run, live, and the last ones."""
    current = runs.current()
    history = [run for run in runs.recent(HISTORY) if run.finished_at is not None]
    is_named = may(me().role, Right.IMPORT)
    limit = bandwidth.rate_now()
    view = run_view(report.report(current), is_named=is_named, limit=limit) if current else None
    return hx.render(
        "imports/index.html",
        "imports/_current.html",
        view=view,
        limit=byte_speed(limit) if limit else "",
        window=pausing.window_state(utcnow()),
        next_start=scheduling.next_start(utcnow()),
        schedule=live_settings.read(live_settings.SCHEDULE),
        history=[run_row(run, is_named=is_named) for run in history],
        announcement=view.announcement if view else ended(history[0] if history else None),
        is_automatic=live_settings.is_auto_import(),
        interval=settings().import_interval,
    )


@blueprint.get("/history")
@requires(Right.SEE)
def history() -> ResponseReturnValue:
    """Show all imports that are kept, newest first, a page at a time."""
    before = numbers.whole(request.args.get("before", "")) or 0
    rows = runs.page(before=min(before, MAX_ID), limit=PAGE + 1)
    is_named = may(me().role, Right.IMPORT)
    return hx.render(
        "imports/history.html",
        None,
        history=[run_row(run, is_named=is_named) for run in rows[:PAGE]],
        older=rows[PAGE - 1].id if len(rows) > PAGE else None,
        days=settings().run_days,
    )


@blueprint.get("/<int(max=2147483647):run_id>")
@requires(Right.SEE)
def show(run_id: int) -> ResponseReturnValue:
    """Show one run with every file and failure."""
    is_named = may(me().role, Right.IMPORT)
    view = run_view(report.of(run_id), is_named=is_named, limit=bandwidth.rate_now())
    window = pausing.window_state(utcnow())
    plan = view.report.run.plan if not hx.is_part() else None
    return hx.render("imports/show.html", "imports/_run.html", view=view, window=window, plan=plan)


@blueprint.get("/plan")
@requires(Right.SEE)
def show_plan() -> ResponseReturnValue:
    """Show what the next import will do, and why, and offer to start exactly that."""
    found = preview.next_report()
    is_whole = bool(request.args.get("all"))
    return hx.render(
        "imports/plan.html",
        None,
        plan=found,
        actions=action_rows(found.actions, priorities.read()),
        keep=found.keep if is_whole else found.keep[:KEPT],
        out=found.out if is_whole else (),
        out_count=len(found.out),
    )


@blueprint.post("/start")
@requires(Right.IMPORT)
def start() -> ResponseReturnValue:
    """Start an import, or show the one that is running; with a plan, that very plan."""
    digest = request.form.get("plan", "")
    if _is_asked_first():
        return hx.see_other(url_for("imports.outside", plan=digest or None))
    if digest:
        approving.start(digest[:64], me().username)
        flash("The plan is started.", "ok")
        return hx.see_other(url_for("imports.index"))
    started = runs.start("manual", me().username)
    if not started.is_new:
        flash(import_start.words(started), "info")
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/start/<os>/<release>/<arch>")
@requires(Right.IMPORT)
def start_one(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Import one image alone, and say by which import."""
    if _is_asked_first():
        return hx.see_other(url_for("imports.outside", os=os, release=release, arch=arch))
    done = single.start(Image(f"{os}/{release}", arch), me().username)
    flash(done.message, "info" if done.outcome == Outcome.JOINED else "ok")
    return hx.see_other(url_for("images.index"))


@blueprint.get("/outside")
@requires(Right.IMPORT)
def outside() -> ResponseReturnValue:
    """Ask before an import is started while no window is open."""
    names = ("os", "release", "arch")
    image: dict[str, Any] = {name: request.args.get(name, "") for name in names}
    is_one = all(image.values())
    return hx.render(
        "imports/outside.html",
        None,
        window=pausing.window_state(utcnow()),
        action=url_for("imports.start_one", **image) if is_one else url_for("imports.start"),
        plan=request.args.get("plan", "")[:64],
        back=url_for("images.index" if is_one else "imports.index"),
    )


def _is_asked_first() -> bool:
    """Whether no window is open and the visitor hasn't said to import nevertheless."""
    return request.form.get("now") != "yes" and not pausing.window_state(utcnow()).is_open


@blueprint.post("/retry")
@requires(Right.IMPORT)
def retry() -> ResponseReturnValue:
    """Try again at once what failed or waits for its next try."""
    retrying.try_again(me().username)
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/stop")
@requires(Right.IMPORT)
def stop() -> ResponseReturnValue:
    """Stop the import; what was downloaded is kept, and the next import resumes it."""
    if runs.stop(me().username) is None:
        flash("No import is running.", "info")
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/stop/<os>/<release>/<arch>")
@requires(Right.IMPORT)
def stop_one(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Stop one image of the running import; the others go on."""
    image = Image(f"{os}/{release}", arch)
    stopping.stop(image, me().username)
    flash(f"Stopped {image}. The next import downloads the rest of it.", "ok")
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/pause")
@requires(Right.IMPORT)
def pause() -> ResponseReturnValue:
    """Pause the import, also inside a file."""
    if pausing.pause(me().username) is None:
        flash("No import is running.", "info")
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/resume")
@requires(Right.IMPORT)
def resume() -> ResponseReturnValue:
    """Let a paused import go on."""
    if pausing.resume(me().username) is None:
        flash("No import is running.", "info")
    return hx.see_other(url_for("imports.index"))


@blueprint.post("/automatic")
@requires(Right.MANAGE)
def automatic() -> ResponseReturnValue:
    """Turn automatic imports on or off."""
    is_on = request.form.get("on") == "yes"
    live_settings.set_auto_import(is_on, me().username)
    flash(f"Automatic imports are {'on' if is_on else 'off'}.", "ok")
    return hx.see_other(url_for("imports.index"))
