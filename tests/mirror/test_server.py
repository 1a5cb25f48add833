# SPDX-License-Identifier: Apache-2.0
"""The mirror server is right by itself and wrong only where a fault says so."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer

CONTENT = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(8000))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MirrorServer]:
    root = tmp_path / "www"
    root.joinpath("sub").mkdir(parents=True)
    root.joinpath("sub", "image").write_bytes(CONTENT)
    root.joinpath("other").write_bytes(b"other")
    tmp_path.joinpath("outside").write_bytes(b"outside")
    with MirrorServer(root) as running:
        yield running


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept-Encoding"] = "identity"
        yield session


def read_until_it_breaks(url: str, **headers: str) -> tuple[bytes, bool]:
    """The body bytes that came over a bare socket, and whether a reset ended it."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    fields = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    with socket.create_connection((name, int(port)), 10) as connection:
        request = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n"
        connection.sendall(request.encode())
        received, is_reset = b"", False
        try:
            while chunk := connection.recv(1 << 16):
                received += chunk
        except ConnectionResetError:
            is_reset = True
    return received.partition(b"\r\n\r\n")[2], is_reset


def test_a_file_comes_whole_with_its_length_and_a_strong_etag(
    server: MirrorServer, http: requests.Session
) -> None:
    answer = http.get(server.url + "sub/image")
    assert answer.content == CONTENT
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["ETag"].startswith('"')
    assert [(r.method, r.status, r.sent, r.end) for r in server.log] == [
        ("GET", 200, len(CONTENT), "whole")
    ]


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=1000-", 206, 1000, len(CONTENT)),
        ("bytes=1000-1999", 206, 1000, 2000),
        ("bytes=-10", 206, len(CONTENT) - 10, len(CONTENT)),
        ("bytes=255990-999999999", 206, 255990, len(CONTENT)),
        ("bytes=-", 200, 0, len(CONTENT)),
        ("bytes=0-1,5-6", 200, 0, len(CONTENT)),
    ],
)
def test_ranges(
    server: MirrorServer, http: requests.Session, asked: str, status: int, start: int, stop: int
) -> None:
    answer = http.get(server.url + "sub/image", headers={"Range": asked})
    assert answer.status_code == status
    assert answer.content == CONTENT[start:stop]
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"


def test_a_range_behind_the_end_is_416_with_the_size(
    server: MirrorServer, http: requests.Session
) -> None:
    answer = http.get(server.url + "sub/image", headers={"Range": "bytes=256000-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */256000")


def test_if_range_with_another_etag_gives_the_whole_file(
    server: MirrorServer, http: requests.Session
) -> None:
    etag = http.head(server.url + "sub/image").headers["ETag"]
    same = http.get(server.url + "sub/image", headers={"Range": "bytes=9-", "If-Range": etag})
    other = http.get(server.url + "sub/image", headers={"Range": "bytes=9-", "If-Range": '"x"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_an_unchanged_file_is_304(server: MirrorServer, http: requests.Session) -> None:
    first = http.get(server.url + "other")
    by_tag = http.get(server.url + "other", headers={"If-None-Match": first.headers["ETag"]})
    since = {"If-Modified-Since": first.headers["Last-Modified"]}
    by_time = http.get(server.url + "other", headers=since)
    changed = http.get(server.url + "other", headers={"If-None-Match": '"x"'})
    assert [a.status_code for a in (by_tag, by_time, changed)] == [304, 304, 200]


def test_head_sends_no_body(server: MirrorServer, http: requests.Session) -> None:
    answer = http.head(server.url + "sub/image")
    assert (answer.headers["Content-Length"], answer.content) == (str(len(CONTENT)), b"")
    assert server.bytes_sent == 0


def test_one_connection_serves_many_requests(server: MirrorServer, http: requests.Session) -> None:
    for path in ("sub/image", "other", "missing", "other"):
        http.get(server.url + path)
    assert len({request.port for request in server.log}) == 1
    assert server.peak_connections == 1


@pytest.mark.parametrize(
    "path", ["missing", "sub", "", "%2e%2e/outside", "sub/..%2f..%2foutside", "a\0b", "x" * 5000]
)
def test_what_is_no_file_is_404(server: MirrorServer, http: requests.Session, path: str) -> None:
    assert http.get(server.url + path.replace("\0", "%00")).status_code == 404


def test_a_proxy_request_is_answered(server: MirrorServer) -> None:
    with requests.Session() as session:
        session.proxies = {"http": server.url}
        session.trust_env = False
        answer = session.get("http://mirror.example.test/other")
    assert (answer.content, server.log[0].path) == (b"other", "http://mirror.example.test/other")


def test_a_fault_counts_for_each_path(server: MirrorServer, http: requests.Session) -> None:
    server.set_faults([Fault(path=".", status=503, first=2, headers={"Retry-After": "1"})])
    image = [http.get(server.url + "sub/image").status_code for _ in range(3)]
    other = [http.get(server.url + "other").status_code for _ in range(3)]
    assert (image, other) == ([503, 503, 200], [503, 503, 200])


def test_after_lets_the_first_requests_pass(server: MirrorServer, http: requests.Session) -> None:
    server.set_faults([{"path": "^other$", "status": 500, "after": 1}])
    assert [http.get(server.url + "other").status_code for _ in range(3)] == [200, 500, 500]


def test_faults_change_while_it_runs_and_reset_forgets(
    server: MirrorServer, http: requests.Session
) -> None:
    server.set_faults([Fault(path="other", status=500)])
    assert http.get(server.url + "other").status_code == 500
    server.set_faults()
    server.reset()
    assert http.get(server.url + "other").status_code == 200
    assert [request.status for request in server.log] == [200]


def test_a_misspelt_fault_is_refused(server: MirrorServer) -> None:
    with pytest.raises(ValueError, match="statsu"):
        server.set_faults([{"path": ".", "statsu": 500}])


def test_credentials_switch_a_fault_off(server: MirrorServer, http: requests.Session) -> None:
    server.set_faults([Fault(path=".", status=401, unless={"Authorization": "Bearer t"})])
    assert http.get(server.url + "other").status_code == 401
    assert http.get(server.url + "other", headers={"Authorization": "Bearer t"}).status_code == 200


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"truncate": 100}, CONTENT[:100]),
        ({"extra": 3}, CONTENT + b"XXX"),
        ({"flip": 70_000}, CONTENT[:70_000] + bytes([CONTENT[70_000] ^ 1]) + CONTENT[70_001:]),
        ({"is_chunked": True}, CONTENT),
        ({"no_length": True}, CONTENT),
        ({"rate": 2_000_000}, CONTENT),
        ({"drip": [50_000, 0.001]}, CONTENT),
        ({"is_gzipped": True}, CONTENT),
        ({"body": "<html>"}, b"<html>"),
        ({"repeat": ["ab", 5]}, b"ababa"),
        ({"gzip_bomb": 3_000_000}, bytes(3_000_000)),
    ],
)
def test_what_a_client_reads_under_a_fault(
    server: MirrorServer, http: requests.Session, fault: dict[str, Any], expected: bytes
) -> None:
    server.set_faults([{"path": "image", **fault}])
    assert http.get(server.url + "sub/image").content == expected


