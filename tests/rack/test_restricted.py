# SPDX-License-Identifier: Apache-2.0
"""An image that is kept to a network, whichever engine sends the bytes (rule: kept-images)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack, received, request
from tests.support import live
from tests.support.databases import Databases
from webapp.extensions import db
from webapp.models import Event
from webapp.services.images import restricting
from webapp.services.mirror import publishing

ROOT = random.Random(5).randbytes(300_000)
FILES = {**images.FILES, "squashfs": ROOT}
OPEN = BASE.replace("noble", "jammy")
PINNED = f"{BASE}/20260105"
INSIDE, OUTSIDE = "127.0.0.2", "127.0.0.3"
KEPT = (f"{INSIDE}/32",)
SECRETS = [content for content in FILES.values()]
ITEM = f"/mirror/sha256/{hashlib.sha256(ROOT).hexdigest()}/squashfs"

ENGINES = {
    "gunicorn": {},
    "nginx": {"rack_engine": "nginx"},
    "gunicorn without files": {"store": "database"},
    "gunicorn behind a proxy": {"trusted_proxies": "1"},
    "nginx behind a proxy": {"rack_engine": "nginx", "trusted_proxies": "1"},
}


@pytest.fixture(scope="module", params=ENGINES)
def rack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[LiveRack]:
    """A rack with an image for one address, and another one for everyone."""
    folder = tmp_path_factory.mktemp("rack")
    settings = ENGINES[request.param]
    rack = LiveRack(folder, sqlite_databases.migrated(), **settings)
    with rack.app.app_context():
        images.image(FILES, product="p:v3:noble")
        images.image({"boot-kernel": b"for all"}, release="jammy", product="p:v3:jammy")
        restrict(rack)
        publishing.reconcile()
    with rack:
        yield rack


def restrict(rack: LiveRack, networks: tuple[str, ...] = KEPT, macs: tuple[str, ...] = ()) -> None:
    with rack.app.app_context():
        kept = restricting.read(networks, macs)
        restricting.restrict("ada", "ubuntu", "noble", "amd64", kept, "3 hosts")
        db.session.remove()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("folder", [BASE, PINNED, BASE.replace("ga-24.04", "generic")])
def test_whoever_is_in_the_network_gets_it(folder: str, rack: LiveRack) -> None:
    for name, content in FILES.items():
        answer = rack.say(request(f"{folder}/{name}"), INSIDE)
        assert (status(answer), answer.endswith(b"\r\n\r\n" + content)) == (200, True)
        assert b"\r\nCache-Control: private, no-store\r\n" in answer
    part = rack.say(request(f"{folder}/squashfs", "Range: bytes=5-9"), INSIDE)
    assert (status(part), part.endswith(b"\r\n\r\n" + ROOT[5:10])) == (206, True)


ASKED: list[tuple[str, str, list[str]]] = [
    ("GET", f"{BASE}/squashfs", []),
    ("HEAD", f"{BASE}/squashfs", []),
    ("GET", f"{PINNED}/squashfs", []),
    ("GET", f"{BASE.replace('ga-24.04', 'generic')}/boot-kernel", []),
    ("GET", f"{BASE}/squashfs", ["Range: bytes=0-9"]),
    ("GET", f"{BASE}/squashfs", ["Range: bytes=999999999-"]),
    ("GET", f"{BASE}/squashfs", [f'If-None-Match: "{hashlib.sha256(ROOT).hexdigest()}"']),
    ("GET", f"{BASE}/squashfs", ["If-None-Match: *"]),
    ("GET", f"{BASE}/squashfs", ['If-Match: "x"']),
    ("GET", f"{BASE}/squashfs", [f"X-Forwarded-For: {INSIDE}"]),
    ("GET", f"{BASE}/squashfs", [f"X-Forwarded-For: {INSIDE}, {INSIDE}"]),
    ("GET", f"{BASE}/squashfs", [f"X-Forwarded-For: {INSIDE}", f"X-Forwarded-For: {INSIDE}"]),
    ("GET", f"{BASE}/squashfs", [f"X-Real-IP: {INSIDE}", f"Forwarded: for={INSIDE}"]),
    ("GET", BASE.replace("noble", "%6eoble") + "/%73quashfs", []),
    ("GET", f"{BASE}/./squashfs", []),
    ("GET", f"{OPEN}/../../noble/stable/squashfs", []),
    ("GET", f"{OPEN}/..%2f..%2fnoble/stable/squashfs", []),
    ("GET", f"/{BASE}//squashfs", []),
    ("GET", f"http://rack{BASE}/squashfs", []),
    ("GET", f"{BASE}/squashfs?a=1", []),
    ("GET", f"{BASE}/squashfs.sha256", []),
    ("GET", f"{BASE}/squashfs.sig", []),
    ("GET", ITEM, []),
    ("HEAD", ITEM, []),
    ("GET", f"{ITEM}.sha256", []),
    ("GET", ITEM, ["Authorization: Bearer slr_made_up"]),
]


@pytest.mark.parametrize(
    ("method", "path", "headers"), ASKED, ids=[str(number) for number in range(len(ASKED))]
)
def test_for_all_others_it_is_not_there(
    method: str, path: str, headers: list[str], rack: LiveRack
) -> None:
    answer = rack.say(request(path, *headers, method=method), OUTSIDE)
    assert status(answer) in (404, 400)
    assert not any(content[:50] in answer for content in SECRETS)
    assert hashlib.sha256(ROOT).hexdigest().encode() not in answer
    if status(answer) == 404 and method == "GET":
        missing = rack.say(request(f"{BASE}/nothing"), OUTSIDE)
        assert b"no image" in answer.lower() or answer.count(b"\n") == missing.count(b"\n")


def test_a_connection_that_got_another_image_does_not_get_it(rack: LiveRack) -> None:
    def kept(path: str) -> bytes:
        return request(path).replace(b"Connection: close\r\n", b"")

    both = kept(f"{OPEN}/boot-kernel") + kept(f"{BASE}/boot-kernel")
    with rack.connection(OUTSIDE) as sock:
        sock.sendall(both * 3 + request(f"{OPEN}/boot-kernel"))
        answer = received(sock)
    assert (answer.count(b" 200 OK\r\n"), answer.count(b" 404 Not Found\r\n")) == (4, 3)
    assert FILES["boot-kernel"] not in answer
    with rack.connection(INSIDE) as sock:
        sock.sendall(both + request(f"{BASE}/squashfs"))
        answer = received(sock)
    assert answer.count(b" 200 OK\r\n") == 3
    assert answer.endswith(ROOT)


def test_http_1_0_is_refused_as_well(rack: LiveRack) -> None:
    answer = rack.say(f"GET {BASE}/boot-kernel HTTP/1.0\r\n\r\n".encode(), OUTSIDE)
    assert (status(answer), FILES["boot-kernel"] in answer) == (404, False)


def test_the_open_mirror_does_not_list_it(rack: LiveRack) -> None:
    index = rack.say(request("/mirror/streams/v1/index.json"), INSIDE)
    assert b"p:v3:jammy" in index
    assert b"p:v3:noble" not in index
    listed = rack.say(request("/mirror/streams/v1/rack.sjson"), INSIDE)
    assert b"jammy" in listed
    assert b"noble" not in listed
    assert status(rack.say(request("/mirror/streams/v1/restricted.json"), INSIDE)) == 404


def test_the_log_says_why(rack: LiveRack) -> None:
    rack.say(request(f"{BASE}/boot-initrd"), "127.0.0.9")

    def told() -> list[Event]:
        with rack.app.app_context():
            query = select(Event).where(Event.kind == "image.refused", Event.actor == "127.0.0.9")
            found = list(db.session.scalars(query))
            db.session.expunge_all()
            db.session.remove()
        return found

    live.wait_until(lambda: bool(told()), "the event")
    event = told()[0]
    assert event.subject == BASE.removeprefix("/images/")
    assert event.detail["why"] == "127.0.0.9 is in none of the image's networks."
    assert event.detail["files"] == ["boot-initrd"]


def test_a_change_counts_at_once_and_a_mac_address_needs_a_neighbour(rack: LiveRack) -> None:
    def answers(source: str) -> Callable[[int], bool]:
        return lambda wanted: status(rack.say(request(f"{BASE}/squashfs"), source)) == wanted

    inside, outside = answers(INSIDE), answers(OUTSIDE)
    try:
        with rack.app.app_context():
            restricting.lift("ada", "ubuntu", "noble", "amd64")
            db.session.remove()
        live.wait_until(lambda: outside(200), "it's for everyone")
        restrict(rack, (), ("52:54:00:12:34:56",))
        # No one has a MAC address on the loopback interface.
        live.wait_until(lambda: outside(404) and inside(404), "it's for one machine")
    finally:
        restrict(rack)
    live.wait_until(lambda: outside(404) and inside(200), "it's for the network again")
