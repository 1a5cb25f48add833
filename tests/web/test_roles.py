# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from tests.web import routes
from tests.web.visitors import Visitor, leads_to
from webapp.models import Role
from webapp.services.accounts import rights
from webapp.web.access import access_of

# What anybody may open, signed in or not. A page that joins this list does so on purpose.
PUBLIC = {
    "GET /metrics",  # for its token and networks, see tests/web/test_metrics.py
    "GET /setup",
    "POST /setup",
    "GET /sign-in",
    "POST /sign-in",
    "GET /sign-in/code",
    "POST /sign-in/code",
    "POST /sign-out",
    "POST /shell/theme",
}


def test_every_page_carries_a_mark(app: Flask) -> None:
    unmarked = {str(r) for r in routes.pages(app) if access_of(app, r.endpoint) is None}
    assert unmarked == set()


def test_public_pages_are_those_on_the_list(app: Flask) -> None:
    assert {str(r) for r in routes.pages(app) if routes.is_public(app, r)} == PUBLIC


def test_strangers_are_sent_to_sign_in_from_every_other_page(
    app: Flask, administrator: Visitor, visit: Callable[..., Visitor]
) -> None:
    stranger = visit()
    token = stranger.token()
    for route in routes.pages(app):
        if routes.is_public(app, route):
            continue
        response = stranger.client.open(route.path, method=route.method, data={"csrf_token": token})
        assert (response.status_code, leads_to(response)) == (303, "/sign-in"), route


def test_each_role_reaches_exactly_its_pages(app: Flask, visit: Callable[..., Visitor]) -> None:
    visit(Role.ADMINISTRATOR)  # so that there is one, whatever the others do
    for role in Role:
        for route in routes.pages(app):
            access = access_of(app, route.endpoint)
            assert access
            if access.right is None:
                continue
            visitor = visit(role)
            response = visitor.client.open(
                route.path, method=route.method, data={"csrf_token": visitor.token()}
            )
            if rights.may(role, access.right):
                assert response.status_code not in (400, 401, 403, 405, 500), (role, route)
                assert leads_to(response) != "/sign-in" or route.endpoint == "accounts.sign_out"
            else:
                assert response.status_code == 403, (role, route)


def test_a_page_without_a_mark_is_refused_for_everybody(
    app: Flask, visit: Callable[..., Visitor]
) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    for role in (None, *Role):
        response = visit(role).get("/forgotten")
        assert response.status_code == 403
        assert "secret" not in response.text


def test_the_cookie_means_nothing_to_the_scripts_api(
    app: Flask, administrator: Visitor, stranger: Visitor
) -> None:
    found = routes.scripts(app)
    assert found
    for route in found:
        as_administrator = administrator.client.open(route.path, method=route.method)
        as_stranger = stranger.client.open(route.path, method=route.method)
        assert as_administrator.status_code == as_stranger.status_code, route
        assert "Set-Cookie" not in as_administrator.headers, route


def test_the_menu_shows_users_to_administrators_only(
    administrator: Visitor, viewer: Visitor
) -> None:
    assert 'href="/users/"' in administrator.get("/account").text
    assert 'href="/users/"' not in viewer.get("/account").text


def test_a_demoted_administrator_loses_the_pages_at_once(
    app: Flask, administrator: Visitor, visit: Callable[..., Visitor]
) -> None:
    other = visit(Role.ADMINISTRATOR)
    assert other.get("/users/").status_code == 200
    administrator.post(f"/users/{other.user_id}/role", {"role": "viewer"})
    assert other.get("/users/").status_code == 403