def test_a_cut_body_ends_early_and_can_be_resumed(
    server: MirrorServer, http: requests.Session
) -> None:
    server.set_faults([Fault(path="image", cut=100_000, first=1)])
    first, is_reset = read_until_it_breaks(server.url + "sub/image")
    assert (first, is_reset) == (CONTENT[:100_000], False)
    rest = http.get(server.url + "sub/image", headers={"Range": f"bytes={len(first)}-"})
    assert first + rest.content == CONTENT
    assert [(r.sent, r.end) for r in server.log] == [(100_000, "cut"), (156_000, "whole")]


def test_a_reset_is_no_orderly_end(server: MirrorServer) -> None:
    server.set_faults([Fault(path="image", reset=5000)])
    _, is_reset = read_until_it_breaks(server.url + "sub/image")
    assert is_reset
    assert server.log[0].end == "reset"


def test_a_stalled_or_hanging_answer_does_not_hold_up_the_log_or_the_end(
    server: MirrorServer, http: requests.Session
) -> None:
    server.set_faults([Fault(path="image", stall=(10, 600)), Fault(path="other", hang=600)])
    for path in ("sub/image", "other"):
        with pytest.raises(requests.RequestException):
            http.get(server.url + path, timeout=0.2)
    assert {request.path for request in server.log} == {"/sub/image", "/other"}


def test_range_faults(server: MirrorServer, http: requests.Session) -> None:
    asked = {"Range": "bytes=1000-1999"}
    server.set_faults([Fault(path="image", ignores_range=True, first=1)])
    assert http.get(server.url + "sub/image", headers=asked).status_code == 200
    server.set_faults([Fault(path="image", shifts_range=True)])
    shifted = http.get(server.url + "sub/image", headers=asked)
    assert (shifted.status_code, shifted.content) == (206, CONTENT[:1000])


def test_a_wrong_length_is_declared_as_asked(server: MirrorServer) -> None:
    server.set_faults([Fault(path="other", length=9)])
    body, _ = read_until_it_breaks(server.url + "other")
    assert body == b"other"
    assert server.log[0].end == "length"


def test_a_redirect_to_another_host_reaches_the_canary(
    server: MirrorServer, http: requests.Session
) -> None:
    server.set_faults([Fault(path="other", redirect="{canary}stolen/{path}")])
    answer = http.get(server.url + "other", auth=("user", "secret"))
    assert answer.text == "CANARY\n"
    assert [request.path for request in server.canary_log] == ["/stolen/other"]


def test_raw_bytes_stand_in_for_an_answer(server: MirrorServer) -> None:
    server.set_faults([Fault(path="other", raw="SSH-2.0-x\r\n")])
    with pytest.raises(requests.ConnectionError), requests.Session() as session:
        session.get(server.url + "other")


def test_a_stopped_server_leaves_no_connection(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_bytes(CONTENT)
    with MirrorServer(tmp_path, [Fault(path="file", stall=(10, 600))]) as running:
        port = running.listener.server_address[1]
        client = socket.create_connection(("127.0.0.1", port), 10)
        client.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"\r\n\r\n" not in client.recv(1 << 16):
            pass
        idle = socket.create_connection(("127.0.0.1", port), 10)
        idle.sendall(b"HEAD /file HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(15) == b"HTTP/1.1 200 OK"
    with client, idle:
        while client.recv(1 << 16) or idle.recv(1 << 16):
            pass
    assert running.listener.connections == set()
