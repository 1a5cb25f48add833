# SPDX-License-Identifier: Apache-2.0
"""The nginx sites of deploy/, in a real nginx in front of a real rack."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack
from tests.support import live
from tests.support.databases import Databases
from tests.support.ports import keep_port
from webapp.config import ROOT
from webapp.extensions import db, store
from webapp.models import Event
from webapp.services.mirror import publishing

SITES = ROOT / "deploy" / "nginx"
SIZE = 2_000_000
CONTENT = random.Random(6).randbytes(SIZE)
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {sites}
}}
"""


@dataclass
class Front:
    """An nginx on a port of its own, and the rack behind it."""

    port: int
    rack: LiveRack
    is_accelerated: bool


def nginx(folder: Path, *sites: str) -> list[str]:
    """The command of an nginx that serves these sites and writes into its folder only."""
    assert NGINX is not None, "nginx is missing: make setup installs it"
    user = "user root;" if os.geteuid() == 0 else ""  # tests' folders are private
    text = MAIN.format(folder=folder, user=user, sites="\n".join(sites))
    (folder / "nginx.conf").write_text(text)
    return [NGINX, "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"]


def site(name: str, **changes: str) -> str:
    """A site as it is delivered, with its addresses and paths changed to the test's."""
    text = (SITES / name).read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return "\n".join(line for line in text.splitlines() if "listen [::]" not in line)


@pytest.fixture(scope="module", params=["slipway.conf", "rack-by-proxy.conf"])
def front(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    is_accelerated = request.param == "slipway.conf"
    rack = LiveRack(
        tmp_path_factory.mktemp("rack"),
        sqlite_databases.migrated(),
        trusted_proxies=1,
        accel_prefix="/_store/" if is_accelerated else "",
    )
    with rack.app.app_context():
        images.image({**images.FILES, "squashfs": CONTENT})
        assert publishing.reconcile()
    port = keep_port()
    changes = {"127.0.0.1:5249": f"127.0.0.1:{rack.port}", "listen 5248": f"listen {port}"}
    if is_accelerated:
        certificate(folder)
        changes |= {
            "/var/lib/slipway/store/": f"{rack.app.extensions['slipway.settings'].store_dir}/",
            "/etc/ssl/slipway/": f"{folder}/",
            "listen 443": f"listen {keep_port()}",
        }
    command = nginx(folder, site(request.param, **changes))
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    with rack:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *command])
        try:
            live.wait_until(
                lambda: live.answers(f"http://{live.HOST}:{port}/"),
                f"nginx answers, see {folder}/error.log",
                alive=lambda: process.poll() is None,
            )
            yield Front(port, rack, is_accelerated)
        finally:
            process.terminate()
            process.wait(30)


