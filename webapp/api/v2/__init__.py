# SPDX-License-Identifier: Apache-2.0
"""REST API 2.0 for images: one resource table, one dispatcher (rule: rest-paths)."""

from __future__ import annotations

from flask import Flask, Response, request

from webapp.api.v2 import answers
from webapp.api.v2.account import AUTHENTICATE
from webapp.api.v2.describe import DESCRIBE, api_hash
from webapp.api.v2.dispatch import API, add_resource
from webapp.api.v2.table import RESOURCES
from webapp.http.bodies import drain
from webapp.http.dispatch import METHODS

PREFIX = "/MAAS/"


def register(app: Flask) -> None:
    """Add every resource, and a 404 for everything else below ``/MAAS``."""
    for resource in (*RESOURCES, DESCRIBE, AUTHENTICATE):
        add_resource(app, resource)
    app.add_url_rule(
        f"{PREFIX}<path:rest>",
        endpoint="api_v2.unknown",
        view_func=_unknown,
        methods=METHODS,
        provide_automatic_options=False,
    )
    app.after_request(_finish)


def _unknown(rest: str) -> Response:
    drain(request)
    return answers.text("Not Found", 404)


def _finish(response: Response) -> Response:
    """Add what every response needs, wherever it was made.

    The status line in mixed case, and the hash of the description that clients
    compare with their copy.
    """
    if request.path.startswith(PREFIX):
        response.status = answers.status_line(response.status_code)
        if response.status_code == 405:
            response.headers["Allow"] = ", ".join(("HEAD", *METHODS))
    if request.path.startswith(f"{API}/"):
        response.headers["X-MAAS-API-Hash"] = api_hash()
    return response
