# SPDX-License-Identifier: Apache-2.0
"""What machines may rely on, whichever engine sends the bytes."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack, received, request
from tests.support import live
from tests.support.databases import Databases
from webapp.extensions import db, store
from webapp.models import Blob
from webapp.services.blobs import reserving

SIZE = 3_000_000
ROOT = random.Random(8).randbytes(SIZE)
LOADER = b"MZ a loader"
FILES = {**images.FILES, "squashfs": ROOT, "grubx64.efi": LOADER, "root-tgz": b""}
ETAG = f'"{hashlib.sha256(ROOT).hexdigest()}"'
LOST = b"lost on the disk"
PINNED = f"{BASE}/20260105"
AT = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)


ENGINES = {
    "gunicorn": {},
    "nginx": {"rack_engine": "nginx"},
    "gunicorn without files": {"store": "database"},
}


@pytest.fixture(scope="module", params=ENGINES)
def rack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[LiveRack]:
    """A rack with an image, and another one whose only file was lost."""
    folder = tmp_path_factory.mktemp("rack")
    settings = ENGINES[request.param]
    rack = LiveRack(folder, sqlite_databases.migrated(), rack_workers=2, **settings)
    with rack.app.app_context():
        images.image(FILES, completed_at=AT)
        images.image({"boot-kernel": LOST}, release="jammy")
        store().delete(hashlib.sha256(LOST).hexdigest())
    with rack:
        yield rack


def fetch(
    rack: LiveRack, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(live.HOST, rack.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize("folder", [BASE, PINNED, BASE.replace("ga-24.04", "generic")])
def test_names_give_their_bytes(folder: str, rack: LiveRack) -> None:
    for name, content in FILES.items():
        answer, body = fetch(rack, f"{folder}/{name}")
        assert (answer.status, body == content) == (200, True), name
        assert answer.getheader("ETag") == f'"{hashlib.sha256(content).hexdigest()}"'
        assert answer.getheader("Content-Length") == str(len(content))
        assert answer.getheader("Accept-Ranges") == "bytes"
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("X-Slipway-Version") == "20260105"
        assert answer.getheader("Last-Modified") == "Mon, 05 Jan 2026 12:30:00 GMT"


def test_load_balancers_hear_that_it_is_alive_and_ready(rack: LiveRack) -> None:
    for path, words in (("/healthz", b"Alive.\n"), ("/readyz", b"Ready.\n")):
        answer, body = fetch(rack, path)
        assert (answer.status, body) == (200, words)


def test_a_pinned_name_may_be_kept_and_the_current_one_is_asked_for_again(rack: LiveRack) -> None:
    pinned, _ = fetch(rack, f"{PINNED}/squashfs")
    current, _ = fetch(rack, f"{BASE}/squashfs")
    assert pinned.getheader("Cache-Control") == "public, max-age=31536000, immutable"
    assert current.getheader("Cache-Control") == "no-cache"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("boot-kernel", "application/octet-stream"), ("grubx64.efi", "application/efi")],
)
def test_firmware_is_told_what_it_can_boot(name: str, kind: str, rack: LiveRack) -> None:
    for method in ("GET", "HEAD"):
        answer, _ = fetch(rack, f"{BASE}/{name}", method)
        assert answer.getheader("Content-Type") == kind


def test_head_has_the_headers_of_get(rack: LiveRack) -> None:
    head, nothing = fetch(rack, f"{BASE}/squashfs", "HEAD")
    get, _ = fetch(rack, f"{BASE}/squashfs")
    names = (
        "ETag",
        "Content-Length",
        "Content-Type",
        "Cache-Control",
        "Accept-Ranges",
        "Last-Modified",
        "X-Slipway-Version",
    )
    assert (head.status, nothing) == (200, b"")
    assert [head.getheader(name) for name in names] == [get.getheader(name) for name in names]


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("5-1000000", 5, 1_000_001),
        (f"{SIZE - 1}-", -1, SIZE),
        ("-7", -7, SIZE),
        ("0-" + 30 * "9", 0, SIZE),
    ],
)
@pytest.mark.parametrize("folder", [BASE, PINNED])
def test_one_range_is_a_slice(
    wanted: str, start: int, stop: int, folder: str, rack: LiveRack
) -> None:
    for more in ({}, {"If_Range": ETAG}):
        answer, body = fetch(rack, f"{folder}/squashfs", Range=f"bytes={wanted}", **more)
        expected = ROOT[start:stop]
        first = start % SIZE
        assert (answer.status, body == expected) == (206, True)
        assert answer.getheader("ETag") == ETAG
        part = f"bytes {first}-{first + len(expected) - 1}/{SIZE}"
        assert answer.getheader("Content-Range") == part


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": "bytes=0-4,6-9"}, 200),
        ({"Range": "bytes=0-4", "If_Range": '"old"'}, 200),
        ({"Range": "bytes=0-4", "If_Range": "Sun, 06 Nov 1994 08:49:37 GMT"}, 200),
        ({"Range": "lines=1-2"}, 200),
        ({"Range": "bytes=abc"}, 200),
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
def test_conditions(headers: dict[str, str], status: int, rack: LiveRack) -> None:
    answer, body = fetch(rack, f"{BASE}/squashfs", **headers)
    assert answer.status == status
    assert answer.getheader("ETag") == ETAG
    if status in (200, 206):
        assert body == ROOT[: SIZE if status == 200 else 5]


@pytest.mark.parametrize("folder", [BASE, PINNED])
def test_a_range_beyond_the_end_is_refused_and_not_kept(folder: str, rack: LiveRack) -> None:
    answer, body = fetch(rack, f"{folder}/squashfs", Range=f"bytes={SIZE}-")
    assert (answer.status, answer.getheader("Content-Range")) == (416, f"bytes */{SIZE}")
    assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert answer.getheader("Cache-Control") in ("no-store", "no-cache")
    assert body.count(b"\n") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/images",
        "/images/",
        BASE,
        f"{BASE}/",
        PINNED,
        f"{BASE}/nothing",
        f"{BASE}/20260106/boot-kernel",
        f"{BASE}/boot-kernel/",
        f"{BASE.replace('amd64', 'arm64')}/boot-kernel",
        f"{BASE}/..%2f..%2f..%2f..%2f..%2f..%2fsets",
        f"/:blob/{'a' * 64}/x",
        "/setup",
    ],
)
def test_nothing_else_is_there(path: str, rack: LiveRack) -> None:
    for method in ("GET", "HEAD"):
        answer, body = fetch(rack, path, method)
        assert answer.status == 404
        assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
        assert body.count(b"\n") == (method == "GET")


def test_a_lost_file_is_unavailable_for_now(rack: LiveRack) -> None:
    for method in ("GET", "HEAD"):
        answer, _ = fetch(rack, f"{BASE.replace('noble', 'jammy')}/boot-kernel", method)
        assert (answer.status, answer.getheader("Retry-After")) == (503, "5")


def test_only_reading_is_allowed(rack: LiveRack) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer, _ = fetch(rack, f"{BASE}/boot-kernel", method)
        assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")


def test_a_run_of_slashes_is_one(rack: LiveRack) -> None:
    for path in (f"/{BASE}///boot-kernel", f"/{PINNED}//boot-kernel"):
        assert rack.say(request(path)).endswith(b"\r\n\r\n" + FILES["boot-kernel"])


def test_http_1_0_ends_with_the_connection(rack: LiveRack) -> None:
    answer = rack.say(f"GET {BASE}/boot-kernel HTTP/1.0\r\n\r\n".encode())
    assert b" 200 OK\r\n" in answer[:20]
    assert answer.endswith(b"\r\n\r\n" + FILES["boot-kernel"])


@pytest.mark.parametrize("name", ["boot-kernel", "squashfs", "root-tgz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_else_a_request_says_changes_nothing(method: str, name: str, rack: LiveRack) -> None:
    """A plain request may be answered on a shorter way than others."""

    def told(**headers: str) -> tuple[int, list[tuple[str, str]], bytes]:
        answer, body = fetch(rack, f"{PINNED}/{name}", method, **headers)
        return answer.status, [one for one in answer.getheaders() if one[0] != "Date"], body

    plain = told()
    assert plain[0] == 200
    for headers in ({"X_Else": "1"}, {"Accept": "*/*", "User_Agent": "iPXE/1.21"}):
        assert told(**headers) == plain


def test_a_connection_is_kept_for_any_mix_of_answers(rack: LiveRack) -> None:
    connection = http.client.HTTPConnection(live.HOST, rack.port, timeout=60)
    for _ in range(3):
        for method, path, status in (
            ("GET", f"{BASE}/squashfs", 200),
            ("HEAD", f"{PINNED}/squashfs", 200),
            ("GET", f"{BASE}/root-tgz", 200),
            ("GET", "/nothing", 404),
            ("DELETE", f"{BASE}/squashfs", 405),
        ):
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, answer.will_close) == (status, False)
    connection.close()


def test_pipelined_requests_are_answered_in_order(rack: LiveRack) -> None:
    first = request(f"{BASE}/boot-kernel").replace(b"Connection: close\r\n", b"")
    with rack.connection() as sock:
        sock.sendall(first * 5 + request(f"{BASE}/boot-initrd"))
        answer = received(sock)
    assert answer.count(b" 200 OK\r\n") == 6
    assert answer.count(FILES["boot-kernel"]) == 5
    assert answer.endswith(FILES["boot-initrd"])


def test_no_body_is_wrong_or_short_while_sets_change_and_a_blob_is_healed(rack: LiveRack) -> None:
    """A machine that got a file of a new set never gets one of the old set after it."""
    folder = BASE.replace("noble", "plucky")
    is_over = threading.Event()

    def content(name: str, number: int) -> bytes:
        return f"{name} {number:4} ".encode() * 20_000

    def boot() -> tuple[int, list[str]]:
        connection = http.client.HTTPConnection(live.HOST, rack.port, timeout=60)
        count, faults, least = 0, [], 0
        while not is_over.is_set():
            for name in ("boot-kernel", "boot-initrd"):
                connection.request("GET", f"{folder}/{name}")
                answer = connection.getresponse()
                body = answer.read()
                count += 1
                if answer.status == 503:  # its blob is bad
                    continue
                number = int(body.split(maxsplit=2)[1])
                if body != content(name, number) or number < least:
                    faults.append(f"{name} {number} after {least}, {len(body)} bytes")
                if answer.getheader("ETag") != f'"{hashlib.sha256(body).hexdigest()}"':
                    faults.append(f"{name} {number}: the ETag of other bytes")
                least = number
        connection.close()
        return count, faults

    def files(number: int) -> dict[str, bytes]:
        return {name: content(name, number) for name in ("boot-kernel", "boot-initrd")}

    def wait_for(status: int, number: int) -> None:
        def is_so() -> bool:
            answer, body = fetch(rack, f"{folder}/boot-initrd")
            is_right = status != 200 or body == content("boot-initrd", number)
            return answer.status == status and is_right

        live.wait_until(is_so, f"{status}, set {number}")

    with rack.app.app_context(), ThreadPoolExecutor(4) as machines:
        resource = images.image(files(1), release="plucky", version="1")
        wait_for(200, 1)
        seen = [machines.submit(boot) for _ in range(4)]
        try:
            for number in range(2, 12):
                images.switch(resource, files(number), version=str(number))
                wait_for(200, number)
            healed = content("boot-initrd", 11)
            sha256 = hashlib.sha256(healed).hexdigest()
            db.session.execute(update(Blob).where(Blob.sha256 == sha256).values(state="bad"))
            images.publish()
            wait_for(503, 11)
            store().delete(sha256)
            images.stored(healed)
            reserving.mark_ready(sha256)  # as an import does
            wait_for(200, 11)
        finally:
            is_over.set()
    results = [one.result() for one in seen]
    assert [fault for _, faults in results for fault in faults] == []
    assert all(count > 10 for count, _ in results)
