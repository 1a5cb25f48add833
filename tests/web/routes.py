# SPDX-License-Identifier: Apache-2.0
"""Every page of the app with every method, for tests that walk over all of them."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask
from werkzeug.routing import IntegerConverter, Rule

from webapp.web.access import access_of, is_script_path

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Route:
    """One method of one page, with a path that its rule matches."""

    method: str
    path: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def pages(app: Flask) -> list[Route]:
    """Every page for people."""
    return [route for route in _all(app) if not is_script_path(route.path)]


def scripts(app: Flask) -> list[Route]:
    """Everything that scripts call."""
    return [route for route in _all(app) if is_script_path(route.path)]


def unsafe_pages(app: Flask) -> list[Route]:
    """Every page that changes something."""
    return [route for route in pages(app) if route.method in UNSAFE]


def is_public(app: Flask, route: Route) -> bool:
    """Whether the page is marked for anybody."""
    access = access_of(app, route.endpoint)
    return access is not None and access.right is None


def _all(app: Flask) -> list[Route]:
    return [
        Route(method, _path(app, rule), rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD"})
    ]


def _path(app: Flask, rule: Rule) -> str:
    converters = rule._converters
    values = {
        name: 1 if isinstance(converters[name], IntegerConverter) else "x"
        for name in rule.arguments
    }
    with app.test_request_context():
        built = app.url_map.bind("localhost").build(rule.endpoint, values, force_external=False)
    return built
