# SPDX-License-Identifier: Apache-2.0
"""REST API 2.0 for images, as spec api describes it: one resource table, one dispatcher."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, request

from webapp.api.v2 import answers, bodies, boot_resources, boot_sources, info, selections
from webapp.api.v2.dispatch import METHODS, Number, Resource, add_resource

PREFIX = "/MAAS/"
API = "/MAAS/api/2.0"

# Routes and ``describe/`` are made of this table.
RESOURCES: tuple[Resource, ...] = (
    *info.RESOURCES,
    *boot_sources.RESOURCES,
    *selections.RESOURCES,
    *boot_resources.RESOURCES,
)


def register(app: Flask) -> None:
    """Add every resource below ``/MAAS/api/2.0``, and one answer for all else below ``/MAAS``."""
    app.url_map.converters["number"] = Number
    blueprint = Blueprint("api_v2", __name__, url_prefix=API)
    for resource in RESOURCES:
        add_resource(blueprint, resource)
    app.register_blueprint(blueprint)
    app.add_url_rule(
        f"{PREFIX}<path:rest>",
        endpoint="api_v2_unknown",
        view_func=_unknown,
        methods=METHODS,
        provide_automatic_options=False,
    )
    app.after_request(_finish)


def _unknown(rest: str) -> Response:
    bodies.drain(request)
    return answers.text("Not Found", 404)


def _finish(response: Response) -> Response:
    """Write the status line as scripts read it, also of answers that others made."""
    if request.path.startswith(PREFIX):
        response.status = answers.status_line(response.status_code)
        if response.status_code == 405:
            response.headers["Allow"] = ", ".join(("HEAD", *METHODS))
    return response
