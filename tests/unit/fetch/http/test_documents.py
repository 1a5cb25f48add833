# SPDX-License-Identifier: Apache-2.0
"""Metadata over HTTP: capped, timed and conditional."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.unit.fetch.http.requests import CONTENT, QUICK, fetched, problem_with, quick
from tests.unit.fetch.servers import RawServer, request_of, saying
from webapp.fetch import (
    Fetched,
    Fetcher,
    FetchProblem,
    NotModified,
    Stopped,
)

# -- what goes right


def test_a_document_comes_with_its_validators(server: MirrorServer) -> None:
    answer = fetched(server.url + "document")
    assert answer.content == CONTENT
    assert answer.etag.startswith('"')
    assert answer.last_modified.endswith("GMT")


def test_an_unchanged_document_costs_one_304(server: MirrorServer) -> None:
    url = server.url + "document"
    with Fetcher(limits=QUICK) as fetcher:
        first = fetcher.metadata(url)
        assert isinstance(first, Fetched)
        by_tag = fetcher.metadata(url, etag=first.etag)
        by_time = fetcher.metadata(url, last_modified=first.last_modified)
        changed = fetcher.metadata(url, etag='"other"')
    assert isinstance(by_tag, NotModified)
    assert isinstance(by_time, NotModified)
    assert isinstance(changed, Fetched)
    assert [request.status for request in server.log] == [200, 304, 304, 200]


def test_one_connection_serves_all_requests(server: MirrorServer) -> None:
    with Fetcher(limits=QUICK) as fetcher:
        for name in ("document", "other", "document"):
            fetcher.metadata(server.url + name)
        fetcher.head(server.url + "document")
        with pytest.raises(FetchProblem):
            fetcher.metadata(server.url + "missing")
    assert len({request.port for request in server.log}) == 1


def test_requests_ask_for_plain_bytes_and_carry_nothing_else(
    server: MirrorServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password SECRET\n")
    monkeypatch.setenv("NETRC", str(netrc))
    before = dict(os.environ)
    server.set_faults([Fault(path="document", headers={"Set-Cookie": "track=1; Path=/"})])
    with Fetcher(limits=QUICK) as fetcher:
        fetcher.metadata(server.url + "document")
        fetcher.metadata(server.url + "document")
    assert dict(os.environ) == before
    for request in server.log:
        assert request.headers.keys() == {
            "host", "user-agent", "accept", "accept-encoding"
        }  # fmt: skip
        assert request.headers["accept-encoding"] == "identity"


def test_head_tells_status_and_size_without_a_body(server: MirrorServer) -> None:
    with Fetcher(limits=QUICK) as fetcher:
        there = fetcher.head(server.url + "document")
        missing = fetcher.head(server.url + "missing")
    assert (there.status, there.size, missing.status) == (200, len(CONTENT), 404)
    assert server.bytes_sent == 0


def test_threads_share_a_fetcher(server: MirrorServer) -> None:
    answers: list[object] = []
    with Fetcher(limits=QUICK) as fetcher:
        threads = [
            threading.Thread(
                target=lambda: answers.append(fetcher.metadata(server.url + "document"))
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [a.content for a in answers if isinstance(a, Fetched)] == [CONTENT] * 8


# -- caps


@pytest.mark.parametrize(
    "fault",
    [
        {"repeat": ["x", 50 << 20]},
        {"repeat": ["x", 50 << 20], "no_length": True},
        {"repeat": ["x", 50 << 20], "is_chunked": True},
        {"repeat": ["x", 50 << 20], "length": 1 << 40},
    ],
    ids=["declared", "until close", "chunked", "declared far more"],
)
def test_a_document_is_cut_at_the_cap(server: MirrorServer, fault: dict[str, Any]) -> None:
    server.set_faults([{"path": "document", **fault}])
    problem = problem_with(server.url + "document")
    assert (problem.code, problem.is_temporary) == ("http-too-large", False)
    assert server.bytes_sent < 12 << 20


@pytest.mark.parametrize(
    ("fault", "got"), [({}, "1001 bytes declared"), ({"is_chunked": True}, "more")]
)
def test_the_cap_is_exact(server: MirrorServer, fault: dict[str, Any], got: str) -> None:
    limits = quick(metadata_bytes=1000)
    server.set_faults([{"path": "document", "repeat": ["x", 1000], **fault}])
    assert len(fetched(server.url + "document", limits=limits).content) == 1000
    server.set_faults([{"path": "document", "repeat": ["x", 1001], **fault}])
    problem = problem_with(server.url + "document", limits=limits)
    assert (problem.code, problem.got) == ("http-too-large", got)


@pytest.mark.parametrize(
    ("answer", "endless"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 1000),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1;" + b"e" * 5000 + b"\r\nx\r\n",
        ),
    ],
    ids=["interim answers", "trailers", "chunk extensions"],
)
def test_framing_without_an_end_is_cut(answer: bytes, endless: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with RawServer(saying(answer, endless=endless)) as raw:
        assert problem_with(raw.url).code == "http-too-large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 400 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 2000 OK\r\n\r\n",
    ],
    ids=["line of 1 MB", "5000 headers", "not http", "zeros", "two lengths", "status 2000"],
)
def test_headers_that_are_none_or_too_large_are_refused(head: bytes) -> None:
    with RawServer(saying(head)) as raw:
        problem = problem_with(raw.url)
    assert problem.code == "http-invalid"
    assert "SSH" not in str(problem)


# -- time


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"hang": 30}, "http-timeout"),
        ({"stall": [5, 30]}, "http-timeout"),
        ({"drip": [1, 0.05]}, "http-timeout"),
    ],
)
def test_a_slow_document_ends_in_time(
    server: MirrorServer, fault: dict[str, Any], code: str
) -> None:
    server.set_faults([{"path": "document", **fault}])
    limits = quick(read_s=0.3, total_metadata_s=0.6, retries=9)
    problem = problem_with(server.url + "document", limits=limits)
    assert (problem.code, problem.is_temporary) == (code, True)


def test_trickled_headers_end_in_time() -> None:
    def talk(connection: Any) -> None:
        request_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X: y\r\n")
            connection.settimeout(0.02)
            try:
                connection.recv(1)
            except TimeoutError:
                connection.settimeout(None)

    with RawServer(talk) as raw:
        problem = problem_with(raw.url, limits=quick(total_metadata_s=0.5))
    assert problem.code in ("http-timeout", "http-invalid")


def test_a_tls_server_that_says_nothing_ends_in_time() -> None:
    with RawServer(lambda connection: connection.recv(1) and connection.recv(1 << 16)) as raw:
        url = raw.url.replace("http:", "https:")
        assert problem_with(url, limits=quick(connect_s=0.3)).code in ("http-timeout", "http-tls")


def test_a_closed_port_is_reported_in_words() -> None:
    with RawServer(saying()) as gone:
        url = gone.url
    problem = problem_with(url)
    assert (problem.code, problem.got) == ("http-connection", "Connection refused")
    assert problem.is_temporary


def test_an_unknown_name_is_reported_in_words() -> None:
    problem = problem_with("http://no-such-mirror.test/document")
    assert (problem.code, problem.got) == ("http-connection", "no-such-mirror.test")


@pytest.mark.parametrize("fault", [{"hang": 30}, {"stall": [5, 30]}])
def test_a_stop_is_heard_while_the_server_is_silent(
    server: MirrorServer, fault: dict[str, Any]
) -> None:
    server.set_faults([{"path": "document", **fault}])
    asked = threading.Event()

    def is_stopped() -> bool:
        # Not at once: the second question comes from within the silence.
        if asked.is_set():
            return True
        asked.set()
        return False

    limits = quick(read_s=600, total_metadata_s=600)
    with Fetcher(limits=limits, is_stopped=is_stopped) as fetcher, pytest.raises(Stopped):
        fetcher.metadata(server.url + "document")
