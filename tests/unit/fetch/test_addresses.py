# SPDX-License-Identifier: Apache-2.0
"""Which addresses a fetch may reach (rule: outward-redirects)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.unit.fetch.servers import RawServer, saying
from webapp.fetch import Fetched, Fetcher, FetchProblem, Limits, Route
from webapp.fetch.addresses import AddressRule, Reach, reach_of, written_address

QUICK = Limits(retries=0, backoff_s=0.01)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("185.125.190.37", Reach.PUBLIC),
        ("2620:2d:4000:1::17", Reach.PUBLIC),
        ("64:ff9b::8.8.8.8", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("172.16.5.4", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("198.18.0.1", Reach.PRIVATE),
        ("fd12:3456::1", Reach.PRIVATE),
        ("127.0.0.1", Reach.LOOPBACK),
        ("127.8.9.10", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("0.0.0.0", None),
        ("0.1.2.3", None),
        ("169.254.169.254", None),
        ("169.254.0.1", None),
        ("100.100.100.200", None),
        ("168.63.129.16", None),
        ("192.0.0.192", None),
        ("224.0.0.1", None),
        ("239.255.255.250", None),
        ("240.0.0.1", None),
        ("255.255.255.255", None),
        ("::", None),
        ("::ffff:127.0.0.1", None),
        ("::ffff:169.254.169.254", None),
        ("::ffff:8.8.8.8", None),
        ("::127.0.0.1", None),
        ("fe80::1", None),
        ("fd00:ec2::254", None),
        ("ff02::1", None),
        ("2002:7f00:1::", None),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", None),
        ("64:ff9b::169.254.169.254", None),
        ("64:ff9b::127.0.0.1", None),
        ("64:ff9b::10.0.0.1", None),
        ("64:ff9b:1::1", None),
    ],
)
def test_how_far_inside_an_address_is(address: str, reach: Reach | None) -> None:
    assert reach_of(ip_address(address)) is reach


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0xa9fea9fe", "169.254.169.254"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_addresses_in_odd_spellings_are_addresses(host: str, address: str) -> None:
    assert written_address(host) == ip_address(address)


def test_a_name_is_no_address() -> None:
    assert written_address("mirror.example.test") is None


@pytest.mark.parametrize(
    ("to", "limit", "is_allowed"),
    [
        ("8.8.8.8", Reach.PUBLIC, True),
        ("10.0.0.1", Reach.PUBLIC, False),
        ("127.0.0.1", Reach.PUBLIC, False),
        ("10.0.0.1", Reach.PRIVATE, True),
        ("127.0.0.1", Reach.PRIVATE, False),
        ("8.8.8.8", Reach.LOOPBACK, True),
        ("127.0.0.1", Reach.LOOPBACK, True),
        ("127.0.0.1", None, True),
        ("10.0.0.1", None, True),
        ("169.254.169.254", None, False),
        ("10.66.0.1", None, False),
    ],
)
def test_redirects_lead_outward_or_stay(to: str, limit: Reach | None, is_allowed: bool) -> None:
    rule = AddressRule((ip_network("10.66.0.0/16"),))
    if is_allowed:
        assert rule.check(to, 80, limit=limit, where="x") is reach_of(ip_address(to))
    else:
        with pytest.raises(FetchProblem) as caught:
            rule.check(to, 80, limit=limit, where="x")
        assert caught.value.code == "address-refused"
        assert caught.value.got == to


def test_a_redirect_never_leads_to_our_own_ports() -> None:
    rule = AddressRule(own_ports=(5240,))
    assert rule.check("127.0.0.1", 5240, limit=None, where="x") is Reach.LOOPBACK
    assert rule.check("127.0.0.1", 80, limit=Reach.LOOPBACK, where="x") is Reach.LOOPBACK
    with pytest.raises(FetchProblem, match="Slipway itself"):
        rule.check("127.0.0.1", 5240, limit=Reach.LOOPBACK, where="x")
    assert rule.check("192.0.2.1", 5240, limit=Reach.LOOPBACK, where="x") is Reach.PRIVATE


# -- on the wire


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MirrorServer]:
    tmp_path.joinpath("document").write_bytes(b"{}")
    with MirrorServer(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/latest/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://0:{port}/",
        "http://[::]:{port}/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://[fe80::1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[fd00:ec2::254]/",
    ],
)
def test_a_redirect_to_a_forbidden_address_makes_no_connection(
    server: MirrorServer, target: str
) -> None:
    with RawServer(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as trap:
        server.set_faults([Fault(path=".", redirect=target.format(port=trap.port))])
        with Fetcher(limits=QUICK) as fetcher, pytest.raises(FetchProblem) as caught:
            fetcher.metadata(server.url + "document")
        assert caught.value.code == "address-refused"
        assert trap.accepted == 0


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/", "address-refused"),
        ("http://[::ffff:127.0.0.1]:{port}/", "address-refused"),
        ("http://0.0.0.0:{port}/", "address-refused"),
        ("file:///etc/passwd", "folder-refused"),
        ("gopher://127.0.0.1:{port}/", "url-invalid"),
        ("ftp://127.0.0.1:{port}/", "url-invalid"),
        ("//127.0.0.1:{port}/", "url-invalid"),
        ("http://user:SECRET@127.0.0.1:{port}/", "url-invalid"),
        ("http://good.test\\@127.0.0.1:{port}/", "url-invalid"),
        ("http://127.0.0.1:{port}/a b", "url-invalid"),
        ("http://127.0.0.1:{port}/\r\nX: y", "url-invalid"),
        ("http://127.0.0.1:99999/", "url-invalid"),
        ("http://127.0.0.1:0/", "url-invalid"),
        ("http:///path", "url-invalid"),
        ("http://[::1/", "url-invalid"),
        ("", "url-invalid"),
        ("http://127.0.0.1:{port}/" + "x" * 9000, "url-invalid"),
    ],
)
def test_a_typed_url_that_cannot_be_fetched_makes_no_connection(url: str, code: str) -> None:
    with RawServer(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as trap:
        with Fetcher(limits=QUICK) as fetcher, pytest.raises(FetchProblem) as caught:
            fetcher.metadata(url.format(port=trap.port))
        assert (caught.value.code, trap.accepted) == (code, 0)
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://user:SECRET@127.0.0.1/",
        "https:///nowhere",
        "http://127.0.0.1:0/",
        "javascript:alert(1)",
    ],
)
def test_a_redirect_to_something_else_than_http_is_refused(
    server: MirrorServer, target: str
) -> None:
    server.set_faults([Fault(path=".", redirect=target)])
    with Fetcher(limits=QUICK) as fetcher, pytest.raises(FetchProblem) as caught:
        fetcher.metadata(server.url + "document")
    assert caught.value.code == "http-redirect"
    assert "SECRET" not in str(caught.value)


def test_a_denied_network_is_not_even_connected_to(server: MirrorServer) -> None:
    with (
        Fetcher(limits=QUICK, deny_networks=["127.0.0.0/8"]) as fetcher,
        pytest.raises(FetchProblem, match="blocked by a setting"),
    ):
        fetcher.metadata(server.url + "document")
    assert server.log == []


def test_only_allowed_networks_are_connected_to(server: MirrorServer) -> None:
    with Fetcher(limits=QUICK, allow_networks=["10.0.0.0/8", "127.0.0.0/8"]) as fetcher:
        fetcher.metadata(server.url + "document")
    seen = len(server.log)
    with (
        Fetcher(limits=QUICK, allow_networks=["10.0.0.0/8"]) as fetcher,
        pytest.raises(FetchProblem, match="isn't among those"),
    ):
        fetcher.metadata(server.url + "document")
    assert len(server.log) == seen


def test_plain_http_can_be_forbidden() -> None:
    rule = AddressRule(is_https_only=True)
    for url in ("https://mirror.example.test/", "http://127.0.0.1/", "http://localhost:80/"):
        rule.check_url(url, where=url)
    with pytest.raises(FetchProblem, match="only https"):
        rule.check_url("http://mirror.example.test/", where="x")
    with (
        Fetcher(limits=QUICK, is_https_only=True) as fetcher,
        pytest.raises(FetchProblem, match="only https"),
    ):
        fetcher.metadata("http://mirror.example.test/document")


def test_a_name_through_a_proxy_is_refused_where_only_networks_are_allowed() -> None:
    rule = AddressRule(allow_networks=[ip_network("198.51.100.0/24")])
    assert rule.check_host("198.51.100.7", 80, limit=None, where="x") is not None
    for host in ("mirror.example.test", "203.0.113.7", "localhost", "0x7f.1"):
        with pytest.raises(FetchProblem):
            rule.check_host(host, 80, limit=None, where="x")


def test_a_redirect_from_loopback_to_our_own_port_is_refused(server: MirrorServer) -> None:
    with RawServer(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as admin:
        server.set_faults([Fault(path=".", redirect=f"{admin.url}admin/delete")])
        with (
            Fetcher(limits=QUICK, own_ports=[admin.port]) as fetcher,
            pytest.raises(FetchProblem, match="Slipway itself"),
        ):
            fetcher.metadata(server.url + "document")
        assert admin.accepted == 0


class Names:
    """A name service of the test's own: the next answer for each look-up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked = 0
        self._answers = answers
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)

    def resolve(self, host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [row for text in answer for row in self._real(text, port, *args, **kwargs)]


def test_the_checked_address_is_the_one_that_is_connected_to(
    server: MirrorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    with Fetcher(limits=QUICK) as fetcher:
        url = f"http://rebind.test:{server.listener.server_address[1]}/document"
        assert isinstance(fetcher.metadata(url), Fetched)
        assert isinstance(fetcher.metadata(url), Fetched)
    assert names.asked == 1


def test_a_name_with_one_forbidden_address_is_refused_whole(
    server: MirrorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, ["127.0.0.1", "169.254.169.254"])
    with Fetcher(limits=QUICK) as fetcher, pytest.raises(FetchProblem) as caught:
        fetcher.metadata(f"http://mixed.test:{server.listener.server_address[1]}/document")
    assert (caught.value.code, server.log) == ("address-refused", [])


def test_a_kept_alive_connection_passes_the_rule_of_each_request(
    server: MirrorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reach_of
    outside = "127.0.0.2"
    monkeypatch.setattr(
        "webapp.fetch.addresses.reach_of",
        lambda address: Reach.PUBLIC if str(address) == outside else real(address),
    )
    redirect = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
    with (
        RawServer(saying(redirect % (server.url + "document").encode()), host=outside) as public,
        Fetcher(limits=QUICK) as fetcher,
    ):
        # The connection to loopback exists and may be used for what was typed ...
        assert isinstance(fetcher.metadata(server.url + "document"), Fetched)
        # ... but not for a redirect from outside.
        with pytest.raises(FetchProblem, match="from a public address to a loopback one"):
            fetcher.metadata(public.url)
    assert len(server.log) == 1


def test_through_a_proxy_written_out_addresses_are_judged(server: MirrorServer) -> None:
    with Fetcher(Route(proxy_url=server.url), QUICK) as fetcher:
        fetched = fetcher.metadata("http://mirror.example.test/document")
        assert isinstance(fetched, Fetched)
        with pytest.raises(FetchProblem, match="kind of address"):
            fetcher.metadata("http://169.254.169.254/document")
        for inside in ("http://127.0.0.1/x", "http://localhost/x", "http://2130706433/x"):
            server.set_faults([Fault(path="document", redirect=inside)])
            with pytest.raises(FetchProblem, match="from a public address to a loopback one"):
                fetcher.metadata("http://mirror.example.test/document")
    assert {request.path for request in server.log} == {"http://mirror.example.test/document"}
