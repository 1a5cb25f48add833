# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.web import routes
from tests.web.visitors import Visitor, everything, text_of
from webapp.models import Role

FOREIGN = {
    "another host": {"Origin": "https://evil.example.test"},
    "another port": {"Origin": "http://localhost:8080"},
    "a hidden origin": {"Origin": "null"},
    "another scheme": {"Origin": "file://"},
    "a cross-site request": {"Sec-Fetch-Site": "cross-site"},
    "a sister site": {"Sec-Fetch-Site": "same-site"},
}


def test_no_form_is_taken_without_its_token(app: Flask, visit: Callable[..., Visitor]) -> None:
    for route in routes.unsafe_pages(app):
        visitor = visit(Role.ADMINISTRATOR)
        visitor.token()
        before = everything(app)
        for data in ({}, {"csrf_token": "made-up"}):
            response = visitor.client.open(route.path, method=route.method, data=data)
            assert response.status_code == 400, route
            assert "has expired" in text_of(response)
        assert everything(app) == before, route


def test_the_token_of_another_browser_is_refused(
    app: Flask, administrator: Visitor, visit: Callable[..., Visitor]
) -> None:
    token = visit(Role.ADMINISTRATOR).token()
    before = everything(app)
    response = administrator.client.post("/account/keys", data={"name": "x", "csrf_token": token})
    assert response.status_code == 400
    assert everything(app) == before


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_nothing_changes_when_another_site_asks(
    app: Flask, visit: Callable[..., Visitor], headers: dict[str, str]
) -> None:
    visitor = visit(Role.ADMINISTRATOR)
    token = visitor.token()
    before = everything(app)
    for route in routes.unsafe_pages(app):
        response = visitor.client.open(
            route.path, method=route.method, data={"csrf_token": token}, headers=headers
        )
        assert response.status_code == 403, route
        assert "request didn't come from a Slipway page" in text_of(response)
    assert everything(app) == before
    assert visitor.is_signed_in()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
        {},
    ],
)
def test_our_own_pages_may_ask(visit: Callable[..., Visitor], headers: dict[str, str]) -> None:
    visitor = visit(Role.VIEWER)
    data = {"name": "script", "csrf_token": visitor.token()}
    response = visitor.client.post("/account/keys", data=data, headers=headers)
    assert response.status_code == 303


@pytest.mark.settings(public_url="https://images.example.test/")
def test_the_public_address_counts_as_our_own_behind_a_proxy(app: Flask) -> None:
    response = app.test_client().post(
        "/shell/theme", headers={"Origin": "https://images.example.test"}
    )
    assert response.status_code == 400  # past the origin, stopped for want of a token


def test_htmx_sends_the_token_in_a_header(visit: Callable[..., Visitor]) -> None:
    visitor = visit(Role.VIEWER)
    response = visitor.client.post(
        "/account/keys",
        data={"name": "script"},
        headers={"X-CSRFToken": visitor.token(), "HX-Request": "true"},
    )
    assert (response.status_code, response.headers["HX-Redirect"]) == (204, "/account#keys")


def test_reading_changes_nothing(app: Flask, visit: Callable[..., Visitor]) -> None:
    visitor = visit(Role.ADMINISTRATOR)
    before = everything(app)
    for route in routes.pages(app):
        if route.method == "GET":
            visitor.get(route.path)
    assert everything(app) == before


def test_a_page_of_the_api_needs_no_token(app: Flask) -> None:
    response = app.test_client().post("/MAAS/api/2.0/boot-sources/")
    assert response.status_code == 401
