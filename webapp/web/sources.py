# SPDX-License-Identifier: Apache-2.0
"""Boot sources: list, connect (a preview that saves nothing), save, change, remove."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from sqlalchemy import func, select
from wtforms import BooleanField, IntegerField, PasswordField, RadioField, StringField
from wtforms import TextAreaField as TextArea
from wtforms.fields import SelectChoice
from wtforms.validators import Length, NumberRange, Optional

from webapp import hx, jobs
from webapp.errors import InvalidFields, Problem
from webapp.extensions import db, settings
from webapp.models import BootSource, BootSourceCache, BootSourceSelection, Role
from webapp.services import secrets, sources
from webapp.services.sources import MAAS_IO_FINGERPRINT, Preview, SourceDraft, grouped
from webapp.streams.keyrings import KeyInfo
from webapp.web.access import me, requires

blueprint = Blueprint("sources", __name__, url_prefix="/sources")
blueprint.add_app_template_filter(grouped, "fingerprint")

MAAS_IO = "https://images.maas.io/ephemeral-v3/"
STREAMS = ("stable", "daily", "candidate")
DRAFT_MAX_AGE_S = 3600
KEYRING_FORM_BYTES = 4 << 20  # a keyring as a file, as text, or sealed in the preview


class SourceForm(FlaskForm):
    """What a source is; which of the keyring fields counts is up to services.sources."""

    stream = RadioField(
        "Where images come from",
        choices=[
            SelectChoice("stable", "maas.io stable: tested images, for most labs"),
            SelectChoice("daily", "maas.io daily: rebuilt often, newest fixes first"),
            SelectChoice("candidate", "maas.io candidate: what becomes stable next"),
            SelectChoice("custom", "Custom: a mirror of your own"),
        ],
        default="stable",
    )
    url = StringField("Mirror URL", validators=[Optional(), Length(max=2000)])
    keyring_filename = StringField("Keyring path", validators=[Optional(), Length(max=4096)])
    keyring_file = FileField("Keyring file")
    keyring_text = TextArea("Keyring contents", validators=[Optional(), Length(max=1 << 20)])
    is_unsigned = BooleanField("This source is not signed, and I take what it sends as it is")
    unsigned_host = StringField("Type the host name to confirm", validators=[Optional()])
    name = StringField("Name", validators=[Optional(), Length(max=80)])
    priority = IntegerField("Priority", validators=[Optional(), NumberRange(0, 1_000_000)])
    proxy_url = StringField("Proxy", validators=[Optional(), Length(max=2000)])
    ca_file = StringField("CA file", validators=[Optional(), Length(max=4096)])
    auth_kind = RadioField(
        "Login",
        choices=[
            SelectChoice("none", "None"),
            SelectChoice("basic", "User and password"),
            SelectChoice("bearer", "Bearer token"),
        ],
        default="none",
    )
    auth_username = StringField("User", validators=[Optional(), Length(max=200)])
    auth_secret = PasswordField("Password or token", validators=[Optional(), Length(max=4096)])


@dataclass(frozen=True)
class Health:
    """How a source is doing, in words; ``problem`` says what to do when it is not well."""

    level: str  # ok, warn, error, busy
    word: str
    detail: str
    problem: Problem | None


@dataclass(frozen=True)
class SourceRow:
    """A source as the list shows it."""

    source: BootSource
    health: Health
    products: int
    selections: int
    signer: str


@blueprint.get("/")
@requires(Role.VIEWER)
def index() -> ResponseReturnValue:
    """List the sources, the one that wins first."""
    rows = _rows()
    return hx.render(
        "sources/index.html",
        "sources/_list.html",
        rows=rows,
        is_managed=is_managed(),
        is_reading=any(row.health.level == "busy" for row in rows),
    )


@blueprint.get("/new")
@requires(Role.ADMINISTRATOR)
def new() -> ResponseReturnValue:
    """Show the empty form."""
    form = SourceForm(stream="stable", keyring_filename=settings().default_keyring)
    return _form_page(form, None)


@blueprint.post("/connect")
@requires(Role.ADMINISTRATOR, form_bytes=KEYRING_FORM_BYTES)
def connect() -> ResponseReturnValue:
    """Read the source of the form and show what it offers; saves nothing."""
    return _connect(None)


@blueprint.post("/")
@requires(Role.ADMINISTRATOR, form_bytes=KEYRING_FORM_BYTES)
def create() -> ResponseReturnValue:
    """Save the source that was previewed."""
    source = sources.add(_sealed_draft(), me().username)
    jobs.wake(settings())
    flash(f"Saved {source.name or source.url}. Its catalogue is being read.", "ok")
    return hx.see_other(url_for("sources.show", source_id=source.id))


@blueprint.get("/<int(max=2147483647):source_id>")
@requires(Role.VIEWER)
def show(source_id: int) -> ResponseReturnValue:
    """Show one source: who signs, how old, what it offers, what is wrong."""
    source = sources.get(source_id)
    row = _row(source, *_counts())
    keys: tuple[KeyInfo, ...] = ()
    keyring_problem = None
    try:
        keyring = sources.keyring_of(source)
        keys = keyring.keys if keyring else ()
    except Problem as problem:
        keyring_problem = problem
    return hx.render(
        "sources/show.html",
        "sources/_health.html",
        row=row,
        source=source,
        keys=keys,
        keyring_problem=keyring_problem,
        maas_io_fingerprint=grouped(MAAS_IO_FINGERPRINT),
        is_managed=is_managed(),
        is_reading=row.health.level == "busy",
    )


@blueprint.get("/<int(max=2147483647):source_id>/edit")
@requires(Role.ADMINISTRATOR)
def edit(source_id: int) -> ResponseReturnValue:
    """Show the form of a source; its secret is never sent back."""
    source = sources.get(source_id)
    stream = next((s for s in STREAMS if source.url == f"{MAAS_IO}{s}/"), "custom")
    text = (source.keyring_data or b"").decode("ascii", "ignore")
    form = SourceForm(
        obj=source,
        stream=stream,
        keyring_text=text if text.startswith("-----BEGIN") else "",
        auth_secret="",
    )
    return _form_page(form, source)


@blueprint.post("/<int(max=2147483647):source_id>/connect")
@requires(Role.ADMINISTRATOR, form_bytes=KEYRING_FORM_BYTES)
def reconnect(source_id: int) -> ResponseReturnValue:
    """Preview a changed source; saves nothing."""
    return _connect(sources.get(source_id))


@blueprint.post("/<int(max=2147483647):source_id>")
@requires(Role.ADMINISTRATOR, form_bytes=KEYRING_FORM_BYTES)
def update(source_id: int) -> ResponseReturnValue:
    """Save the changed source that was previewed."""
    source = sources.get(source_id)
    sources.update_source(source, _sealed_draft(), me().username)
    jobs.wake(settings())
    flash("Saved. Selections and stored images stay as they are.", "ok")
    return hx.see_other(url_for("sources.show", source_id=source_id))


@blueprint.post("/<int(max=2147483647):source_id>/refresh")
@requires(Role.OPERATOR)
def refresh(source_id: int) -> ResponseReturnValue:
    """Have the worker read the source now."""
    sources.mark_unread(sources.get(source_id))
    jobs.wake(settings())
    return hx.see_other(url_for("sources.show", source_id=source_id))


@blueprint.post("/<int(max=2147483647):source_id>/switch")
@requires(Role.ADMINISTRATOR)
def switch(source_id: int) -> ResponseReturnValue:
    """Turn a source on or off without losing anything of it."""
    source = sources.get(source_id)
    draft = replace(sources.draft_of(source), is_enabled=not source.is_enabled)
    sources.update_source(source, draft, me().username)
    return hx.see_other(url_for("sources.show", source_id=source_id))


@blueprint.get("/<int(max=2147483647):source_id>/remove")
@requires(Role.ADMINISTRATOR)
def confirm_remove(source_id: int) -> ResponseReturnValue:
    """Say what goes with the source and ask."""
    source = sources.get(source_id)
    return hx.render("sources/remove.html", None, row=_row(source, *_counts()), source=source)


@blueprint.post("/<int(max=2147483647):source_id>/remove")
@requires(Role.ADMINISTRATOR)
def remove(source_id: int) -> ResponseReturnValue:
    """Remove the source; stored images stay until the next import."""
    source = sources.get(source_id)
    sources.remove(source, me().username)
    flash(f"Removed {source.name or source.url}.", "ok")
    return hx.see_other(url_for("sources.index"))


def is_managed() -> bool:
    """False in the seed's single-source mode when there is more than one source."""
    if not settings().single_source:
        return True
    return (db.session.scalar(select(func.count(BootSource.id))) or 0) <= 1


