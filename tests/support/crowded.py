# SPDX-License-Identifier: Apache-2.0
"""A crowded region, and how to ask it for every page and list that a crowd could slow down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flask import Flask
from werkzeug.test import TestResponse

from tests.api.clients import Script
from tests.api.v1.typed import ALL, Typed
from tests.support import crowd, factories
from tests.support.crowd import Crowd
from tests.web.visitors import HTMX, Visitor
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import Role
from webapp.services.accounts import keys, tokens

Ask = Callable[[], TestResponse]

PAGES = (
    "/",
    "/images/",
    "/images/bin/",
    "/images/rules/",
    "/images/custom/image-00001/amd64",
    "/sources/",
    "/imports/",
    "/imports/history",
    "/imports/plan",
    "/imports/1",
    "/imports/timing/",
    "/storage/",
    "/events/",
    "/events/?machine=192.0.2.1",
    "/events/?user=worker",
    "/events/?image=custom/image-00001",
    "/events/?kind=source.",
    "/boot/",
    "/local-mirror/",
    "/racks/",
    "/racks/1/",
    "/users/",
    "/uploads/",
    "/vmware/",
    "/account",
    "/account/tokens",
    "/shell/import-pill",
    "/metrics",
)
# What a page asks for again and again, by htmx alone.
PARTS = ("/overview/week", "/images/stored", "/uploads/list")
V1 = (
    "status",
    "health",
    "store",
    "events",
    "events?actor=192.0.2.1",
    "events?kind=source.",
    "sources",
    "catalogue",
    "plan",
    "offers",
    "kernels",
    "restrictions",
    "rules",
    "images",
    "images/custom/image-00001/amd64/versions",
    "resources",
    "resources?type=uploaded",
    "bin",
    "imports",
    "imports/1",
    "uploads",
    "boot/entries",
    "boot/loaders",
    "mirror",
    "mirror/held",
    "racks",
    "racks/tokens",
    "tokens",
    "keys",
    "users",
)
# What stock clients ask for. Each is one list: they know nothing of pages.
V2 = ("boot-resources/", "boot-sources/", "rackcontrollers/", "users/")


def names() -> list[str]:
    """Every page, part and list, as the table of figures names it."""
    return [*PAGES, *PARTS, *(f"v1 {path}" for path in V1), *(f"v2 {path}" for path in V2)]


@contextmanager
def region(url: str, data: Path, many: Crowd) -> Iterator[Flask]:
    """An app on a migrated, empty database, filled with that many rows."""
    values = {
        "data_dir": data,
        "database_url": url,
        "defaults": "off",
        "log_level": "error",
        "metrics_networks": "192.0.2.0/24",
    }
    settings = Settings.load({f"SLIPWAY_{name.upper()}": str(one) for name, one in values.items()})
    app = create_app(settings, plane="web")
    with app.app_context():
        crowd.add(many)
        db.session.remove()
    try:
        yield app
    finally:
        app.extensions["slipway.publication"].close()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def asking(app: Flask) -> dict[str, Ask]:
    """How an administrator asks for each of ``names()``."""
    person = Visitor(app, Role.ADMINISTRATOR)
    with app.app_context():
        user = factories.user(role=Role.ADMINISTRATOR)
        _, token = tokens.create(user, "crowded", ALL)
        key = keys.create_api_key(user, "crowded")
        db.session.remove()
    program, script = Typed(app.test_client(), token), Script(app.test_client(), key)

    def ask(name: str) -> TestResponse:
        api, _, path = name.rpartition(" ")
        if api == "v1":
            return program.call("GET", path)
        if api == "v2":
            return script.get(path)
        return person.get(path, **(HTMX if path in PARTS else {}))

    return {name: partial(ask, name) for name in names()}
