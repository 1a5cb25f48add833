# SPDX-License-Identifier: Apache-2.0
"""The reference of ``/api/v1`` as a page, made of its own OpenAPI document."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.services.accounts.rights import Right
from webapp.web.access import requires

blueprint = Blueprint("api_help", __name__)

_READ = "slipway.openapi.read"


@dataclass(frozen=True)
class Field:
    """One value of a body, a query or an answer."""

    name: str
    kind: str
    is_required: bool
    text: str


@dataclass(frozen=True)
class Operation:
    """One method of one address. refusals: statuses with their words."""

    id: str
    method: str
    path: str
    title: str
    text: str
    query: tuple[Field, ...]
    body: tuple[Field, ...]
    answer: tuple[Field, ...]
    about_answer: str
    refusals: tuple[str, ...]


@blueprint.get("/help/api")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Every address with what it takes and gives."""
    return hx.render("help/api.html", None, groups=_groups())


def _groups() -> dict[str, list[Operation]]:
    """Read once for each app; the document does not change while it runs."""
    known = current_app.extensions
    if _READ not in known:
        known[_READ] = _read(known["slipway.openapi"]())
    return cast("dict[str, list[Operation]]", known[_READ])


def _read(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    schemas = document["components"]["schemas"]
    groups: dict[str, list[Operation]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            groups[found["tags"][0]].append(_operation(path, method, found, schemas))
    return dict(groups)


def _operation(
    path: str, method: str, found: Mapping[str, Any], schemas: Mapping[str, Any]
) -> Operation:
    body = found.get("requestBody", {}).get("content", {}).get("application/json", {})
    good = next(code for code in found["responses"] if code[0] == "2")
    answer = found["responses"][good].get("content", {}).get("application/json", {})
    schema = _resolved(answer.get("schema", {}), schemas)
    return Operation(
        id=found["operationId"],
        method=method.upper(),
        path=path,
        title=found["summary"],
        text=found["description"],
        query=tuple(
            Field(
                p["name"] + (" (header)" if p["in"] == "header" else ""),
                _kind(p.get("schema", {}), schemas),
                p.get("required", False),
                p.get("description", ""),
            )
            for p in found["parameters"]
        ),
        body=_fields(_resolved(body.get("schema", {}), schemas), schemas),
        answer=_fields(schema, schemas),
        about_answer=schema.get("description", ""),
        refusals=tuple(sorted(code for code in found["responses"] if code[0] in "45")),
    )


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> tuple[Field, ...]:
    needed = set(schema.get("required", ()))
    return tuple(
        Field(name, _kind(inner, schemas), name in needed, inner.get("description", ""))
        for name, inner in schema.get("properties", {}).items()
    )


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    found: Mapping[str, Any] = (
        schemas.get(reference.rpartition("/")[2], {}) if reference else schema
    )
    return found


def _kind(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in schema:
        inner = _resolved(schema, schemas)
        return "{" + ", ".join(inner.get("properties", {})) + "}"
    if "anyOf" in schema:
        return " or ".join(_kind(one, schemas) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}), schemas)}"
    kind = str(schema.get("format") or schema.get("type") or "any")
    return {"date-time": "time", "object": "map", "null": "null"}.get(kind, kind)
