# SPDX-License-Identifier: Apache-2.0
"""The whole journey of a script over a real server, and what only a real socket shows."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from oauthlib import oauth1

from tests.api.clients import API, DIALECTS, Dialect, Request, oauth
from tests.mirror.maker import Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support.live import ADMIN, HOST, LiveSlipway, wait_until
from tests.support.signed import SigningKey
from webapp.http.bodies import MAX_DRAINED_BYTES

pytestmark = pytest.mark.slow
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """What came over the wire."""

    status: int
    reason: str
    content_type: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Wire:
    """A stock client that talks to a real server."""

    port: int
    key: str
    dialect: Dialect = DIALECTS[0]

    def call(self, method: str, path: str, op: str = "", **values: Any) -> Answer:
        return self.send(self.dialect.request(method, API + path, self.key, op, values))

    def send(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            headers = request.headers
            connection.request(request.method, request.target, request.body or None, headers)
            answer = connection.getresponse()
            assert answer.getheader("Set-Cookie") is None
            return Answer(
                answer.status, answer.reason, answer.getheader("Content-Type", ""), answer.read()
            )
        finally:
            connection.close()


@pytest.fixture(scope="module")
def key(node: LiveSlipway) -> str:
    return node.cli("admin", "apikey", ADMIN).strip()


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def wire(request: pytest.FixtureRequest, node: LiveSlipway, key: str) -> Wire:
    return Wire(node.web_port, key, request.param)


@pytest.fixture(scope="module")
def small_mirror(
    tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey
) -> Iterator[tuple[Mirror, MirrorServer]]:
    folder = tmp_path_factory.mktemp("api-mirror")
    mirror = make_mirror(
        folder,
        signing_key,
        arches=["amd64"],
        kernels=1,
        loaders=False,
        centos=False,
        notification=False,
    )
    with MirrorServer(mirror) as server:
        yield mirror, server


def test_a_script_adds_a_source_selects_imports_and_cleans_up(
    wire: Wire, small_mirror: tuple[Mirror, MirrorServer]
) -> None:
    mirror, server = small_mirror
    created = wire.call(
        "POST",
        "boot-sources/",
        url=server.source_url,
        keyring_filename="",
        keyring_data=mirror.keyring.read_bytes(),
    )
    assert (created.status, created.reason) == (201, "Created"), created.body
    source = created.json()
    selections = f"boot-sources/{source['id']}/selections/"
    wanted = {
        "os": "ubuntu",
        "release": "noble",
        "arches": ["amd64"],
        "subarches": ["*"],
        "labels": ["*"],
    }
    made: list[Answer] = []

    def is_selected() -> bool:
        made.append(wire.call("POST", selections, **wanted))
        return made[-1].status == 200

    wait_until(is_selected, "the worker has read the source")
    assert all("being read" in refused.body.decode() for refused in made[:-1])
    noble = made[-1].json()
    created = wire.call("POST", selections, **{**wanted, "release": "jammy"})
    assert created.status == 200
    jammy = created.json()

    def import_now() -> None:
        started = wire.call("POST", "boot-resources/", "import")
        assert (started.status, started.body) == (200, b"Import of boot resources started")
        wait_until(
            lambda: wire.call("GET", "boot-resources/", "is_importing").body == b"false",
            "the import has ended",
        )

    import_now()
    rows = wire.call("GET", "boot-resources/", type="synced").json()
    assert {row["name"] for row in rows} == {"ubuntu/jammy", "ubuntu/noble"}
    signed = {item.sha256: item.size for item in mirror.newest(os="ubuntu")}
    for row in rows:
        sets = wire.call("GET", f"boot-resources/{row['id']}/").json()["sets"]
        ((_, newest),) = sets.items()
        assert newest["complete"]
        for file in newest["files"].values():
            assert signed[file["sha256"]] == file["size"]

    kept = wire.call("DELETE", f"{selections}{noble['id']}/")
    assert (kept.status, kept.reason) == (400, "Bad Request")
    assert b"Machines are commissioned with ubuntu/noble" in kept.body
    gone = wire.call("DELETE", f"{selections}{jammy['id']}/")
    assert (gone.status, gone.reason, gone.content_type, gone.body) == (
        204,
        "No Content",
        "text/plain",
        b"",
    )
    import_now()
    rows = wire.call("GET", "boot-resources/").json()
    assert {row["name"] for row in rows} == {"ubuntu/noble"}
    stopped = wire.call("POST", "boot-resources/", "stop_import")
    assert stopped.body == b"Import of boot resources is being stopped"
    assert wire.call("DELETE", f"boot-sources/{source['id']}/").status == 204
    missing = wire.call("GET", f"boot-sources/{source['id']}/")
    assert (missing.status, missing.reason, missing.body) == (404, "Not Found", b"Not Found")


def test_statuses_reasons_and_types_over_the_wire(wire: Wire) -> None:
    wrong = Wire(wire.port, "a:b:c", wire.dialect)
    refused = wrong.call("GET", "boot-sources/")
    assert (refused.status, refused.reason) == (401, "Unauthorized")
    assert refused.content_type == "text/plain; charset=utf-8"
    unknown = wire.call("POST", "boot-sources/", "xyz")
    assert (unknown.status, unknown.reason) == (400, "Bad Request")
    assert unknown.body == b"Unrecognised signature: method=POST op=xyz"
    fields = wire.call("POST", "boot-sources/", url="x")
    assert (fields.status, fields.content_type) == (400, "application/json; charset=utf-8")


def test_hmac_signatures_over_the_wire(node: LiveSlipway, key: str) -> None:
    """The server's own idea of the address is what the client signed, odd as it may be."""
    consumer, token, secret = key.split(":")
    wire, root = Wire(node.web_port, key), f"http://{HOST}:{node.web_port}"
    signer = oauth1.Client(consumer, "", token, secret)
    for target in (
        f"{API}users/?op=whoami",
        f"{API}boot-resources/?type=synced&x=a%20b+c%2Bd&x=%C3%A9",
        f"{API}boot%2Dresources/?op=is_importing",
    ):
        _, headers, _ = signer.sign(root + target, "GET")
        answer = wire.send(Request("GET", target, dict(headers)))
        assert answer.status == 200, (target, answer.body)
        again = wire.send(Request("GET", target, dict(headers)))
        assert (again.status, b"nonce" in again.body) == (401, True)


