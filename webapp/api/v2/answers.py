# SPDX-License-Identifier: Apache-2.0
"""Responses as MAAS clients read them: content types and statuses (rule: rest-answers)."""

from __future__ import annotations

import json
from http import HTTPStatus

from flask import Response

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


def as_json(value: object, status: int = 200) -> Response:
    """A JSON response."""
    return _response(json.dumps(value), status, JSON)


def exactly_json(value: object) -> Response:
    """A JSON response whose content type has no charset."""
    return _response(json.dumps(value), 200, "application/json")


def text(value: str, status: int = 200) -> Response:
    """A plain text response."""
    return _response(value, status, TEXT)


def deleted() -> Response:
    """204 with a content type, without which the stock command line crashes."""
    return _response("", 204, "text/plain")


def unauthorised(words: str) -> Response:
    """401, which stock clients turn into "rejected your API key"."""
    response = text(f"Authorization Error: {words}", 401)
    response.headers["WWW-Authenticate"] = 'OAuth realm="OAuth"'
    return response


def status_line(code: int) -> str:
    """``404 Not Found``: the Terraform provider checks for these words in mixed case."""
    return f"{code} {HTTPStatus(code).phrase}"


def _response(body: str, status: int, content_type: str) -> Response:
    response = Response(body, status=status_line(status), content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    return response
