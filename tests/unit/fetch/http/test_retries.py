# SPDX-License-Identifier: Apache-2.0
"""Metadata over HTTP: what's tried again, and what comes instead of a document."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.unit.fetch.http.requests import CONTENT, fetched, problem_with, quick
from tests.unit.fetch.servers import RawServer, saying
from webapp.fetch import (
    Fetched,
    Fetcher,
    FetchProblem,
)

# -- retries


def test_503_twice_then_good_is_good(server: MirrorServer) -> None:
    server.set_faults([Fault(path="document", status=503, first=2)])
    waits: list[tuple[float, str]] = []
    with Fetcher(
        limits=quick(retries=4),
        on_wait=lambda seconds, problem: waits.append((seconds, problem.got)),
    ) as fetcher:
        assert isinstance(fetcher.metadata(server.url + "document"), Fetched)
    assert [request.status for request in server.log] == [503, 503, 200]
    assert [got for _, got in waits] == ["503 Service Unavailable"] * 2
    assert all(0 <= seconds <= 0.02 for seconds, _ in waits)


@pytest.mark.parametrize("fault", [{"cut": 5}, {"reset": 5}, {"status": 429}, {"status": 500}])
def test_what_may_pass_is_tried_again(server: MirrorServer, fault: dict[str, Any]) -> None:
    server.set_faults([{"path": "document", "first": 1, **fault}])
    assert fetched(server.url + "document", limits=quick(retries=1)).content == CONTENT
    assert len(server.log) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 451, 501, 206, 304, 204])
def test_what_will_not_pass_is_not_tried_again(server: MirrorServer, status: int) -> None:
    server.set_faults([Fault(path="document", status=status)])
    problem = problem_with(server.url + "document", limits=quick(retries=4))
    assert (problem.code, problem.status) == ("http-status", status)
    assert len(server.log) == 1


def test_retries_end(server: MirrorServer) -> None:
    server.set_faults([Fault(path="document", status=503, body="SECRET BODY")])
    problem = problem_with(server.url + "document", limits=quick(retries=3))
    assert (problem.status, len(server.log)) == (503, 4)
    assert "SECRET" not in str(problem)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("7", 7), ("86400", 60), ("Fri, 31 Dec 2094 23:59:59 GMT", 60), ("soon", 0)],
)
def test_retry_after_is_obeyed_within_bounds(
    server: MirrorServer, text: str, seconds: float
) -> None:
    server.set_faults([Fault(path="document", status=503, first=1, headers={"Retry-After": text})])
    waits: list[float] = []

    class Enough(Exception):
        pass

    def on_wait(pause: float, problem: FetchProblem) -> None:
        waits.append(pause)
        raise Enough

    limits = quick(retries=2, total_metadata_s=600, retry_after_max_s=60)
    with Fetcher(limits=limits, on_wait=on_wait) as fetcher, pytest.raises(Enough):
        fetcher.metadata(server.url + "document")
    assert seconds <= waits[0] <= seconds + 0.02


# -- what comes instead of the document


@pytest.mark.parametrize(
    "page",
    ["<!DOCTYPE html><title>Sign in SECRET</title>", "\n\n  <html>SECRET</html>", "<?xml ?>SECRET"],
)
def test_a_web_page_names_the_probable_cause(server: MirrorServer, page: str) -> None:
    server.set_faults([Fault(path="document", body=page, headers={"Content-Type": "text/html"})])
    problem = problem_with(server.url + "document", limits=quick(retries=3))
    assert problem.code == "http-html"
    assert "proxy or a sign-in page" in problem.what
    assert "SECRET" not in str(problem)
    assert len(server.log) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"headers": {"Content-Encoding": "br"}},
        {"headers": {"Content-Encoding": "identity, gzip"}},
    ],
)
def test_encoded_bytes_are_refused_unread(server: MirrorServer, fault: dict[str, Any]) -> None:
    server.set_faults([{"path": "document", **fault}])
    assert problem_with(server.url + "document").code == "http-encoding"


def test_a_gzipped_document_is_unpacked_within_its_cap(server: MirrorServer) -> None:
    plain = fetched(server.url + "document").content
    server.set_faults([{"path": "document", "is_gzipped": True}])
    assert fetched(server.url + "document").content == plain
    bomb = {
        "body": gzip.compress(bytes(50_000), mtime=0),
        "headers": {"Content-Encoding": "x-gzip"},
    }
    server.set_faults([{"path": "document", **bomb}])
    limits = quick(metadata_bytes=10_000)
    assert problem_with(server.url + "document", limits=limits).code == "http-too-large"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", " GZIP "])
def test_a_document_that_only_claims_to_be_gzipped_is_taken_as_it_is(
    server: MirrorServer, coding: str
) -> None:
    plain = fetched(server.url + "document").content
    server.set_faults([{"path": "document", "headers": {"Content-Encoding": coding}}])
    assert fetched(server.url + "document").content == plain


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"{}", mtime=0)[:-3],
        gzip.compress(b"{}", mtime=0) + b"more",
        gzip.compress(b"{}", mtime=0)[:10] + b"\xff" * 20,
    ],
)
def test_a_gzipped_document_that_is_damaged_is_refused(server: MirrorServer, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip"}
    server.set_faults([{"path": "document", "body": body, "headers": headers}])
    assert problem_with(server.url + "document").code == "http-encoding"


def test_an_unknown_transfer_encoding_is_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    with RawServer(saying(head, b"2\r\n{}\r\n0\r\n\r\n")) as raw:
        assert problem_with(raw.url).code == "http-encoding"


@pytest.mark.parametrize("fault", [{"length": 900}, {"is_chunked": True, "cut": 5}])
def test_a_document_that_ends_early_is_not_taken(
    server: MirrorServer, fault: dict[str, Any]
) -> None:
    server.set_faults([{"path": "document", **fault}])
    assert problem_with(server.url + "document").code == "http-short"
