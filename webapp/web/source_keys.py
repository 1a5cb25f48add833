# SPDX-License-Identifier: Apache-2.0
"""The page on which a source's new signing key is compared with the old one and accepted."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.errors import Problem
from webapp.models import BootSource
from webapp.services.accounts.rights import Right
from webapp.services.sources import rekeying, sources
from webapp.web.access import me, requires
from webapp.web.source_health import KeyRow, require_managed, row_of

blueprint = Blueprint(
    "source_keys", __name__, url_prefix="/sources/<int(max=2147483647):source_id>"
)

KEY_FORM_BYTES = 2 << 20


@blueprint.get("/key")
@requires(Right.MANAGE)
def show(source_id: int) -> ResponseReturnValue:
    """Show the form for a new key; nothing is fetched."""
    return _page(sources.get(source_id))


@blueprint.post("/key")
@requires(Right.MANAGE, form_bytes=KEY_FORM_BYTES)
def check(source_id: int) -> ResponseReturnValue:
    """Look for the key that signs the stream now, and show it beside the old; saves nothing."""
    source = sources.get(source_id)
    try:
        return _page(source, change=rekeying.propose(source, _entered()))
    except Problem as problem:
        return _page(source, problem=problem, status=422)


@blueprint.post("/key/accept")
@requires(Right.MANAGE, form_bytes=KEY_FORM_BYTES)
def accept(source_id: int) -> ResponseReturnValue:
    """Trust the key that was shown."""
    require_managed()
    source = sources.get(source_id)
    try:
        rekeying.accept(source, request.form.get("fingerprint", ""), me().username, _entered())
    except Problem as problem:
        return _page(source, problem=problem, status=422)
    flash("New key accepted. Checking the source again…", "ok")
    return hx.see_other(url_for("sources.show", source_id=source_id))


def _entered() -> bytes:
    return request.form.get("keyring", "").strip().encode()


def _page(
    source: BootSource,
    *,
    change: rekeying.KeyChange | None = None,
    problem: Problem | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    return hx.render(
        "sources/key.html",
        None,
        status=status,
        row=row_of(source),
        source=source,
        change=change,
        old=[KeyRow(key) for key in change.old] if change else [],
        new=[KeyRow(key) for key in change.new] if change else [],
        problem=problem,
        entered=_entered().decode(),
    )
