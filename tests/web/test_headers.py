# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.test import TestResponse, create_environ, run_wsgi_app

from tests.web import routes
from tests.web.visitors import HTMX, Visitor
from webapp.models import Role

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HTTPS = "https://images.example.test/"


def static_url(app: Flask, name: str) -> str:
    url: str = app.jinja_env.globals["static_url"](name)  # type: ignore[operator]
    return url


def closed(response: TestResponse) -> TestResponse:
    """Let go of the file that the answer streams."""
    response.close()
    return response


def answers(app: Flask, visitor: Visitor) -> dict[str, TestResponse]:
    """One answer of each kind that the web plane gives."""

    @app.get("/breaks")
    def breaks() -> str:
        raise RuntimeError("a secret inside")

    breaks.__dict__["slipway_access"] = app.view_functions["shell.set_theme"].__dict__[
        "slipway_access"
    ]
    app.testing = False
    client = visitor.client
    token = visitor.token()
    return {
        "200": visitor.get("/account"),
        "204": visitor.get("/account", HX_Request="true"),
        "303": visitor.post("/shell/theme"),
        "400": client.post("/account/keys"),
        "403": client.post("/account/keys", headers={"Origin": "https://evil.example.test"}),
        "404": visitor.get("/nowhere"),
        "405": client.delete("/account"),
        "413": client.post("/account/keys", data={"csrf_token": token, "name": "x" * (1 << 21)}),
        "422": client.post("/account/keys", data={"csrf_token": token}),
        "500": visitor.get("/breaks"),
        "part": visitor.get("/shell/import-pill", HX_Request="true"),
        "script": visitor.get("/MAAS/api/2.0/version/"),
        "script 404": visitor.get("/MAAS/nowhere"),
        "static": closed(visitor.get(static_url(app, "app.css"))),
        "static 405": client.post(static_url(app, "app.css")),
        "static 404": visitor.get("/static/nowhere.css"),
        "trace": client.open("/account", method="TRACE"),
        "options": client.open("/account", method="OPTIONS"),
    }


def test_every_answer_carries_the_headers(app: Flask, administrator: Visitor) -> None:
    found = answers(app, administrator)
    for kind, response in found.items():
        for name, value in ALWAYS.items():
            assert response.headers.getlist(name) == [value], (kind, name)
        policy = response.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy, kind
        assert response.headers["Permissions-Policy"], kind
        assert response.headers["Referrer-Policy"] == "same-origin", kind
        assert "Access-Control-Allow-Origin" not in response.headers, kind
        assert "Strict-Transport-Security" not in response.headers, kind
        assert response.headers["X-Request-ID"] if "static" not in kind else True, kind
        assert response.content_type or kind in ("204", "static 405"), kind


def test_what_belongs_to_a_session_is_never_stored(app: Flask, administrator: Visitor) -> None:
    for kind, response in answers(app, administrator).items():
        if kind != "static" and kind != "static 405":
            assert response.headers["Cache-Control"] == "no-store", kind


def test_the_policy_allows_no_inline_script_and_no_eval(stranger: Visitor) -> None:
    policy = stranger.get("/setup").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["base-uri"] == rules["object-src"] == "'none'"
    assert rules["form-action"] == "'self'"


def test_pages_keep_to_their_policy(app: Flask, visit: Callable[..., Visitor]) -> None:
    from tests.web import gallery

    gallery.register(app)
    visitor = visit(Role.ADMINISTRATOR)
    pages = [r.path for r in routes.pages(app) if r.method == "GET"]
    for path in [*pages, "/nowhere"]:
        page = visitor.get(path).text
        assert not re.search(r"<script(?![^>]*\ssrc=)[^>]*>", page), path
        assert not re.search(r"""\s(style|on[a-z]+|hx-on[:\w-]*)=["']""", page), path
        assert "<style" not in page, path
        assert "javascript:" not in page, path
        for url in re.findall(r"""\s(?:src|action|srcset|poster|formaction)=["']([^"']*)""", page):
            assert url.startswith("/"), (path, url)
        for tag in re.findall(r"<(?:link|use)[^>]*>", page):
            assert 'href="/static/' in tag, (path, tag)


@pytest.mark.settings(public_url=HTTPS)
def test_hsts_is_sent_when_users_come_over_https(app: Flask) -> None:
    client = app.test_client()
    for path in ("/setup", "/nowhere", static_url(app, "app.css"), "/MAAS/api/2.0/version/"):
        response = closed(client.get(path))
        assert response.headers["Strict-Transport-Security"] == (
            "max-age=31536000; includeSubDomains"
        ), path


