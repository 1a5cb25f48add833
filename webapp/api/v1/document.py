# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document, which spectree generates from the table of endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from flask import Flask, current_app
from pydantic import BaseModel

from webapp.api.v1 import answers
from webapp.api.v1.dispatch import API, Endpoint
from webapp.api.v1.schemas import Empty, ProblemResponse
from webapp.http import tus
from webapp.services.accounts import two_factor
from webapp.services.overview import store

View = Callable[[], str]
Decorator = Callable[[View], View]

_KEY = "slipway.openapi"
_BEARER = "bearer"
_CODE = {
    "name": two_factor.CODE_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Required from users with a second factor: a code of the authenticator app "
    "that wasn't used before, or a recovery code",
}
_ABOUT = (
    "Slipway's typed API. Send If-Match with the ETag of what you change to detect conflicts. "
    "Problems are application/problem+json (RFC 9457). Lists are paged: `next` is the cursor of "
    "the next page."
)


def attach(app: Flask, endpoints: Iterable[Endpoint]) -> None:
    """Generate the document on first use in this process; pages read it too."""
    app.extensions[_KEY] = partial(_generate, tuple(endpoints))


def document() -> dict[str, Any]:
    """The document."""
    found: dict[str, Any] = current_app.extensions[_KEY]()
    return found


@cache
def _generate(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """spectree reads the routes of an app, so it gets one that serves nothing.

    It's imported here because most commands never need it.
    """
    from spectree import SecurityScheme, SpecTree
    from spectree.models import SecureType, SecuritySchemeData

    bearer = SecuritySchemeData(type=SecureType.HTTP, scheme="bearer", description="slp_…")
    spec = SpecTree(
        "flask",
        mode="strict",
        annotations=False,
        naming_strategy=_name,
        title="Slipway",
        version=store.version(),
        openapi_version="3.1.0",
        description=_ABOUT,
        security_schemes=[SecurityScheme(name=_BEARER, data=bearer)],
        security={_BEARER: []},
    )
    app = Flask("openapi", static_folder=None)
    for endpoint in endpoints:
        app.add_url_rule(
            API + endpoint.path,
            endpoint=endpoint.name,
            view_func=_documented(spec.validate, endpoint),
            methods=[endpoint.method],
        )
    spec.app = app
    with app.app_context():
        return _complete(spec.spec, endpoints)


def _documented(decorate: Callable[..., Decorator], endpoint: Endpoint) -> View:
    from spectree import Response as Answers

    def view() -> str:
        """Never called."""
        return ""

    view.__name__ = endpoint.name
    view.__doc__ = endpoint.run.__doc__
    status = endpoint.status
    if endpoint.answer is None and status == 200:
        status = _plain(endpoint)
    responses: dict[str, type[BaseModel] | None] = {f"HTTP_{status}": endpoint.answer}
    responses |= {f"HTTP_{refusal}": ProblemResponse for refusal in _refusals(endpoint)}
    return decorate(
        query=None if endpoint.query is Empty else endpoint.query,
        json=endpoint.body,
        resp=Answers(**responses),
        tags=[endpoint.tag],
        operation_id=endpoint.name,
        skip_validation=True,
    )(view)


def _plain(endpoint: Endpoint) -> int:
    return 200 if endpoint.method == "GET" else 204


def _refusals(endpoint: Endpoint) -> list[int]:
    found = [401, 403, 422]
    if "<" in endpoint.path or endpoint.tag == "accounts":
        found.append(404)
    if endpoint.body is not None:
        found += [400, 413, 415]
    if endpoint.state is not None:
        found.append(412)
    if endpoint.method != "GET":
        found += [400, 404, 409]
    if endpoint.needs_code:
        found.append(429)
    if endpoint.tag == "uploads":
        found += [412, 415, 507]
    return sorted(set(found) | {503})


def _complete(spec: dict[str, Any], endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """Add what spectree can't express: the type of problems, and headers."""
    for path in spec["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                content = answer.get("content", {})
                if status[0] in "45" and answers.JSON in content:
                    content[answers.PROBLEM] = content.pop(answers.JSON)
            if operation["operationId"] in ("uploads_start", "uploads_send", "uploads_inspect"):
                operation["requestBody"] = {
                    "content": {tus.BYTES: {"schema": {"type": "string", "format": "binary"}}}
                }
                operation["responses"].setdefault("460", operation["responses"]["409"])
    for url, path in spec["paths"].items():
        if "/uploads/files" in url:
            for method, operation in path.items():
                operation["parameters"] = operation.get("parameters", []) + _headers(method)
    coded = {endpoint.name for endpoint in endpoints if endpoint.needs_code}
    for path in spec["paths"].values():
        for operation in path.values():
            if operation["operationId"] in coded:
                operation["parameters"] = [*operation.get("parameters", []), _CODE]
    spec["paths"] = {url: spec["paths"][url] for url in sorted(spec["paths"])}
    return spec


def _headers(method: str) -> list[dict[str, Any]]:
    names = {"Tus-Resumable": True}
    if method == "post":
        names |= {"Upload-Length": True, "Upload-Metadata": False, "Upload-Checksum": False}
    if method == "patch":
        names |= {"Upload-Offset": True, "Upload-Checksum": False}
    return [
        {"name": name, "in": "header", "required": is_needed, "schema": {"type": "string"}}
        for name, is_needed in names.items()
    ]


def _name(model: type[BaseModel]) -> str:
    return model.__name__.replace("[", "_of_").replace("]", "")
