# SPDX-License-Identifier: Apache-2.0
"""Import status: what runs, what ran, what went wrong; start and stop."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.extensions import settings
from webapp.models import Role
from webapp.services.imports import report, runs
from webapp.services.system import live_settings
from webapp.web.access import me, requires

blueprint = Blueprint("imports", __name__, url_prefix="/imports")

HISTORY = 20


@blueprint.get("/")
@requires(Role.VIEWER)
def index() -> ResponseReturnValue:
    """Show the current run, live, and the last ones."""
    current = runs.current()
    recent = runs.recent(HISTORY)
    return hx.render(
        "imports/index.html",
        "imports/_current.html",
        view=report.report(current) if current else None,
        history=[run for run in recent if run.finished_at is not None],
        is_automatic=live_settings.is_auto_import(),
        interval=settings().import_interval,
    )


@blueprint.get("/<int(max=2147483647):run_id>")
@requires(Role.VIEWER)
def show(run_id: int) -> ResponseReturnValue:
    """Show one run with every file and failure."""
    return hx.render("imports/show.html", "imports/_run.html", view=report.of(run_id))


@blueprint.post("/start")
@requires(Role.OPERATOR)
def start() -> ResponseReturnValue:
    """Start an import; one that runs already is shown instead."""
    before = runs.current()
    run = runs.queue("manual", me().username)
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
    live_settings.set_auto_import(is_on, me().username)
    flash(f"Automatic imports are {'on' if is_on else 'off'}.", "ok")
    return hx.see_other(url_for("imports.index"))