def test_pages_and_parts_are_kept_apart_by_caches(administrator: Visitor) -> None:
    for path in ("/account", "/users/"):
        page = administrator.get(path)
        assert "HX-Request" in page.headers["Vary"], path
    part = administrator.get("/shell/import-pill", HX_Request="true")
    assert "HX-Request" in part.headers["Vary"]


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "CONNECT", "TRACK", "PROPFIND", "FOO"])
def test_odd_methods_are_refused(administrator: Visitor, method: str) -> None:
    for path in ("/", "/account", "/nowhere", "/MAAS/api/2.0/version/"):
        response = administrator.client.open(
            path, method=method, headers={"Cookie": "a=canary", "X-Canary": "canary"}
        )
        assert response.status_code == 405, path
        assert response.headers["Allow"], path
        assert "canary" not in response.text, path


@pytest.mark.settings(trusted_proxies=1)
def test_nothing_is_built_from_the_host_that_a_client_names(
    app: Flask, visit: Callable[..., Visitor]
) -> None:
    named = (
        {"Host": "evil.example.test"},
        {"X-Forwarded-Host": "evil.example.test"},
        {"X-Forwarded-Proto": "https"},
        {"X-Original-URL": "/users/"},
        {"Forwarded": "host=evil.example.test;proto=https"},
    )
    for visitor in (visit(), visit(Role.ADMINISTRATOR)):
        for headers in named:
            for path in ("/", "/users", "/users/", "//users", "/sign-in", "/nowhere"):
                response = visitor.client.get(path, headers=headers)
                assert "evil.example.test" not in response.text + str(response.headers)
                location = response.headers.get("Location", "/")
                assert location.startswith("/")
                assert not location.startswith("//")


def test_nothing_else_is_served(administrator: Visitor) -> None:
    for path in (
        "/.git/config",
        "/.env",
        "/static/",
        "/static/../webapp/config.py",
        "/static/..%2fwebapp/config.py",
        "/static/vendor/",
        "/console",
        "/debug",
        "/metrics",
        "/server-status",
    ):
        assert administrator.get(path).status_code == 404, path


def test_a_request_has_a_number_in_answer_and_log(
    administrator: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = administrator.get("/nowhere?secret=1"), administrator.get("/nowhere")
    number = first.headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{16}", number)
    assert number != second.headers["X-Request-ID"]
    assert number in caplog.text
    assert "secret=1" not in caplog.text


def test_a_number_that_a_client_names_is_not_taken_over(administrator: Visitor) -> None:
    response = administrator.get("/nowhere", X_Request_ID="chosen\tby me")
    assert "chosen" not in str(response.headers)


def test_htmx_headers_do_not_open_pages(stranger: Visitor, administrator: Visitor) -> None:
    response = stranger.client.get("/users/", headers=HTMX)
    assert response.status_code == 401
    assert response.data == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "a" * 64}, 400),
        ({"Host": "a..b"}, 400),
        ({"Host": "."}, 400),
        ({"Origin": "http://["}, 403),
        ({"HX-Request": "true", "HX-Current-URL": "http://["}, 401),
    ],
)
def test_headers_that_no_browser_sends_are_refused_in_order(
    stranger: Visitor, administrator: Visitor, headers: dict[str, str], status: int
) -> None:
    method = "POST" if "Origin" in headers else "GET"
    answer = stranger.client.open("/sources/", method=method, headers=headers)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("protocol", "status"), [("HTTP/1.1", 400), ("HTTP/1.0", 200)])
def test_a_request_without_a_host_is_refused_from_http_1_1_on(
    app: Flask, protocol: str, status: int
) -> None:
    environ = create_environ("/sign-in", environ_overrides={"SERVER_PROTOCOL": protocol})
    del environ["HTTP_HOST"]
    statuses = [run_wsgi_app(app.wsgi_app, environ)[1]]
    assert statuses[0].startswith(str(status)) or (status, statuses[0][:3]) == (200, "303")


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "a/b", "a@b", "..", "a:b", "a:1:2", "[::1", "::1", "a\x1b", "é", "a" * 301],
)
def test_a_host_that_names_none_is_refused(app: Flask, host: str) -> None:
    environ = create_environ("/sign-in", environ_overrides={"SERVER_PROTOCOL": "HTTP/1.1"})
    for path in ("/sign-in", "/api/v1/me", "/MAAS/api/2.0/users/", "/static/app.css"):
        environ |= {"HTTP_HOST": host, "PATH_INFO": path}
        assert run_wsgi_app(app.wsgi_app, environ)[1].startswith("400"), path


@pytest.mark.parametrize("host", ["a", "lab_1.example.", "192.0.2.1:5240", "[::1]:5240", "a:"])
def test_hosts_of_all_kinds_are_served(app: Flask, host: str) -> None:
    environ = create_environ("/api/v1/me", environ_overrides={"HTTP_HOST": host})
    assert run_wsgi_app(app.wsgi_app, environ)[1].startswith("401")


def test_signing_out_clears_what_the_browser_keeps(administrator: Visitor) -> None:
    answer = administrator.post("/sign-out", {})
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