def certificate(folder: Path) -> None:
    """A key and a certificate that nobody needs to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "slipway.example.net")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "fullchain.pem").write_bytes(signed.public_bytes(pem))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def fetch(
    front: Front, name: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(live.HOST, front.port, timeout=60)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, f"{BASE}/{name}", headers=named)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_whole_file_with_our_headers(front: Front) -> None:
    answer, body = fetch(front, "squashfs")
    assert (answer.status, body == CONTENT) == (200, True)
    assert {name: answer.getheader(name) for name in (
        "ETag", "Content-Location", "X-Slipway-Version", "Cache-Control",
        "X-Content-Type-Options", "Content-Type", "Accept-Ranges", "X-Accel-Redirect",
    )} == {
        "ETag": ETAG,
        "Content-Location": f"{BASE}/20260105/squashfs",
        "X-Slipway-Version": "20260105",
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "X-Accel-Redirect": None,
    }  # fmt: skip
    assert answer.getheader("Last-Modified")


def test_the_local_mirror_is_read_through_it(front: Front) -> None:
    sha256 = ETAG.strip('"')
    digest = b64encode(bytes.fromhex(sha256)).decode()
    for path, size in (("streams/v1/index.sjson", 0), (f"sha256/{sha256}/squashfs", len(CONTENT))):
        connection = http.client.HTTPConnection(live.HOST, front.port, timeout=60)
        connection.request("GET", f"/mirror/{path}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200
        if size:
            assert len(body) == size
            assert answer.getheader("Repr-Digest") == f"sha-256=:{digest}:"


def test_it_is_nginx_that_sends_the_file(front: Front) -> None:
    answer, _ = fetch(front, "squashfs")
    direct = http.client.HTTPConnection(live.HOST, front.rack.port, timeout=60)
    direct.request("GET", f"{BASE}/squashfs")
    redirect = direct.getresponse().getheader("X-Accel-Redirect")
    direct.close()
    assert answer.getheader("Server") == "nginx"
    if front.is_accelerated:
        sha256 = ETAG.strip('"')
        with front.rack.app.app_context():
            assert redirect == f"/_store/{store().relative_path(sha256)}"
    else:
        assert redirect is None


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("5-1000000", 5, 1_000_001),
        (f"{SIZE - 1}-", SIZE - 1, SIZE),
        ("-7", -7, SIZE),
    ],
)
@pytest.mark.parametrize("validator", ["", "etag", "date"])
def test_ranges(wanted: str, start: int, stop: int, validator: str, front: Front) -> None:
    head, _ = fetch(front, "squashfs", "HEAD")
    names = {"etag": "ETag", "date": "Last-Modified"}
    headers = {"Range": f"bytes={wanted}"}
    if validator:
        headers["If_Range"] = str(head.getheader(names[validator]))
    answer, body = fetch(front, "squashfs", **headers)
    assert (answer.status, body == CONTENT[start:stop]) == (206, True)
    assert answer.getheader("ETag") == ETAG


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": "bytes=0-4", "If_Range": '"old"'}, 200),
        ({"Range": "bytes=0-4", "If_Range": "Sun, 06 Nov 1994 08:49:37 GMT"}, 200),
        ({"Range": "bytes=0-4,6-9"}, 200),
        ({"Range": f"bytes={SIZE}-"}, 416),
        ({"If_None_Match": ETAG}, 304),
        ({"If_None_Match": '"old"'}, 200),
        ({"If_Match": ETAG}, 200),
        ({"If_Match": ETAG, "Range": "bytes=0-4"}, 206),
        ({"If_Match": '"old"'}, 412),
        ({"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If_Modified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 200),
        ({"If_Unmodified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 412),
        ({"If_Unmodified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
    ],
)
def test_conditions(headers: dict[str, str], status: int, front: Front) -> None:
    answer, body = fetch(front, "squashfs", **headers)
    assert answer.status == status
    if status in (200, 206):
        assert body == CONTENT[: SIZE if status == 200 else 5]
    if status == 416:
        assert answer.getheader("Content-Range") == f"bytes */{SIZE}"


def test_nothing_else_is_reachable(front: Front) -> None:
    sha256 = ETAG.strip('"')
    with front.rack.app.app_context():
        path = store().relative_path(sha256)
    for target in (f"/_store/{path}", f"/images/../_store/{path}", f"/_store/../{path}", "/", BASE):
        connection = http.client.HTTPConnection(live.HOST, front.port, timeout=60)
        connection.request("GET", target)
        assert connection.getresponse().status == 404
        connection.close()


def test_events_name_the_machine_not_nginx(front: Front) -> None:
    connection = http.client.HTTPConnection(
        live.HOST, front.port, timeout=60, source_address=("127.0.0.77", 0)
    )
    connection.request("GET", f"{BASE}/squashfs", headers={"X-Forwarded-For": "198.51.100.1"})
    assert len(connection.getresponse().read()) == SIZE
    connection.close()

    def seen() -> list[Event]:
        with front.rack.app.app_context():
            query = select(Event).where(Event.actor == "127.0.0.77")
            return list(db.session.scalars(query))

    live.wait_until(lambda: bool(seen()), "the event")
    assert [event.detail["bytes"] for event in seen()] == [SIZE]


def test_a_client_that_comes_past_nginx_does_not_get_an_empty_file(front: Front) -> None:
    connection = http.client.HTTPConnection(live.HOST, front.rack.port, timeout=60)
    connection.request("GET", f"{BASE}/squashfs")
    answer = connection.getresponse()
    if front.is_accelerated:
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    else:
        assert answer.read() == CONTENT
    connection.close()
