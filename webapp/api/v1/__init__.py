# SPDX-License-Identifier: Apache-2.0
"""Slipway's own typed API, for what 2.0 can't express: a table of endpoints."""

from __future__ import annotations

import json

from flask import Flask, Response, request

from webapp.api.v1 import answers, document, rack_calls
from webapp.api.v1.dispatch import API, add_unknown, view_of
from webapp.api.v1.table import ENDPOINTS
from webapp.errors import Problem
from webapp.http import tus


def register(app: Flask) -> None:
    """Add every endpoint, the OpenAPI document, and a 404 or 405 for everything else."""
    for endpoint in ENDPOINTS:
        app.add_url_rule(
            API + endpoint.path,
            endpoint=f"api_v1.{endpoint.name}",
            view_func=view_of(endpoint),
            methods=[endpoint.method],
            provide_automatic_options=False,
        )
    rack_calls.register(app)
    document.attach(app, ENDPOINTS)
    app.add_url_rule(f"{API}/openapi.json", endpoint="api_v1.document", view_func=_document)
    add_unknown(app, ENDPOINTS)
    app.after_request(_finish)


def _document() -> Response:
    """The OpenAPI document; no sign-in needed."""
    return Response(json.dumps(document.document()), content_type="application/json")


def _finish(response: Response) -> Response:
    """Make problems of refusals that came from outside the API, e.g. from Flask."""
    is_mine = request.path.startswith(f"{API}/")
    if is_mine and response.status_code >= 400 and response.mimetype != answers.PROBLEM:
        words = response.get_data(as_text=True).strip() or answers.phrase(response.status_code)
        refusal = answers.problem(Problem(words[:500], code="refused"), response.status_code)
        response.set_data(refusal.get_data())
        response.content_type = refusal.content_type
    if request.path.startswith(f"{API}/uploads/files"):
        tus.decorate(response)
    return response