# -- the form and its preview


def _connect(source: BootSource | None) -> ResponseReturnValue:
    form = SourceForm()
    if not form.validate_on_submit():
        return _form_page(form, source, status=422)
    draft = _draft(form, source)
    if draft is None:
        return _form_page(form, source, status=422)
    try:
        preview = sources.connect(draft, source.id if source else None)
    except InvalidFields as problem:
        _show_errors(form, problem)
        return _form_page(form, source, status=422)
    except Problem as problem:
        return _form_page(form, source, problem=problem, status=422)
    return hx.render(
        "sources/preview.html",
        "sources/_preview.html",
        source=source,
        sealed=secrets.seal(_as_json(draft)),
        draft=draft,
        preview=preview,
        offered=_offered(preview),
        age_days=_age_days(preview.index_updated_at),
        signer=grouped(preview.fingerprint),
    )


def _draft(form: SourceForm, source: BootSource | None) -> SourceDraft | None:
    stream = form.stream.data
    url = form.url.data or "" if stream == "custom" else f"{MAAS_IO}{stream}/"
    upload = form.keyring_file.data
    data = upload.read(2 << 20) if upload else b""
    data = data or (form.keyring_text.data or "").strip().encode()
    if not data and not form.keyring_filename.data and source is not None:
        data = source.keyring_data or b""  # a binary keyring is not shown in the form
    if form.is_unsigned.data and not _is_confirmed(form, url):
        return None
    secret = form.auth_secret.data or ""
    if not secret and source is not None and form.auth_kind.data == source.auth_kind:
        secret = secrets.unseal(source.auth_secret)
    return SourceDraft(
        url=url,
        name=form.name.data or ("" if stream == "custom" else f"maas.io {stream}"),
        priority=form.priority.data
        if form.priority.data is not None
        else (source.priority if source else None),
        is_enabled=source.is_enabled if source else True,
        keyring_filename="" if data else (form.keyring_filename.data or "").strip(),
        keyring_data=data or None,
        is_unsigned=bool(form.is_unsigned.data),
        proxy_url=form.proxy_url.data or "",
        ca_file=form.ca_file.data or "",
        auth_kind=form.auth_kind.data or "none",
        auth_username=form.auth_username.data or "",
        auth_secret=secret,
    )


