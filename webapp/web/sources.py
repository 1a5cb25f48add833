# SPDX-License-Identifier: Apache-2.0
"""Boot sources: list, connect (a preview that saves nothing), save, change, remove."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.errors import InvalidFields, Problem
from webapp.extensions import settings
from webapp.models import BootSource
from webapp.services.accounts.rights import Right, may
from webapp.services.imports import moves
from webapp.services.imports import offers as offering
from webapp.services.sources import (
    accepting,
    catalogue,
    client_certs,
    refreshing,
    rekeying,
    sources,
    steps,
)
from webapp.services.sources.drafts import (
    MAAS_IO_FINGERPRINT,
    MAX_CONFIRMED,
    MAX_PRIORITY,
    SourceDraft,
    grouped,
    maas_io_key,
)
from webapp.services.sources.naming import title_of
from webapp.services.system import live_settings
from webapp.services.system.live_settings import SOAK_DAYS
from webapp.streams.errors import Disagreement, StreamsBelow
from webapp.web import source_form, source_health
from webapp.web.access import me, requires
from webapp.web.source_form import SourceForm
from webapp.web.source_health import KeyRow, is_managed, require_managed, row_of

blueprint = Blueprint("sources", __name__, url_prefix="/sources")
blueprint.add_app_template_filter(grouped, "fingerprint")
blueprint.add_app_template_filter(title_of, "source_title")

KEYRING_FORM_BYTES = 4 << 20  # a keyring as a file, as text, or sealed in the preview


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """List the sources, the one that wins first."""
    rows = source_health.rows()
    return hx.render(
        "sources/index.html",
        "sources/_list.html",
        rows=rows,
        announcement=" ".join(f"{row.title}: {row.health.text}." for row in rows),
        is_managed=is_managed(),
        change=steps.recent(),
        is_reading=any(row.health.is_checking for row in rows),
    )


@blueprint.get("/offers")
@requires(Right.SEE)
def offers() -> ResponseReturnValue:
    """Show which source provides each image, and why."""
    is_all = request.args.get("all") == "yes"
    found = offering.read(wants_all=is_all)
    return hx.render(
        "sources/offers.html",
        None,
        found=found,
        change=steps.recent(),
        is_all=is_all,
        is_managed=is_managed(),
    )


@blueprint.get("/new")
@requires(Right.MANAGE)
def new() -> ResponseReturnValue:
    """Show the empty form."""
    form = SourceForm(stream="stable", keyring_filename=settings().default_keyring)
    return _form_page(form, None)


@blueprint.post("/connect")
@requires(Right.MANAGE, form_bytes=KEYRING_FORM_BYTES)
def connect() -> ResponseReturnValue:
    """Connect to the source of the form and show what it offers; saves nothing."""
    return _connect(None)


@blueprint.post("/form")
@requires(Right.MANAGE, form_bytes=KEYRING_FORM_BYTES)
def reopen() -> ResponseReturnValue:
    """Go back from the preview to the form, with everything that was entered."""
    draft = _previewed()
    return _form_page(source_form.carry(source_form.form_of(draft), draft), None)


@blueprint.post("/")
@requires(Right.MANAGE, form_bytes=KEYRING_FORM_BYTES)
def create() -> ResponseReturnValue:
    """Save the source that was previewed."""
    require_managed()
    source = sources.add(_previewed(), me().username)
    flash(f"Saved {title_of(source)}. Reading its catalogue…", "ok")
    return hx.see_other(url_for("sources.show", source_id=source.id))


@blueprint.get("/<int(max=2147483647):source_id>")
@requires(Right.SEE)
def show(source_id: int) -> ResponseReturnValue:
    """Show one source: who signs, how old, what it offers, problems."""
    source = sources.get(source_id)
    row = row_of(source)
    keys: tuple[KeyRow, ...] = ()
    keyring_problem = None
    try:
        keyring = sources.keyring_of(source)
        keys = tuple(KeyRow(key) for key in keyring.keys) if keyring else ()
    except Problem as problem:
        keyring_problem = problem
    return hx.render(
        "sources/show.html",
        "sources/_health.html",
        row=row,
        source=source,
        keys=keys,
        keyring_problem=keyring_problem,
        maas_io_fingerprint=maas_io_key(source.url, source.keyring_filename),
        is_key_due=rekeying.is_due(source),
        is_state_due=accepting.is_due(source),
        has_rivals=len(sources.all_sources()) > 1,
        soak_days=live_settings.read(SOAK_DAYS),
        max_priority=MAX_PRIORITY,
        route=sources.route_of(source) if may(me().role, Right.MANAGE) else "",
        client_cert=client_certs.subject_of(source.client_cert),
        is_managed=is_managed(),
        is_reading=row.health.is_checking,
    )


@blueprint.get("/<int(max=2147483647):source_id>/edit")
@requires(Right.MANAGE)
def edit(source_id: int) -> ResponseReturnValue:
    """Show the form of a source; its secret is never sent back."""
    source = sources.get(source_id)
    return _form_page(source_form.form_of(source), source)


@blueprint.post("/<int(max=2147483647):source_id>/connect")
@requires(Right.MANAGE, form_bytes=KEYRING_FORM_BYTES)
def reconnect(source_id: int) -> ResponseReturnValue:
    """Preview a changed source; saves nothing."""
    return _connect(sources.get(source_id))


@blueprint.post("/<int(max=2147483647):source_id>/form")
@requires(Right.MANAGE, form_bytes=KEYRING_FORM_BYTES)
def reopen_change(source_id: int) -> ResponseReturnValue:
    """Go back from the preview of a change to its form."""
    source, draft = sources.get(source_id), _previewed()
    return _form_page(source_form.carry(source_form.form_of(draft), draft), source)


@blueprint.post("/<int(max=2147483647):source_id>")
@requires(Right.MANAGE, form_bytes=KEYRING_FORM_BYTES)
def update(source_id: int) -> ResponseReturnValue:
    """Save the changed source that was previewed."""
    require_managed()
    source = sources.get(source_id)
    sources.update_source(source, _previewed(), me().username)
    flash("Boot source saved. Selections and stored images aren't affected.", "ok")
    return hx.see_other(url_for("sources.show", source_id=source_id))


@blueprint.post("/<int(max=2147483647):source_id>/refresh")
@requires(Right.IMPORT)
def refresh(source_id: int) -> ResponseReturnValue:
    """Have the worker read the source now."""
    refreshing.mark_unread(sources.get(source_id))
    return hx.see_other(url_for("sources.show", source_id=source_id))


@blueprint.post("/<int(max=2147483647):source_id>/accept")
@requires(Right.MANAGE, form_bytes=KEYRING_FORM_BYTES)
def accept(source_id: int) -> ResponseReturnValue:
    """Accept the products that a mirror's index and documents disagree on."""
    require_managed()
    source = sources.get(source_id)
    sources.accept(source, request.form.getlist("product"), me().username)
    flash("Accepted. Checking the source again…", "ok")
    return hx.see_other(url_for("sources.show", source_id=source_id))


