# SPDX-License-Identifier: Apache-2.0
"""One's own bearer tokens, and the reference of the API, as pages."""

from __future__ import annotations

import re

from flask import Flask
from sqlalchemy import select

from tests.web.visitors import Visitor, leads_to, text_of
from webapp.api.v1.table import ENDPOINTS
from webapp.extensions import db
from webapp.models import APIToken, Role
from webapp.services.accounts import tokens


def make(visitor: Visitor, **form: object) -> str:
    """Make a token and read it off the next page."""
    answer = visitor.post("/account/tokens", {"name": "ci", "scopes": ["read"], "days": "", **form})
    assert leads_to(answer) == "/account/tokens"
    found = re.search(r'id="new-token">([^<]+)<', visitor.get("/account/tokens").text)
    assert found
    return found[1]


def test_a_token_is_made_shown_once_and_revoked(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    assert "No API tokens yet" in visitor.get("/account/tokens").text
    token = make(visitor, scopes=["read", "upload"], days="7")
    assert token not in visitor.get("/account/tokens").text
    with app.app_context():
        bearer = tokens.check(token)
        assert bearer is not None
        assert bearer.scopes == {"read", "upload"}
        row = db.session.scalars(select(APIToken)).one()
        assert row.expires_at is not None
        token_id = row.id
    page = visitor.get(f"/account/tokens/{token_id}/revoke")
    assert token[:10] in text_of(page)
    assert leads_to(visitor.post(f"/account/tokens/{token_id}/revoke")) == "/account/tokens"
    with app.app_context():
        assert tokens.check(token) is None
    assert visitor.get(f"/account/tokens/{token_id}/revoke").status_code == 404


def test_what_cannot_be_meant_is_refused_beside_the_field(app: Flask) -> None:
    visitor = Visitor(app, Role.VIEWER)
    for form, words in (
        ({"name": ""}, "Enter a name for the token"),
        ({"name": "x" * 101}, "1 to 100 characters"),
        ({"scopes": []}, "Choose from"),
        ({"days": "0"}, "1 to 3650 days"),
        ({"days": "x"}, "Not a valid integer"),
    ):
        answer = visitor.post(
            "/account/tokens", {"name": "ci", "scopes": ["read"], "days": "", **form}
        )
        assert answer.status_code == 422
        assert words in answer.text
    assert "Your role doesn't allow this" in text_of(visitor.get("/account/tokens"))


def test_no_user_touches_anothers_token(app: Flask) -> None:
    owner = Visitor(app, Role.ADMINISTRATOR)
    make(owner, name="nightly builds")
    assert "nightly builds" in owner.get("/account/tokens").text
    other = Visitor(app, Role.ADMINISTRATOR)
    assert other.get("/account/tokens/1/revoke").status_code == 404
    assert other.post("/account/tokens/1/revoke").status_code == 404
    assert "nightly builds" not in other.get("/account/tokens").text


def test_the_reference_names_every_endpoint_and_loads_nothing_from_elsewhere(app: Flask) -> None:
    page = Visitor(app, Role.VIEWER).get("/help/api").text
    for endpoint in ENDPOINTS:
        assert f'id="{endpoint.name}"' in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "Bearer" in page
