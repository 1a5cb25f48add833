# SPDX-License-Identifier: Apache-2.0
"""Overview, the first page: how it goes, what needs a person, what runs, store and traffic."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from webapp import hx
from webapp.errors import Problem
from webapp.models import utcnow
from webapp.services.accounts.rights import Right
from webapp.services.overview import now, room, store
from webapp.services.overview.room import Room
from webapp.services.system import traffic
from webapp.web.access import me, requires
from webapp.web.overview_rows import now_view
from webapp.web.room_rows import share_rows
from webapp.web.traffic_rows import week_view

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show this moment, live, and the store and the week beside it."""
    view = now_view(now.read(me().role), me().role, utcnow())
    body = render_template("overview/_moment.html", view=view)
    seen = hashlib.sha256(body.encode()).hexdigest()[:16]
    if hx.is_part() and request.args.get("seen") == seen:
        return hx.unchanged()
    return hx.render(
        "overview/index.html",
        "overview/_now.html",
        view=view,
        body=Markup(body),  # noqa: S704 - a template's text is escaped
        seen=seen,
        **({} if hx.is_part() else _week()),
    )


@blueprint.get("/overview/week")
@requires(Right.SEE)
def week() -> ResponseReturnValue:
    """The store and the week's traffic alone; they change slowly."""
    if not hx.is_part():
        return redirect(url_for("overview.index"), 302)
    return hx.part("overview/_week.html", **_week())


def _week() -> dict[str, Any]:
    today = utcnow().date()
    try:
        found = room.read()
    except Problem:  # told above, among what needs a person
        found = Room()
    return {
        "shares": share_rows(found),
        "stored_bytes": found.total,
        "images": store.images(),
        "week": week_view(traffic.week(today), today),
    }