# -- the form and its preview


def _connect(source: BootSource | None) -> ResponseReturnValue:
    form = SourceForm()
    form.url.data = request.form.get("found_url") or form.url.data
    draft = source_form.draft_from(form, source)
    try:
        if not form.validate_on_submit():
            return _form_page(source_form.carry(form, draft), source, status=422)
        source_form.check_consent(form, draft)
        preview = sources.connect(draft, source.id if source else None)
    except InvalidFields as problem:
        source_form.show_errors(form, problem)
        source_form.carry(form, draft, is_keyring_bad="keyring_data" in problem.fields)
        return _form_page(form, source, status=422)
    except Problem as problem:
        return _form_page(source_form.carry(form, draft), source, problem=problem, status=422)
    return hx.render(
        "sources/preview.html",
        "sources/_preview.html",
        source=source,
        sealed=source_form.seal_draft(draft),
        draft=draft,
        preview=preview,
        offered=catalogue.offered(preview.offers),
        signer=grouped(preview.fingerprint),
        found=moves.of_stream(source, draft, preview.offers) if source else None,
    )


def _form_page(
    form: SourceForm,
    source: BootSource | None,
    *,
    problem: Problem | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    others = [s for s in sources.all_sources() if source is None or s.id != source.id]
    return hx.render(
        "sources/form.html",
        "sources/_form.html",
        status=status,
        form=form,
        source=source,
        problem=problem,
        differences=problem.differences[: MAX_CONFIRMED + 1]
        if isinstance(problem, Disagreement)
        else [],
        found=problem.found if isinstance(problem, StreamsBelow) else (),
        maas_io_fingerprint=grouped(MAAS_IO_FINGERPRINT),
        others=others,
        locks_pages=settings().single_source and source is None and len(others) == 1,
        is_managed=is_managed(),
    )


def _previewed() -> SourceDraft:
    return source_form.open_draft(request.form.get("draft", ""))
