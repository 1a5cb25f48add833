# SPDX-License-Identifier: Apache-2.0
"""REST API 2.0 for images: one resource table, one dispatcher (rule: rest-paths)."""

from __future__ import annotations

from flask import Flask, Response, request

from webapp.api.v2 import answers, bodies
from webapp.api.v2.account import AUTHENTICATE
from webapp.api.v2.describe import DESCRIBE, api_hash
from webapp.api.v2.dispatch import API, METHODS, Number, add_resource
from webapp.api.v2.table import RESOURCES

PREFIX = "/MAAS/"


def register(app: Flask) -> None:
    """Add every resource, and one answer for all else below ``/MAAS``."""
    app.url_map.converters["number"] = Number
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
    bodies.drain(request)
    return answers.text("Not Found", 404)


def _finish(response: Response) -> Response:
    """What holds for every answer, also for those that others made.

    The status line as scripts read it, and the hash of the description, which
    clients compare with the one they keep.
    """
    if request.path.startswith(PREFIX):
        response.status = answers.status_line(response.status_code)
        if response.status_code == 405:
            response.headers["Allow"] = ", ".join(("HEAD", *METHODS))
    if request.path.startswith(f"{API}/"):
        response.headers["X-MAAS-API-Hash"] = api_hash()
    return response
