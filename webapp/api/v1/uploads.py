# SPDX-License-Identifier: Apache-2.0
"""``/uploads``: what is under way, and the bytes by tus below ``/uploads/files``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response, request
from pydantic import Field

from webapp import jobs, tus
from webapp.api.v1.dispatch import API, Call, Endpoint
from webapp.api.v1.shapes import Given, Page, Told
from webapp.extensions import settings
from webapp.models import Upload
from webapp.services import image_names, uploads
from webapp.services.api_tokens import Scope

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
    response = tus.create(request, call.actor, _origin(), f"{API}{FILES}/")
    _wake(response)
    return response


def ask(call: Call, token: str) -> Response:
    """Ask where to go on, with HEAD (tus 1.0.0); Upload-Offset is the first missing byte."""
    return tus.head(request, token)


def send(call: Call, token: str) -> Response:
    """Send the next bytes (tus 1.0.0); Upload-Checksum may carry their sha256."""
    response = tus.patch(request, token)
    _wake(response)
    return response


def forget(call: Call, token: str) -> Response:
    """Forget an upload (tus 1.0.0, extension Termination)."""
    return tus.delete(request, token, call.actor)


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
        filetype=image_names.WORDS.get(row.ftype, row.ftype),
        base_image=row.base_image,
        size=row.size,
        received=row.received,
        checked=row.checked,
        sha256=row.sha256,
        version=row.version,
        resource_id=row.resource_id,
        report=row.report,
        problem=row.problem,
        files_url=f"{API}{FILES}/{row.token}" if row.is_open else "",
        created_at=row.created_at,
        touched_at=row.touched_at,
        expires_at=uploads.expires_at(row) if row.is_open else None,
        finished_at=row.finished_at,
    )


def _origin() -> str:
    return "cli" if request.headers.get("User-Agent", "").startswith("slipway/") else "api"


def _wake(response: Response) -> None:
    if response.headers["Upload-Offset"] == response.headers["Upload-Length"]:
        jobs.wake(settings())


ENDPOINTS = (
    Endpoint(
        "GET", "/uploads", read_all, Scope.UPLOAD, TAG, query=UploadFilter, answer=Page[UploadTold]
    ),
    Endpoint("GET", ONE, read, Scope.UPLOAD, TAG, answer=UploadTold),
    Endpoint("DELETE", ONE, drop, Scope.UPLOAD, TAG),
    Endpoint("POST", FILES, begin, Scope.UPLOAD, TAG, status=201, takes_bytes=True),
    Endpoint("GET", f"{FILES}/<string:token>", ask, Scope.UPLOAD, TAG),
    Endpoint(
        "PATCH", f"{FILES}/<string:token>", send, Scope.UPLOAD, TAG, status=204, takes_bytes=True
    ),
    Endpoint("DELETE", f"{FILES}/<string:token>", forget, Scope.UPLOAD, TAG),
)
