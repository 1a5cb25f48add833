# SPDX-License-Identifier: Apache-2.0
"""Answers of ``/api/v1``: JSON with an ETag, and problems as RFC 9457 writes them."""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from flask import Request, Response
from pydantic import BaseModel, ValidationError

from webapp.api.v1.callers import Forbidden, Unauthorised
from webapp.api.v1.schemas import Trouble
from webapp.errors import Conflict, InvalidFields, NotFound, Problem

JSON, PROBLEM = "application/json", "application/problem+json"
STATUSES: dict[type[Problem], int] = {
    Unauthorised: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    InvalidFields: 422,
}
BY_CODE = {
    "body-too-large": 413,
    "body-unreadable": 400,
    "body-type": 415,
    "changed-meanwhile": 412,
    "method": 405,
    "store-full": 507,
    "store-unusable": 503,
    "store-missing": 503,
    "upload-offset": 409,
    "upload-complete": 409,
    "upload-checksum": 460,  # tus 1.0, extension Checksum
    "tus-version": 412,
}


def as_json(value: BaseModel, status: int = 200) -> Response:
    """A JSON answer that carries its own ETag."""
    body = value.model_dump_json().encode()
    response = Response(body, status, content_type=JSON)
    # A long list is not written out twice to be named.
    tag = tag_of(value) if _volatile(value) else _named(body)
    response.headers["ETag"] = f'"{tag}"'
    response.headers["Cache-Control"] = "no-cache, private"
    return response


def tag_of(value: BaseModel) -> str:
    """What If-Match compares: of everything but what changes by itself (``VOLATILE``)."""
    return _named(value.model_dump_json(exclude=_volatile(value) or None).encode())


def _volatile(value: BaseModel) -> set[str]:
    return set(getattr(type(value), "VOLATILE", ()))


def _named(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def nothing() -> Response:
    """204."""
    return Response(status=204)


def is_known(request: Request, response: Response) -> bool:
    """Whether the client has exactly this already."""
    tag, _ = response.get_etag()
    return tag is not None and request.if_none_match.contains(tag)


def problem(error: Problem, status: int | None = None) -> Response:
    """A problem in words and fields."""
    code = status or _status(error)
    told = Trouble(
        type=f"urn:slipway:problem:{error.code}",
        title=error.what,
        status=code,
        detail=str(error),
        code=error.code,
        where=error.where,
        expected=error.expected,
        got=error.got,
        next_step=error.next_step,
        errors=error.fields if isinstance(error, InvalidFields) else {},
    )
    response = Response(told.model_dump_json(), code, content_type=PROBLEM)
    response.headers["Cache-Control"] = "no-store"
    if code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Slipway"'
    return response


def invalid(error: ValidationError) -> InvalidFields:
    """What pydantic found, field by field."""
    fields: dict[str, list[str]] = {}
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in one["loc"]) or "__all__"
        fields.setdefault(name[:200], []).append(one["msg"].removeprefix("Value error, "))
    return InvalidFields(fields)


def _status(error: Problem) -> int:
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next((s for kind, s in STATUSES.items() if isinstance(error, kind)), 400)


def phrase(status: int) -> str:
    """The words of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Problem"