def test_who_is_refused_can_send_all_of_a_large_body_first(node: LiveSlipway, key: str) -> None:
    """A client that is still sending must get its answer, not a broken connection."""
    large = b"url=" + b"x" * (20 << 20)
    signed = {**oauth(key), "Content-Type": FORM}
    for headers, path, status in (
        ({"Content-Type": FORM}, f"{API}boot-sources/", 401),
        (signed, f"{API}boot-sources/", 413),
        (signed, f"{API}nodes/", 404),
    ):
        answer = Wire(node.web_port, key).send(Request("POST", path, headers, large))
        assert answer.status == status
        assert answer.content_type == "text/plain; charset=utf-8"
    assert len(large) < MAX_DRAINED_BYTES


def test_one_connection_serves_calls_with_unwanted_bodies(node: LiveSlipway, key: str) -> None:
    connection = http.client.HTTPConnection(HOST, node.web_port, timeout=30)
    first = None
    for method, path in (
        ("GET", "version/"),
        ("POST", "version/"),
        ("DELETE", "boot-sources/999/"),
        ("POST", "boot-sources/"),
        ("GET", "boot-resources/"),
    ):
        body = b"x" * 100_000
        connection.request(method, API + path, body, {**oauth(key), "Content-Type": FORM})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (200, 400, 404)
        first = first or connection.sock
        assert connection.sock is first, "the connection was kept"
    connection.close()


def test_a_chunked_body_is_read(node: LiveSlipway, key: str) -> None:
    connection = http.client.HTTPConnection(HOST, node.web_port, timeout=30)
    headers = {**oauth(key), "Content-Type": FORM, "Transfer-Encoding": "chunked"}
    pieces = iter([b"url=http://images.exa", b"mple.test/&keyring_filename=/nowhere"])
    connection.request("POST", f"{API}boot-sources/", pieces, headers, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, list(json.loads(answer.read()))) == (400, ["keyring_filename"])
    connection.close()


def test_a_client_that_leaves_in_the_middle_of_a_body_harms_no_one(
    node: LiveSlipway, key: str
) -> None:
    for _ in range(20):
        with socket.create_connection((HOST, node.web_port), timeout=10) as sock:
            head = f"POST {API}boot-sources/ HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n"
            signature = oauth(key)["Authorization"]
            head += f"Authorization: {signature}\r\nContent-Length: 1000\r\n\r\nurl=http"
            sock.sendall(head.encode())
    assert Wire(node.web_port, key).call("GET", "boot-sources/").status == 200
    assert "Traceback" not in node.output()
