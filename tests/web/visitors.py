# SPDX-License-Identifier: Apache-2.0
"""Browsers without JavaScript for tests: they keep cookies and send the forms they were given."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.support import factories
from webapp.extensions import db
from webapp.models import Base, Role
from webapp.services.accounts import sessions

PASSWORD = "correct horse battery staple"
HTMX = {"HX-Request": "true"}
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Visitor:
    """A person at a browser. ``role`` None: nobody is signed in."""

    def __init__(self, app: Flask, role: Role | None = None, address: str = "192.0.2.1") -> None:
        self.app = app
        self.client = app.test_client()
        self.client.environ_base["REMOTE_ADDR"] = address
        self.username = ""
        if role is not None:
            self._open_session(role)

    def get(self, path: str, **headers: str) -> TestResponse:
        """Open a page."""
        return self.client.get(path, headers=_named(headers))

    def post(self, path: str, form: dict[str, Any] | None = None, **headers: str) -> TestResponse:
        """Send a form with its token."""
        values = {**(form or {}), "csrf_token": self.token()}
        return self.client.post(path, data=values, headers=_named(headers))

    def token(self) -> str:
        """The token that the forms of this browser's pages carry."""
        found = _TOKEN.search(self.get("/there-is-no-such-page").text)
        assert found
        return found[1]

    def sign_in(self, username: str, password: str = PASSWORD, next: str = "") -> TestResponse:
        """Send the sign-in form."""
        query = f"?next={next}" if next else ""
        return self.post(f"/sign-in{query}", {"username": username, "password": password})

    def is_signed_in(self) -> bool:
        """Whether the page of one's own account opens."""
        return self.get("/account").status_code == 200

    def cookie(self) -> str:
        """The session's cookie as the browser keeps it."""
        kept = self.client.get_cookie("slipway")
        return kept.value if kept else ""

    def _open_session(self, role: Role) -> None:
        with self.app.app_context():
            user = factories.user(role=role)
            self.username, self.user_id = user.username, user.id
            visitor = sessions.open_session(user, address="192.0.2.1", user_agent="test")
            db.session.remove()
        with self.client.session_transaction() as kept:
            kept["_user_id"] = visitor.token


def text_of(response: TestResponse) -> str:
    """What a person reads: no tags, one space between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def leads_to(response: TestResponse) -> str:
    """The path that a redirect leads to, without its query."""
    return urlsplit(response.headers.get("Location", "")).path


def everything(app: Flask) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, to see that nothing changed but the notes of refusals."""
    with app.app_context():
        rows = {
            table.name: sorted((tuple(row) for row in db.session.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }
        db.session.remove()
        rows["event"] = [row for row in rows["event"] if "access.refused" not in row]
        return rows


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