def _is_confirmed(form: SourceForm, url: str) -> bool:
    """An unsigned source is consented to by typing its host name (trust 2.2)."""
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if host and (form.unsigned_host.data or "").strip() in (host, host.partition(":")[0]):
        return True
    form.unsigned_host.errors = [f"Type {host or 'the host name'} to take it unsigned."]
    return False


def _show_errors(form: SourceForm, problem: InvalidFields) -> None:
    names = {"keyring_data": "keyring_text", "__all__": "keyring_filename"}
    for name, messages in problem.fields.items():
        field = form._fields.get(names.get(name, name)) or form.url
        field.errors = [*field.errors, *messages]


def _form_page(
    form: SourceForm,
    source: BootSource | None,
    *,
    problem: Problem | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    return hx.render(
        "sources/form.html",
        "sources/_form.html",
        status=status,
        form=form,
        source=source,
        problem=problem,
        maas_io_fingerprint=grouped(MAAS_IO_FINGERPRINT),
        others=[s for s in sources.all_sources() if source is None or s.id != source.id],
    )


def _as_json(draft: SourceDraft) -> str:
    values = asdict(draft)
    values["keyring_data"] = base64.b64encode(draft.keyring_data or b"").decode()
    return json.dumps(values)


def _sealed_draft() -> SourceDraft:
    """The previewed draft, which the page carried encrypted: no secret is shown to anybody."""
    sealed = request.form.get("draft", "")
    if not sealed:
        raise Problem(
            "There is no preview to save.",
            code="draft-missing",
            next_step="Fill in the form and connect; the preview can then be saved.",
        )
    values = json.loads(secrets.unseal(sealed, max_age_s=DRAFT_MAX_AGE_S))
    values["keyring_data"] = base64.b64decode(values["keyring_data"]) or None
    return SourceDraft(**values)


@dataclass(frozen=True)
class OfferedRelease:
    """One line of the preview: a release with its architectures and their bytes together."""

    title: str
    arches: tuple[str, ...]
    size: int


def _offered(preview: Preview) -> list[OfferedRelease]:
    groups: dict[str, tuple[set[str], dict[str, int]]] = {}
    for offer in preview.offers:
        if offer.bootloader_type:
            continue
        arches, files = groups.setdefault(offer.title or offer.release, (set(), {}))
        arches.add(offer.arch)
        files |= {item.sha256: item.size for item in offer.items}
    return [
        OfferedRelease(title, tuple(sorted(arches)), sum(files.values()))
        for title, (arches, files) in sorted(groups.items(), reverse=True)
    ]


# -- rows of the list


def _counts() -> tuple[dict[int, int], dict[int, int]]:
    products = db.session.execute(
        select(BootSourceCache.source_id, func.count()).group_by(BootSourceCache.source_id)
    )
    picked = db.session.execute(
        select(BootSourceSelection.source_id, func.count()).group_by(BootSourceSelection.source_id)
    )
    return {row[0]: row[1] for row in products}, {row[0]: row[1] for row in picked}


def _rows() -> list[SourceRow]:
    counts = _counts()
    return [_row(source, *counts) for source in sources.all_sources()]


def _row(source: BootSource, products: dict[int, int], picked: dict[int, int]) -> SourceRow:
    return SourceRow(
        source=source,
        health=health_of(source),
        products=products.get(source.id, 0),
        selections=picked.get(source.id, 0),
        signer=grouped(source.signer_fingerprint),
    )


def health_of(source: BootSource) -> Health:
    """Judge a source by its last refresh; nothing of it is kept, so nothing gets stuck."""
    problem = sources.problem_of(source)
    if not source.is_enabled:
        return Health("warn", "Off", "Nothing is imported from it until it is turned on.", None)
    if source.checked_at is None:
        return Health("busy", "Reading", "The worker reads its catalogue.", None)
    if problem is not None:
        return Health("error", "Not readable", problem.what, problem)
    age = _age_days(source.index_updated_at)
    if age is not None and age > settings().stale_days:
        detail = f"Its index is {age} days old. Is the mirror still updated?"
        return Health("warn", "Stale", detail, None)
    return Health("ok", "Good", "", None)


def _age_days(at: datetime | None) -> int | None:
    return max(timedelta(0), datetime.now(UTC) - at).days if at else None
