# SPDX-License-Identifier: Apache-2.0
"""Redirects, credentials, TLS and proxies."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.unit.fetch import servers
from tests.unit.fetch.http.requests import CONTENT, QUICK, fetched, problem_with, quick
from tests.unit.fetch.servers import RawServer, saying, tunnelling
from webapp.fetch import (
    Fetched,
    Fetcher,
    FetchProblem,
    Route,
    is_in_clear,
)

# -- redirects and credentials


def test_redirects_are_followed_on_the_same_host(server: MirrorServer) -> None:
    server.set_faults([Fault(path="^old", redirect="/document", status=308)])
    answer = fetched(server.url + "old")
    assert (answer.content, answer.url) == (CONTENT, server.url + "document")


def test_redirects_in_circles_end(server: MirrorServer) -> None:
    server.set_faults([Fault(path="document", redirect="{base}document", status=301)])
    assert problem_with(server.url + "document").code == "http-redirect"
    assert len(server.log) == QUICK.redirects + 1


def test_the_body_of_a_redirect_is_not_read() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://0.0.0.0/\r\n\r\n"
    with RawServer(saying(head, endless=b"x" * 65536)) as raw:
        assert problem_with(raw.url).code == "address-refused"


def test_a_redirect_without_a_target_is_refused(server: MirrorServer) -> None:
    server.set_faults([Fault(path="document", status=302)])
    assert problem_with(server.url + "document").got == "no Location header"


@pytest.mark.parametrize(
    ("route", "header"),
    [
        (Route(auth_kind="bearer", secret="t0ken"), "Bearer t0ken"),
        (
            Route(auth_kind="basic", username="me", secret="pässword"),
            "Basic " + base64.b64encode("me:pässword".encode()).decode(),
        ),
    ],
    ids=["bearer", "basic"],
)
def test_credentials_stay_with_the_host_they_are_for(
    server: MirrorServer, route: Route, header: str
) -> None:
    server.set_faults(
        [
            Fault(path="^home", redirect="{base}document"),
            Fault(path="^away", redirect="{canary}document"),
        ]
    )
    with Fetcher(route, QUICK) as fetcher:
        fetcher.metadata(server.url + "home")
        fetcher.metadata(server.url + "away")
    assert [request.headers["authorization"] for request in server.log] == [header] * 3
    assert ["authorization" in request.headers for request in server.canary_log] == [False]


@pytest.mark.parametrize(
    ("url", "is_clear"),
    [
        ("http://mirror.example/", True),
        ("http://10.0.0.7:8080/", True),
        ("http://0x0a000007/", True),
        ("http://[2001:db8::1]/", True),
        ("https://mirror.example/", False),
        ("http://127.0.0.1:8080/", False),
        ("http://[::1]/", False),
        ("http://localhost./", False),
        ("http://[half", False),
    ],
)
def test_plain_http_to_another_machine_can_be_read_on_the_way(url: str, is_clear: bool) -> None:
    assert is_in_clear(url) is is_clear


def test_credentials_go_over_plain_http_only_where_allowed(server: MirrorServer) -> None:
    url = "http://192.0.2.1/document"
    route = Route(proxy_url=server.url, auth_kind="bearer", secret="SECRET")
    problem = problem_with(url, route)
    assert problem.code == "login-in-clear"
    assert "SECRET" not in str(problem)
    assert server.log == []
    assert fetched(url, replace(route, is_clear_fine=True)).content == CONTENT
    assert server.log[0].headers["authorization"] == "Bearer SECRET"


@pytest.mark.parametrize(
    "route",
    [
        Route(auth_kind="bearer", secret="two words"),
        Route(auth_kind="bearer", secret="line\r\nX-Injected: yes"),
        Route(auth_kind="bearer"),
        Route(auth_kind="basic", username="a:b", secret="SECRET"),
        Route(auth_kind="magic", secret="SECRET"),
    ],
)
def test_credentials_that_cannot_be_sent_are_refused(route: Route) -> None:
    with pytest.raises(FetchProblem, match="credentials") as caught:
        Fetcher(route)
    assert "SECRET" not in str(caught.value)


def test_no_problem_shows_a_query_or_a_login(server: MirrorServer) -> None:
    server.set_faults([Fault(path="document", redirect="{base}missing?token=SECRET#SECRET")])
    problem = problem_with(server.url + "document?key=SECRET")
    assert problem.where == server.url + "missing?…"
    assert "SECRET" not in str(problem)
    assert "SECRET" not in repr(Route(proxy_url="http://u:SECRET@p:1", secret="SECRET"))


# -- TLS


@pytest.fixture
def trusting(tmp_path: Path) -> Route:
    return Route(ca_file=str(servers.ca_file(tmp_path)))


def tls_server(tmp_path: Path, **certificate: Any) -> MirrorServer:
    folder = tmp_path / "www"
    folder.mkdir(exist_ok=True)
    folder.joinpath("document").write_bytes(CONTENT)
    return MirrorServer(folder, tls=servers.server_context(tmp_path, **certificate))


def test_a_named_ca_is_trusted(tmp_path: Path, trusting: Route) -> None:
    with tls_server(tmp_path) as server, Fetcher(trusting, QUICK) as fetcher:
        for _ in range(2):
            answer = fetcher.metadata(server.url + "document")
            assert isinstance(answer, Fetched)
            assert answer.content == CONTENT
        assert len({request.port for request in server.log}) == 1


@pytest.mark.parametrize(
    ("certificate", "got"),
    [({"days": -1}, "expired"), ({"host": "other.test"}, "IP address mismatch")],
    ids=["expired", "wrong host"],
)
def test_a_bad_certificate_is_refused_and_named(
    tmp_path: Path, trusting: Route, certificate: dict[str, Any], got: str
) -> None:
    with tls_server(tmp_path, **certificate) as server:
        problem = problem_with(server.url + "document", trusting, quick(retries=3))
        assert (problem.code, problem.is_temporary) == ("http-tls", False)
        assert got in problem.got
        assert server.log == []


def test_an_unknown_ca_is_refused(tmp_path: Path) -> None:
    with tls_server(tmp_path) as server:
        problem = problem_with(server.url + "document")
    assert (problem.code, "certificate" in problem.got) == ("http-tls", True)


def test_the_cas_are_read_for_https_only(
    server: MirrorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> None:
        raise FetchProblem("The CAs were read.", code="cas-read")

    monkeypatch.setattr("webapp.fetch.transport._default_context", read)
    with Fetcher() as fetcher:
        assert isinstance(fetcher.metadata(server.url + "document"), Fetched)
    with Fetcher() as fetcher, pytest.raises(FetchProblem, match=r"The CAs were read\."):
        fetcher.metadata(server.url.replace("http:", "HTTPS:") + "document")


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "broken.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FetchProblem) as caught:
        Fetcher(Route(ca_file=str(path)))
    assert (caught.value.code, caught.value.where) == ("http-tls", str(path))


def test_plain_http_on_an_https_url_is_reported(server: MirrorServer) -> None:
    problem = problem_with(server.url.replace("http:", "https:") + "document")
    assert problem.code == "http-tls"


def test_a_redirect_from_https_to_http_is_refused(
    tmp_path: Path, trusting: Route, server: MirrorServer
) -> None:
    with tls_server(tmp_path) as secure:
        secure.set_faults([Fault(path="document", redirect=server.url + "document")])
        problem = problem_with(secure.url + "document", trusting)
    assert (problem.code, problem.got) == ("http-redirect", "a step down from https to http")
    assert server.log == []


# -- proxies


def test_http_goes_through_the_proxy_of_the_route(server: MirrorServer) -> None:
    url = "http://mirror.example.test/document"
    assert fetched(url, Route(proxy_url=server.url)).content == CONTENT
    assert server.log[0].path == url


def test_https_goes_through_a_tunnel_of_the_proxy(tmp_path: Path, trusting: Route) -> None:
    seen: list[str] = []
    with tls_server(tmp_path) as server, RawServer(tunnelling(seen)) as proxy:
        route = Route(proxy_url=proxy.url, ca_file=trusting.ca_file)
        assert fetched(server.url + "document", route).content == CONTENT
        assert seen == [f"127.0.0.1:{server.listener.server_address[1]}"]


def test_the_login_of_a_proxy_is_for_the_proxy_only(tmp_path: Path, trusting: Route) -> None:
    seen: list[str] = []
    login = "Basic " + base64.b64encode(b"me:secret").decode()
    with tls_server(tmp_path) as server, RawServer(tunnelling(seen, login=login)) as proxy:
        route = Route(proxy_url=proxy.url.replace("//", "//me:secret@"), ca_file=trusting.ca_file)
        assert fetched(server.url + "document", route).content == CONTENT
        assert "proxy-authorization" not in server.log[0].headers

        wrong = Route(proxy_url=proxy.url.replace("//", "//me:WRONG@"), ca_file=trusting.ca_file)
        problem = problem_with(server.url + "document", wrong, quick(retries=3))
    assert (problem.code, problem.got) == ("http-proxy", "HTTP status 407")
    assert "WRONG" not in str(problem)
    assert "SECRET" not in str(problem)
    assert len(seen) == 2


def test_an_unreachable_proxy_is_named_as_such(server: MirrorServer) -> None:
    with RawServer(saying()) as gone:
        proxy = gone.url
    problem = problem_with(server.url + "document", Route(proxy_url=proxy))
    assert (problem.code, problem.got) == ("http-proxy", "Connection refused")
    assert server.log == []


def test_a_proxy_of_another_kind_is_refused() -> None:
    with pytest.raises(FetchProblem) as caught:
        Fetcher(Route(proxy_url="socks5://127.0.0.1:1080"))
    assert caught.value.code == "http-proxy"
