# SPDX-License-Identifier: Apache-2.0
"""The server side of tus 1.0.0, the protocol for uploads that go on after a cut.

https://tus.io/protocols/resumable-upload: core, and the extensions creation,
creation-with-upload, expiration, termination and checksum (sha256). It is
spoken below two addresses, which decide by themselves who may.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from email.utils import format_datetime
from typing import TYPE_CHECKING

from flask import Flask, Request, Response

from webapp.errors import InvalidFields, Problem
from webapp.http.bodies import Incoming
from webapp.http.dispatch import add_retry_after
from webapp.models import Upload
from webapp.services.uploads import checking, fields, takeover, uploads
from webapp.services.uploads.uploads import UploadProblem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination,checksum"
BYTES = "application/offset+octet-stream"
METHODS = ("HEAD", "PATCH", "DELETE")
_ADDRESS = re.compile(r"(?:/api/v1)?/uploads/files(?P<one>/[0-9]+)?/?", re.ASCII)
# Extensions that aren't in EXTENSIONS, by the header that asks for them.
_REFUSED = {
    "Upload-Concat": "Send the file in one upload.",
    "Upload-Defer-Length": "Send Upload-Length with the size of the file in bytes.",
}
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_MAX_METADATA = 8192
_FIELDS = ("name", "architecture", "filetype", "title", "base_image", "sha256", "filename")


def speak(app: Flask, ready: str) -> None:
    """Have the app's tus addresses answer OPTIONS, and take methods that a proxy would refuse.

    tus 1.0.0: OPTIONS lists what the server supports; ``X-HTTP-Method-Override`` on a
    POST counts as the method. ready: where a WSGI environment takes an answer that no
    view has to make.
    """
    inner = app.wsgi_app

    def speaking(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        address = _ADDRESS.fullmatch(environ.get("PATH_INFO", ""))
        if address is None:
            return inner(environ, start_response)
        meant = environ.pop("HTTP_X_HTTP_METHOD_OVERRIDE", "").strip().upper()
        if environ["REQUEST_METHOD"] == "POST" and meant in (*METHODS, "OPTIONS"):
            environ["REQUEST_METHOD"] = meant
        if environ["REQUEST_METHOD"] != "OPTIONS":
            return inner(environ, start_response)
        response = decorate(Response(status=204))
        methods = METHODS if address["one"] else ("POST",)
        response.headers["Allow"] = ", ".join(("OPTIONS", *methods))
        environ[ready] = response  # it has no view and needs no rights, but every header
        return inner(environ, start_response)

    app.wsgi_app = speaking  # type: ignore[method-assign]


def create(request: Request, actor: str, origin: str, place: str) -> Response:
    """POST: begin an upload; 201 with its address below ``place``.

    When the store holds these bytes already, nothing has to be sent: Upload-Offset
    is the size at once.
    """
    _demand_version(request)
    for name, step in _REFUSED.items():
        if name in request.headers:
            raise InvalidFields({name: [f"{name} isn't supported. {step}"]})
    length = request.headers.get("Upload-Length", "")
    if not length:
        raise InvalidFields({"Upload-Length": ["Enter the number of bytes."]})
    metadata = _metadata(request.headers.get("Upload-Metadata", ""))
    declared = fields.Declared(
        name=metadata["name"],
        architecture=metadata["architecture"],
        size=length,
        sha256=metadata["sha256"],
        # Browsers' clients send a media type under this name.
        filetype="" if "/" in metadata["filetype"] else metadata["filetype"],
        title=metadata["title"],
        base_image=metadata["base_image"],
        origin=origin,
        place=metadata["filename"],
    )
    upload = uploads.create(declared, actor)
    if uploads.is_known(upload):
        uploads.note_known(upload)
    elif request.mimetype == BYTES:
        _append(request, upload, 0)
    response = _answer(201, upload)
    response.headers["Location"] = f"{place}{upload.id}"
    return response


def head(request: Request, upload_id: int) -> Response:
    """HEAD: where to go on."""
    _demand_version(request)
    return _answer(200, uploads.find(upload_id))


def patch(request: Request, upload_id: int) -> Response:
    """PATCH: the next bytes; 204, 409 with the right offset, 460 for a wrong checksum."""
    _demand_version(request)
    upload = uploads.find(upload_id)
    if request.mimetype != BYTES:
        raise Problem("Wrong content type for upload data.", code="body-type", expected=BYTES)
    offset = request.headers.get("Upload-Offset", "")
    if not _NUMBER.fullmatch(offset):
        raise InvalidFields({"Upload-Offset": ["Enter the offset of these bytes."]})
    _append(request, upload, int(offset))
    return _answer(204, upload)


def delete(request: Request, upload_id: int, actor: str) -> Response:
    """DELETE: forget it."""
    _demand_version(request)
    uploads.drop(uploads.find(upload_id), actor)
    response = Response(status=204)
    response.headers["Tus-Resumable"] = VERSION
    return response


def decorate(response: Response) -> Response:
    """What every answer carries, refusals too."""
    response.headers["Tus-Resumable"] = VERSION
    response.headers["Tus-Version"] = VERSION
    response.headers["Tus-Extension"] = EXTENSIONS
    response.headers["Tus-Checksum-Algorithm"] = "sha256"
    response.headers["Cache-Control"] = "no-store"
    return response


def refuse(problem: Problem) -> Response:
    """A problem for a client that only speaks tus: the status decides, the text is for users."""
    words = Response(str(problem), problem.kind.status, content_type="text/plain; charset=utf-8")
    return add_retry_after(decorate(words), problem)


def _append(request: Request, upload: Upload, offset: int) -> None:
    incoming = Incoming(request)
    arriving = incoming.pieces(lambda: takeover.watch(upload))
    pieces, check = _checked(request.headers.get("Upload-Checksum", ""), arriving)
    uploads.append(
        upload,
        pieces,
        offset=offset,
        length=incoming.length,
        is_all_or_nothing=check is not None,
        check=check,
    )
    checking.inspect_early(upload)


def _checked(
    header: str, pieces: Iterator[bytes]
) -> tuple[Iterator[bytes], Callable[[], None] | None]:
    """The pieces, hashed as they pass, and what raises when they are not those that were meant."""
    if not header:
        return pieces, None
    algorithm, _, encoded = header.partition(" ")
    if algorithm != "sha256":  # tus 1.0.0 wants a status of its own
        raise UploadProblem(
            "This checksum algorithm isn't supported.",
            code="upload-algorithm",
            where="Upload-Checksum",
            expected="sha256",
            got=ascii(algorithm[:40]),
            next_step="Send sha256, or no checksum.",
        )
    try:
        expected = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        expected = b""
    if len(expected) != 32:
        raise InvalidFields({"Upload-Checksum": ["Send sha256 and the digest in base64."]})
    found = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for piece in pieces:
            found.update(piece)
            yield piece

    def check() -> None:
        if found.digest() != expected:
            raise UploadProblem(
                "These bytes were damaged in transit.",
                code="upload-checksum",
                expected=f"sha256 {expected.hex()}",
                got=f"sha256 {found.hexdigest()}",
                next_step="Send the same bytes again.",
            )

    return hashed(), check


def _answer(status: int, upload: Upload) -> Response:
    response = decorate(Response(status=status))
    response.headers["Upload-Offset"] = str(upload.received)
    response.headers["Upload-Length"] = str(upload.size)
    response.headers["Slipway-Upload"] = str(upload.id)
    if upload.is_open:
        expires = uploads.expires_at(upload)
        response.headers["Upload-Expires"] = format_datetime(expires, usegmt=True)
    return response


def _demand_version(request: Request) -> None:
    got = request.headers.get("Tus-Resumable", "")
    if got != VERSION:
        raise Problem(
            "This version of tus isn't supported.",
            code="tus-version",
            where="Tus-Resumable",
            expected=VERSION,
            got=got[:40] or "none",
        )


def _metadata(header: str) -> dict[str, str]:
    """``key base64,key base64``; unknown keys are ignored."""
    metadata = dict.fromkeys(_FIELDS, "")
    if len(header) > _MAX_METADATA:
        raise InvalidFields({"Upload-Metadata": [f"Send at most {_MAX_METADATA} characters."]})
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, encoded = pair.partition(" ")
        try:
            value = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            raise InvalidFields({"Upload-Metadata": [f"{key[:40]} is not base64."]}) from None
        if key in metadata:
            metadata[key] = "" if "\0" in value else value
    return metadata
