# SPDX-License-Identifier: Apache-2.0
"""Uploads: send a file, see what it is, correct its details, follow it until it is an image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from flask import Blueprint, Response, flash, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Optional

from webapp import hx, numbers
from webapp.errors import InvalidFields, Problem
from webapp.extensions import settings
from webapp.http import tus
from webapp.http.bodies import Incoming, drain
from webapp.models import Upload, UploadState
from webapp.services.accounts.rights import Right
from webapp.services.uploads import checking, fetching, uploads
from webapp.services.uploads import fields as upload_fields
from webapp.services.uploads import names as image_names
from webapp.web import forms, upload_rows
from webapp.web.access import me, requires

blueprint = Blueprint("uploads", __name__)

PLAIN_MIB = 256  # what a browser without JavaScript may send in one form
MAX_BODY_BYTES = 1 << 44
ACTIVE = (UploadState.FETCHING, UploadState.CHECKING)
LABELS = {
    "tgz": "tgz: root file system, tar.gz",
    "tbz": "tbz: root file system, tar.bz2",
    "txz": "txz: root file system, tar.xz",
    "ddgz": "ddgz: whole disk, gzip",
    "ddxz": "ddxz: whole disk, xz",
    "ddbz2": "ddbz2: whole disk, bzip2",
    "ddraw": "ddraw: whole disk, uncompressed",
    "ddtgz": "ddtgz: disk in a tar.gz",
    "ddtbz": "ddtbz: disk in a tar.bz2",
    "ddtxz": "ddtxz: disk in a tar.xz",
    "ddtar": "ddtar: disk in a tar",
}


class DeclareForm(FlaskForm):
    """What a file is."""

    name = StringField("Name", [InputRequired("Enter a name.")])
    title = StringField("Title", [Optional()])
    architecture = SelectField(
        "Architecture",
        choices=[SelectChoice(f"{a}/generic", f"{a}/generic") for a in image_names.ARCHES],
        validate_choice=False,
        default="amd64/generic",
    )
    filetype = SelectField(
        "File type", choices=[SelectChoice(w, t) for w, t in LABELS.items()], default="tgz"
    )


class UploadForm(DeclareForm):
    """The same with the file itself."""

    file = FileField("File")


class FetchForm(DeclareForm):
    """The same with where the server gets the file."""

    place = StringField("URL or path", [InputRequired("Enter a URL or a path.")])
    sha256 = StringField("SHA-256", [Optional()])


@blueprint.get("/uploads/")
@requires(Right.UPLOAD)
def index() -> ResponseReturnValue:
    """Send a file; see what is under way."""
    return _page(UploadForm(None), FetchForm(None))


@blueprint.get("/uploads/list")
@requires(Right.UPLOAD)
def listing() -> ResponseReturnValue:
    """The list alone; polled while something is being checked."""
    return hx.part("uploads/_list.html", **_listed())


@blueprint.post("/uploads/")
@requires(Right.UPLOAD, form_bytes=(PLAIN_MIB + 1) << 20)
def send() -> ResponseReturnValue:
    """Take a file in one form, for browsers without JavaScript."""
    form = UploadForm()
    sent = form.file.data
    if not sent or not getattr(sent, "filename", ""):
        form.validate()
        form.file.errors = ["Choose a file."]
        return _page(form, FetchForm(None), status=422)
    with closing(sent):
        size = sent.stream.seek(0, 2)
        sent.stream.seek(0)
        try:
            upload = uploads.create(
                _declared(form, size=size, origin="browser", place=sent.filename), me().username
            )
        except InvalidFields as problem:
            forms.show(problem, form)
            return _page(form, FetchForm(None), status=422)
        uploads.append(upload, iter(lambda: sent.stream.read(1 << 20), b""))
    checking.inspect_early(upload)
    return hx.see_other(url_for("uploads.show", upload_id=upload.id))


@blueprint.post("/uploads/fetch")
@requires(Right.UPLOAD)
def fetch() -> ResponseReturnValue:
    """Have the server download a file, or read it from a path."""
    form = FetchForm()
    if not form.validate():
        return _page(UploadForm(None), form, status=422)
    place = form.place.data.strip()
    is_url = "://" in place
    values = {
        "name": form.name.data,
        "architecture": form.architecture.data,
        "filetype": form.filetype.data,
        "title": form.title.data or "",
        "sha256": form.sha256.data or "",
    }
    where = {"url": place} if is_url else {"path": place}
    try:
        upload = fetching.begin(values, me().username, **where)
    except InvalidFields as problem:
        fields = {("place" if n in ("url", "path") else n): m for n, m in problem.fields.items()}
        forms.show(InvalidFields(fields), form)
        return _page(UploadForm(None), form, status=422)
    except Problem as problem:
        return _page(UploadForm(None), form, status=422, problem=problem)
    return hx.see_other(url_for("uploads.show", upload_id=upload.id))


@blueprint.post("/uploads/look")
@requires(Right.UPLOAD, form_bytes=MAX_BODY_BYTES)
def inspect_start() -> ResponseReturnValue:
    """Inspect a file by its first megabyte, which is the body; nothing is stored."""
    args = request.args
    size = args.get("size", "")
    report = checking.of_head(
        Incoming(request).pieces(),
        args.get("name", "")[:200],
        args.get("architecture", "")[:100],
        args.get("filetype", "")[:40],
        size=numbers.whole(size, digits=15),
        user=me().username,
    )
    drain(request)
    found = report.as_dict()
    verdict = upload_rows.verdict(found, None)
    return hx.part("uploads/_verdict.html", report=found, verdict=verdict, upload=None)


@blueprint.get("/uploads/<int(max=2147483647):upload_id>")
@requires(Right.UPLOAD)
def show(upload_id: int) -> ResponseReturnValue:
    """One upload: how far, what it is, what to do."""
    upload = uploads.find(upload_id)
    return hx.render("uploads/show.html", "uploads/_state.html", **_shown(upload))


@blueprint.post("/uploads/<int(max=2147483647):upload_id>/declare")
@requires(Right.UPLOAD)
def declare(upload_id: int) -> ResponseReturnValue:
    """Correct the details of an upload; it is inspected again."""
    upload = uploads.find(upload_id)
    names = ("name", "architecture", "filetype", "title")
    changed = {name: request.form[name] for name in names if name in request.form}
    try:
        checking.declare(upload, changed, me().username)
    except InvalidFields as problem:
        return hx.render(
            "uploads/show.html", None, status=422, **_shown(uploads.find(upload_id), problem)
        )
    return hx.see_other(url_for("uploads.show", upload_id=upload_id))


@blueprint.get("/uploads/<int(max=2147483647):upload_id>/drop")
@requires(Right.UPLOAD)
def confirm_drop(upload_id: int) -> ResponseReturnValue:
    """Ask before received bytes are deleted."""
    upload = uploads.find(upload_id)
    uploads.demand_droppable(upload)
    return hx.render("uploads/drop.html", None, upload=upload)


@blueprint.post("/uploads/<int(max=2147483647):upload_id>/drop")
@requires(Right.UPLOAD)
def drop(upload_id: int) -> ResponseReturnValue:
    """Discard an upload with its bytes."""
    upload = uploads.find(upload_id)
    name = upload.name
    uploads.drop(upload, me().username)
    flash(f"Upload of {name} discarded.", "ok")
    return hx.see_other(url_for("uploads.index"))


@blueprint.post("/uploads/drop-rejected")
@requires(Right.UPLOAD)
def drop_rejected() -> ResponseReturnValue:
    """Discard all rejected uploads with their bytes."""
    count = uploads.drop_rejected(me().username)
    flash(f"Discarded {numbers.counted(count, 'rejected upload')}.", "ok")
    return hx.see_other(url_for("uploads.index"))


@blueprint.post("/uploads/<int(max=2147483647):upload_id>/digest")
@requires(Right.UPLOAD)
def note_digest(upload_id: int) -> ResponseReturnValue:
    """Note the SHA-256 that the browser computed; known bytes need not be sent."""
    upload = uploads.find(upload_id)
    digest = upload_fields.read_sha256(request.form.get("sha256", ""))
    if digest and not upload.sha256 and upload.is_open:
        uploads.note_digest(upload, digest)
    return jsonify(state=upload.state)


# -- the bytes, by tus


@blueprint.post("/uploads/files")
@requires(Right.UPLOAD, form_bytes=MAX_BODY_BYTES)
def begin() -> Response:
    """Begin (tus, extension Creation)."""
    return _tus(lambda: tus.create(request, me().username, "browser", "/uploads/files/"))


@blueprint.get("/uploads/files/<int(max=2147483647):upload_id>")
@requires(Right.UPLOAD)
def ask(upload_id: int) -> Response:
    """The offset to resume from."""
    return _tus(lambda: tus.head(request, upload_id))


@blueprint.route("/uploads/files/<int(max=2147483647):upload_id>", methods=["PATCH"])
@requires(Right.UPLOAD, form_bytes=MAX_BODY_BYTES)
def receive(upload_id: int) -> Response:
    """The next bytes."""
    return _tus(lambda: tus.patch(request, upload_id))


@blueprint.delete("/uploads/files/<int(max=2147483647):upload_id>")
@requires(Right.UPLOAD)
def forget(upload_id: int) -> Response:
    """Forget it."""
    return _tus(lambda: tus.delete(request, upload_id, me().username))


def _tus(call: Callable[[], Response]) -> Response:
    try:
        return call()
    except Problem as problem:
        drain(request)
        return tus.refuse(problem)


def _declared(form: DeclareForm, **more: Any) -> upload_fields.Declared:
    return upload_fields.Declared(
        name=form.name.data or "",
        architecture=form.architecture.data or "",
        filetype=form.filetype.data or "",
        title=form.title.data or "",
        **more,
    )


def _page(
    form: UploadForm, fetch_form: FetchForm, status: int = 200, problem: Problem | None = None
) -> ResponseReturnValue:
    return hx.render(
        "uploads/index.html",
        None,
        status=status,
        form=form,
        fetch_form=fetch_form,
        problem=problem,
        plain_mib=PLAIN_MIB,
        most_gb=settings().upload_max_gb,
        import_dir=str(settings().import_dir),
        **_listed(),
    )


def _listed() -> dict[str, Any]:
    rows = uploads.listed(limit=50)
    is_open = [row for row in rows if row.is_open]
    ended = [row for row in rows if not row.is_open]
    return {
        "rows": [upload_rows.upload_row(row) for row in (*is_open, *ended[:10])],
        "is_active": any(row.state in ACTIVE for row in rows),
        "rejected": sum(row.state == UploadState.REJECTED for row in rows),
    }


def _shown(upload: Upload, problem: InvalidFields | None = None) -> dict[str, Any]:
    word = image_names.WORDS.get(upload.ftype, upload.ftype)
    form = DeclareForm(
        None,
        data={
            "name": upload.name,
            "title": upload.title,
            "architecture": upload.architecture,
            "filetype": word,
        },
    )
    if problem is not None:
        form = DeclareForm()
        form.validate()
        forms.show(problem, form)
    return {
        "row": upload_rows.upload_row(upload),
        "report": upload.report or None,
        "verdict": upload_rows.verdict(upload.report, UploadState(upload.state))
        if upload.report
        else None,
        "word": word,
        "form": form,
        "is_active": upload.state in ACTIVE,
        "expires_at": uploads.expires_at(upload) if upload.is_open else None,
    }
