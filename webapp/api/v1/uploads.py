# SPDX-License-Identifier: Apache-2.0
"""``/uploads``: uploads, and their bytes by tus below ``/uploads/files``."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from flask import Response, request
from pydantic import Field

from webapp.api.v1.dispatch import API, Call, PlainCall, Routes
from webapp.api.v1.reports import OriginalItem, ReasonItem, ReportItem
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel, StoredProblem
from webapp.http import tus
from webapp.models import Upload
from webapp.services.accounts.rights import Right
from webapp.services.uploads import checking, fetching, names, uploads

routes = Routes("uploads")
FILES = "/uploads/files"
ONE = "/uploads/<int:id>"


class UploadFilter(RequestModel):
    """Which uploads: open ones, ended ones, or all."""

    is_open: bool | None = None
    limit: int = Field(100, ge=1, le=1000)


class UploadResponse(ResponseModel):
    """An upload. received: bytes that don't need to be sent again.

    files_url: where its bytes go, by tus. report: what inspection found.
    problem: why it isn't an image, and what to do about it. original: what was sent, if it
    was converted; sha256 and size are the image's then.
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
    original: OriginalItem
    version: str
    resource_id: int | None
    report: ReportItem
    problem: StoredProblem
    files_url: str
    created_at: datetime
    touched_at: datetime
    expires_at: datetime | None
    finished_at: datetime | None


@routes("GET", "/uploads", Right.UPLOAD)
def read_all(call: Call[UploadFilter, None]) -> Page[UploadResponse]:
    """List uploads, newest first."""
    rows = uploads.listed(is_open=call.query.is_open, limit=call.query.limit)
    return Page[UploadResponse](items=[response_of(row) for row in rows])


@routes("GET", ONE, Right.UPLOAD)
def read(call: PlainCall, id: int) -> UploadResponse:
    """Read an upload."""
    return response_of(uploads.find(id))


@routes("DELETE", ONE, Right.UPLOAD, state=read)
def discard(call: PlainCall, id: int) -> None:
    """Discard an upload and its bytes."""
    uploads.drop(uploads.find(id), call.actor)


@routes("POST", FILES, Right.UPLOAD, status=201, takes_bytes=True)
def start(call: PlainCall) -> Response:
    """Start an upload (tus 1.0.0, extension Creation)

    Upload-Length is the file's size; Upload-Metadata carries name, architecture, filetype,
    title, base_image, sha256 and filename. Send the bytes to the Location of the response.
    """
    return tus.create(request, call.actor, _origin(), f"{API}{FILES}/")


@routes("GET", f"{FILES}/<int:id>", Right.UPLOAD)
def find_offset(call: PlainCall, id: int) -> Response:
    """Find where to resume, with HEAD (tus 1.0.0); Upload-Offset is the first missing byte."""
    return tus.head(request, id)


@routes("PATCH", f"{FILES}/<int:id>", Right.UPLOAD, status=204, takes_bytes=True)
def send(call: PlainCall, id: int) -> Response:
    """Send the next bytes (tus 1.0.0); Upload-Checksum may carry their sha256."""
    return tus.patch(request, id)


@routes("DELETE", f"{FILES}/<int:id>", Right.UPLOAD)
def terminate(call: PlainCall, id: int) -> Response:
    """Discard an upload (tus 1.0.0, extension Termination)."""
    return tus.delete(request, id, call.actor)


def response_of(row: Upload) -> UploadResponse:
    """An upload as clients see it."""
    return UploadResponse(
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
        report=ReportItem(**row.report),
        original=OriginalItem(**row.original),
        problem=StoredProblem(**row.problem),
        files_url=f"{API}{FILES}/{row.id}" if row.is_open else "",
        created_at=row.created_at,
        touched_at=row.touched_at,
        expires_at=uploads.expires_at(row) if row.is_open else None,
        finished_at=row.finished_at,
    )


def _origin() -> str:
    return "cli" if request.headers.get("User-Agent", "").startswith("slipway/") else "api"


class UploadRequest(RequestModel):
    """A file for the server to fetch: from a URL, or from its import folder.

    sha256: required for a URL. path: below SLIPWAY_IMPORT_DIR.
    """

    name: str = Field(max_length=201)
    architecture: str = Field("amd64/generic", max_length=100)
    filetype: str = Field("tgz", max_length=40)
    title: str = Field("", max_length=200)
    base_image: str = Field("", max_length=200)
    sha256: str = Field("", max_length=64)
    url: str = Field("", max_length=2000)
    path: str = Field("", max_length=1000)


class UploadChangeRequest(RequestModel):
    """Corrections to what an uploaded file is; fields left out keep their value."""

    name: str | None = Field(None, max_length=201)
    architecture: str | None = Field(None, max_length=100)
    filetype: str | None = Field(None, max_length=40)
    title: str | None = Field(None, max_length=200)


class InspectionFilter(RequestModel):
    """What the file should be, and its size in bytes."""

    filetype: str = Field("", max_length=40)
    name: str = Field("", max_length=201)
    architecture: str = Field("", max_length=100)
    size: int | None = Field(None, ge=0, le=1 << 50)


class InspectionResponse(ResponseModel):
    """What the first megabyte of a file shows. verdict: ok, warn or reject."""

    verdict: str
    words: str
    suggested: dict[str, str]
    reasons: list[ReasonItem]
    report: ReportItem


@routes("POST", "/uploads", Right.UPLOAD, status=202)
def fetch(call: Call[Empty, UploadRequest]) -> UploadResponse:
    """Fetch a file from a URL with its SHA-256, or from the server's import folder."""
    sent = call.body
    values = sent.model_dump(exclude={"url", "path"})
    row = fetching.begin(values, call.actor, url=sent.url, path=sent.path)
    return response_of(row)


@routes("PATCH", ONE, Right.UPLOAD, state=read)
def change(call: Call[Empty, UploadChangeRequest], id: int) -> UploadResponse:
    """Correct what a file is, e.g. its type; it's inspected again."""
    row = checking.declare(uploads.find(id), call.body.model_dump(exclude_none=True), call.actor)
    return response_of(row)


@routes("POST", "/uploads/inspect", Right.SEE, takes_bytes=True)
def inspect(call: Call[InspectionFilter, None]) -> InspectionResponse:
    """Inspect the first megabyte of a file before uploading it; nothing is saved."""
    file = call.query
    report = checking.of_head(
        call.stream.pieces(),
        file.name,
        file.architecture,
        file.filetype,
        size=file.size,
        user=call.actor,
    )
    found = ReportItem(**report.as_dict())
    return InspectionResponse(
        verdict=found.verdict,
        words=found.words,
        suggested=found.suggested,
        reasons=found.reasons,
        report=found,
    )
