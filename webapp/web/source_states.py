# SPDX-License-Identifier: Apache-2.0
"""The page on which the state of an older or edited stream is compared and accepted."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.errors import Problem
from webapp.models import BootSource
from webapp.services.accounts.rights import Right
from webapp.services.sources import accepting, sources
from webapp.services.sources.accepting import StateChange
from webapp.web.access import me, requires
from webapp.web.source_health import require_managed, row_of

blueprint = Blueprint(
    "source_states", __name__, url_prefix="/sources/<int(max=2147483647):source_id>/state"
)


@blueprint.post("")
@requires(Right.MANAGE)
def check(source_id: int) -> ResponseReturnValue:
    """Read the stream and show how it differs from what is known; saves nothing."""
    source = sources.get(source_id)
    try:
        return _page(source, accepting.propose(source))
    except Problem as problem:
        return _page(source, problem=problem)


@blueprint.post("/accept")
@requires(Right.MANAGE)
def accept(source_id: int) -> ResponseReturnValue:
    """Accept exactly the state that was shown."""
    require_managed()
    source = sources.get(source_id)
    try:
        accepting.accept(source, request.form.get("state", ""), me().username)
    except Problem as problem:
        return _page(source, problem=problem)
    flash("State accepted. The next import follows it.", "ok")
    return hx.see_other(url_for("sources.show", source_id=source_id))


def _page(
    source: BootSource, change: StateChange | None = None, *, problem: Problem | None = None
) -> ResponseReturnValue:
    return hx.render(
        "sources/state.html",
        None,
        status=422 if problem else 200,
        row=row_of(source),
        change=change,
        problem=problem,
        is_due=accepting.is_due(source),
    )
