# SPDX-License-Identifier: Apache-2.0
"""``/uploads``: what is under way, and the bytes by tus below ``/uploads/files``."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any, ClassVar

from flask import Response, request
from pydantic import Field

from webapp.api.v1.dispatch import API, Call, Endpoint
from webapp.api.v1.schemas import Given, Page, Told
from webapp.http import tus
from webapp.models import Upload
from webapp.services.accounts.tokens import Scope
from webapp.services.uploads import checking, fetching, names, uploads

TAG = "uploads"
FILES = "/uploads/files"
ONE = "/uploads/<int:id>"


class UploadFilter(Given):
    """Which uploads: those under way, those that ended, or all."""

    open: bool | None = None
    limit: int = Field(100, ge=1, le=1000)


class UploadTold(Told):
    """An upload. received: bytes that need not be sent again.

    files_url: where its bytes go, by tus. report: what the file is found to be.
    problem: why it is no image, with what to do about it.
    """

    VOLATILE: ClassVar[frozenset[str]] = frozenset(
        {"received", "checked", "touched_at", "expires_at", "report"}
    )

    id: int
    state: str
    origin: str
    place: str
    actor: str
    name: str
    architecture: str
    title: str
    filetype: str
    base_image: str
    size: int
    received: int
    checked: int
    sha256: str
    version: str
    resource_id: int | None
    report: dict[str, Any]
    problem: dict[str, Any]
    files_url: str
    created_at: datetime
    touched_at: datetime
    expires_at: datetime | None
    finished_at: datetime | None


def read_all(call: Call) -> Page[UploadTold]:
    """List uploads, the newest first."""
    rows = uploads.listed(is_open=call.query.open, limit=call.query.limit)
    return Page[UploadTold](items=[told(row) for row in rows])


def read(call: Call, id: int) -> UploadTold:
    """Read an upload."""
    return told(uploads.find(id))


def drop(call: Call, id: int) -> None:
    """Forget an upload with its bytes."""
    uploads.drop(uploads.find(id), call.actor)


def begin(call: Call) -> Response:
    """Begin to upload a file (tus 1.0.0, extension Creation)

    Upload-Length says its size; Upload-Metadata carries name, architecture, filetype,
    title, base_image, sha256 and filename. The answer's Location takes the bytes.
    """
    return tus.create(request, call.actor, _origin(), f"{API}{FILES}/")


def ask(call: Call, id: int) -> Response:
    """Ask where to go on, with HEAD (tus 1.0.0); Upload-Offset is the first missing byte."""
    return tus.head(request, id)


def send(call: Call, id: int) -> Response:
    """Send the next bytes (tus 1.0.0); Upload-Checksum may carry their sha256."""
    return tus.patch(request, id)


def forget(call: Call, id: int) -> Response:
    """Forget an upload (tus 1.0.0, extension Termination)."""
    return tus.delete(request, id, call.actor)


def told(row: Upload) -> UploadTold:
    """An upload as clients read it."""
    return UploadTold(
        id=row.id,
        state=row.state,
        origin=row.origin,
        place=row.place,
        actor=row.actor,
        name=row.name,
        architecture=row.architecture,
        title=row.title,
        filetype=names.WORDS.get(row.ftype, row.ftype),
        base_image=row.base_image,
        size=row.size,
        received=row.received,
        checked=row.checked,
        sha256=row.sha256,
        version=row.version,
        resource_id=row.resource_id,
        report=row.report,
        problem=row.problem,
        files_url=f"{API}{FILES}/{row.id}" if row.is_open else "",
        created_at=row.created_at,
        touched_at=row.touched_at,
        expires_at=uploads.expires_at(row) if row.is_open else None,
        finished_at=row.finished_at,
    )


def _origin() -> str:
    return "cli" if request.headers.get("User-Agent", "").startswith("slipway/") else "api"


class UploadGiven(Given):
    """A file that the server gets by itself: from an address, or from its import folder.

    sha256: needed for an address. path: below SLIPWAY_IMPORT_DIR.
    """

    name: str = Field(max_length=201)
    architecture: str = Field("amd64/generic", max_length=100)
    filetype: str = Field("tgz", max_length=40)
    title: str = Field("", max_length=200)
    base_image: str = Field("", max_length=200)
    sha256: str = Field("", max_length=64)
    url: str = Field("", max_length=2000)
    path: str = Field("", max_length=1000)


class UploadChange(Given):
    """Another declaration of a file that came; what is left out stays."""

    name: str | None = Field(None, max_length=201)
    architecture: str | None = Field(None, max_length=100)
    filetype: str | None = Field(None, max_length=40)
    title: str | None = Field(None, max_length=200)


class LookGiven(Given):
    """What the file is meant to be, and its size in bytes."""

    filetype: str = Field("", max_length=40)
    name: str = Field("", max_length=201)
    architecture: str = Field("", max_length=100)
    size: int | None = Field(None, ge=0, le=1 << 50)


class LookTold(Told):
    """What a file is, as far as its first megabyte tells. verdict: ok, warn or reject."""

    verdict: str
    words: str
    suggested: dict[str, str]
    reasons: list[dict[str, Any]]
    report: dict[str, Any]


def fetch(call: Call) -> UploadTold:
    """Let the server get a file from an address with its SHA-256, or from its import folder."""
    given: UploadGiven = call.body
    values = given.model_dump(exclude={"url", "path"})
    row = fetching.begin(values, call.actor, url=given.url, path=given.path)
    return told(row)


def change(call: Call, id: int) -> UploadTold:
    """Declare a file anew, e.g. as the type that it really is; it is looked into again."""
    row = checking.declare(uploads.find(id), call.body.model_dump(exclude_none=True), call.actor)
    return told(row)


def look(call: Call) -> LookTold:
    """Say what a file is by its first megabyte, before anything is uploaded; nothing is kept."""
    head = b"".join(islice(call.stream.pieces(), checking.HEAD_PIECES))[: checking.HEAD]
    given: LookGiven = call.query
    report = checking.of_head(head, given.name, given.architecture, given.filetype, size=given.size)
    return LookTold(
        verdict=report.verdict,
        words=report.words,
        suggested=report.suggested,
        reasons=report.as_dict()["reasons"],
        report=report.as_dict(),
    )


ENDPOINTS = (
    Endpoint(
        "GET", "/uploads", read_all, Scope.UPLOAD, TAG, query=UploadFilter, answer=Page[UploadTold]
    ),
    Endpoint(
        "POST",
        "/uploads",
        fetch,
        Scope.UPLOAD,
        TAG,
        body=UploadGiven,
        answer=UploadTold,
        status=202,
    ),
    Endpoint(
        "POST",
        "/uploads/look",
        look,
        Scope.READ,
        TAG,
        query=LookGiven,
        answer=LookTold,
        takes_bytes=True,
    ),
    Endpoint(
        "PATCH",
        ONE,
        change,
        Scope.UPLOAD,
        TAG,
        body=UploadChange,
        answer=UploadTold,
        state=read,
    ),
    Endpoint("GET", ONE, read, Scope.UPLOAD, TAG, answer=UploadTold),
    Endpoint("DELETE", ONE, drop, Scope.UPLOAD, TAG, state=read),
    Endpoint("POST", FILES, begin, Scope.UPLOAD, TAG, status=201, takes_bytes=True),
    Endpoint("GET", f"{FILES}/<int:id>", ask, Scope.UPLOAD, TAG),
    Endpoint("PATCH", f"{FILES}/<int:id>", send, Scope.UPLOAD, TAG, status=204, takes_bytes=True),
    Endpoint("DELETE", f"{FILES}/<int:id>", forget, Scope.UPLOAD, TAG),
)
