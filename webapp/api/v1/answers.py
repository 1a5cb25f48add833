# SPDX-License-Identifier: Apache-2.0
"""Responses of ``/api/v1``: JSON with an ETag, and problems as RFC 9457 defines them."""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from flask import Request, Response
from pydantic import BaseModel, ValidationError

from webapp.api.v1 import words
from webapp.api.v1.schemas import ProblemResponse
from webapp.errors import InvalidFields, Problem
from webapp.http.dispatch import add_retry_after

JSON, PROBLEM = "application/json", "application/problem+json"


def as_json(value: BaseModel, status: int = 200) -> Response:
    """A JSON response with its ETag."""
    body = value.model_dump_json().encode()
    response = Response(body, status, content_type=JSON)
    # A long list isn't serialised twice only for its tag.
    tag = tag_of(value) if _volatile(value) else _named(body)
    response.headers["ETag"] = f'"{tag}"'
    response.headers["Cache-Control"] = "no-cache, private"
    return response


def tag_of(value: BaseModel) -> str:
    """What If-Match compares: a digest of all fields but those that change on their own."""
    return _named(value.model_dump_json(exclude=_volatile(value) or None).encode())


def _volatile(value: BaseModel) -> set[str]:
    return set(getattr(type(value), "VOLATILE", ()))


def _named(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def is_known(request: Request, response: Response) -> bool:
    """Whether the client already has this representation."""
    tag, _ = response.get_etag()
    return tag is not None and request.if_none_match.contains(tag)


def problem(error: Problem, status: int | None = None) -> Response:
    """A problem as application/problem+json; its kind decides the status."""
    code = status or error.kind.status
    content = ProblemResponse(
        type=f"urn:slipway:problem:{error.code}",
        title=error.kind.title if status is None else phrase(code),
        status=code,
        detail=error.what,
        errors=error.fields if isinstance(error, InvalidFields) else {},
        **{name: value for name, value in error.as_dict().items() if name != "what"},
    )
    response = Response(content.model_dump_json(), code, content_type=PROBLEM)
    response.headers["Cache-Control"] = "no-store"
    if code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Slipway"'
    return add_retry_after(response, error)


def invalid(error: ValidationError) -> InvalidFields:
    """Validation errors of pydantic, field by field, in plain English."""
    fields: dict[str, list[str]] = {}
    for one in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in one["loc"]) or "__all__"
        fields.setdefault(name[:200], []).append(
            words.of(one["type"], one["msg"], one.get("ctx", {}))
        )
    return InvalidFields(fields)


def phrase(status: int) -> str:
    """The reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Problem"
