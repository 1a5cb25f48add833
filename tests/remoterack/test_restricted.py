# SPDX-License-Identifier: Apache-2.0
"""An image that is kept to a network, on racks elsewhere (rule: kept-images)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.rack import images
from tests.rack.server import received, request
from tests.remoterack.remote import PATH, RemoteRack, fetch, publish
from tests.support.databases import Databases
from tests.web.test_slow_clients import LiveWeb
from webapp.extensions import db
from webapp.models import Event
from webapp.services.boot import table
from webapp.services.images import restricting
from webapp.services.racks import tokens

ROOT = random.Random(7).randbytes(400_000)
FILES = {**images.FILES, "squashfs": ROOT}
INSIDE, OUTSIDE = "127.0.0.2", "127.0.0.3"
OPEN = f"{PATH.replace('noble', 'jammy')}/boot-kernel"
PINNED = f"{PATH}/20260105"


@pytest.fixture(scope="module")
def region(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> Iterator[LiveWeb]:
    """A region with an image for one address, and another for everyone."""
    folder: Path = tmp_path_factory.mktemp("region")
    with LiveWeb(folder, sqlite_databases.migrated(), web_workers=1) as found:
        with found.app.app_context():
            images.image(FILES, product="p:v3:noble")
            images.image({"boot-kernel": b"for all"}, release="jammy", product="p:v3:jammy")
            table.set_entry("ada", "default", "ubuntu/noble", arch="amd64")
            db.session.remove()
        restrict(found)
        yield found


@pytest.fixture(scope="module")
def token(region: LiveWeb) -> str:
    """A token for all racks of this module."""
    with region.app.app_context():
        found = tokens.create("ada", uses=10)[1]
        db.session.remove()
    return found


def restrict(region: LiveWeb, network: str = f"{INSIDE}/32") -> None:
    with region.app.app_context():
        kept = restricting.read([network], [])
        restricting.restrict("ada", "ubuntu", "noble", "amd64", kept)
        db.session.remove()
    publish(region)


def release(region: LiveWeb) -> None:
    with region.app.app_context():
        restricting.lift("ada", "ubuntu", "noble", "amd64")
        db.session.remove()
    publish(region)


def status(rack: RemoteRack, path: str, source: str, *headers: str, method: str = "GET") -> int:
    return int(rack.say(request(path, *headers, method=method), source).split(b" ", 2)[1])


def gets_it(rack: RemoteRack, source: str) -> bool:
    answer = rack.say(request(f"{PATH}/squashfs"), source)
    return answer.endswith(b"\r\n\r\n" + ROOT)


def check(rack: RemoteRack) -> None:
    """Whoever is in the network gets it, and for all others it isn't there."""
    rack.wait_until(lambda: gets_it(rack, INSIDE), "it's there for the network")
    assert status(rack, OPEN, OUTSIDE) == 200
    for path in (f"{PATH}/squashfs", f"{PINNED}/squashfs", f"/{PATH}//boot-kernel"):
        assert status(rack, path, INSIDE) == 200
        for method in ("GET", "HEAD"):
            assert status(rack, path, OUTSIDE, method=method) == 404
        assert status(rack, path, OUTSIDE, "Range: bytes=0-9") == 404
        assert status(rack, path, OUTSIDE, f"X-Forwarded-For: {INSIDE}") == 404
        for beside in (".sha256", ".sig"):
            assert status(rack, path + beside, OUTSIDE) == 404
    with rack.connection(OUTSIDE) as sock:
        one = request(OPEN).replace(b"Connection: close\r\n", b"")
        sock.sendall(one + request(f"{PATH}/boot-kernel"))
        answer = received(sock)
    assert (answer.count(b" 200 OK\r\n"), answer.count(b" 404 Not Found\r\n")) == (1, 1)


def item(region: LiveWeb) -> str:
    """The file as the mirror has it."""
    with region.app.app_context():
        sha256 = images.stored(ROOT).sha256
        db.session.remove()
    return f"/mirror/sha256/{sha256}/squashfs"


def test_enrolled_racks_get_it_with_its_restriction_and_a_chained_one_too(
    region: LiveWeb, token: str, tmp_path: Path
) -> None:
    first = RemoteRack(tmp_path / "a", region.url, "", rack_token=token, rack_name="kept-a")
    with first:
        check(first)
        assert status(first, item(region), INSIDE) == 404, "a rack's mirror gives it to no one"
        script = first.say(request("/ipxe.cfg-default-x86_64"), INSIDE)
        assert b"/boot-kernel" in script
        script = first.say(request("/ipxe.cfg-default-x86_64"), OUTSIDE)
        assert b"ubuntu/noble amd64 is not stored" in script
        _is_told(region, first)
        upstreams = {"rack_upstreams": f"{first.url}/mirror/"}
        behind = tmp_path / "b"
        with RemoteRack(
            behind, region.url, "", rack_token=token, rack_name="kept-b", **upstreams
        ) as second:
            check(second)
        first.stop()
        with first:  # what it kept is kept with its restriction
            check(first)


def _is_told(region: LiveWeb, rack: RemoteRack) -> None:
    def why() -> set[str]:
        with region.app.app_context():
            rows = db.session.scalars(select(Event).where(Event.kind == "image.refused"))
            found = {row.detail["why"] for row in rows if row.detail.get("rack") == "kept-a"}
            db.session.remove()
        return found

    rack.wait_until(lambda: bool(why()), "the region's log says why")
    assert why() == {f"{OUTSIDE} is in none of the image's networks."}


def test_a_rack_that_is_not_enrolled_has_nothing_of_it(
    region: LiveWeb, token: str, tmp_path: Path
) -> None:
    with RemoteRack(tmp_path, region.url, publish(region)) as rack:
        rack.wait_for(OPEN)
        assert status(rack, f"{PATH}/squashfs", INSIDE) == 404
        path = item(region)
        assert fetch(region.url, path).status == 404
        assert fetch(region.url, path, Authorization="Bearer x").status == 404
        release(region)
        try:
            rack.wait_until(lambda: gets_it(rack, OUTSIDE), "it's for everyone")
            assert status(rack, f"{PINNED}/squashfs", OUTSIDE) == 200
        finally:
            restrict(region)
        rack.wait_until(
            lambda: status(rack, f"{PATH}/squashfs", OUTSIDE) == 404, "it's for no one here"
        )
        # The state that it replaced had it for everyone.
        assert status(rack, f"{PINNED}/squashfs", OUTSIDE) == 404
        assert status(rack, OPEN, OUTSIDE) == 200


def test_a_change_reaches_a_rack_that_has_the_bytes(
    region: LiveWeb, token: str, tmp_path: Path
) -> None:
    with RemoteRack(tmp_path, region.url, "", rack_token=token, rack_name="kept-c") as rack:
        check(rack)
        restrict(region, f"{OUTSIDE}/32")
        try:
            rack.wait_until(lambda: gets_it(rack, OUTSIDE), "it's for the other one")
            for folder in (PATH, PINNED):
                assert status(rack, f"{folder}/squashfs", INSIDE) == 404
            release(region)
            rack.wait_until(lambda: gets_it(rack, INSIDE), "it's for everyone")
        finally:
            restrict(region)
        rack.wait_until(lambda: not gets_it(rack, OUTSIDE), "it's kept again")
        check(rack)


@pytest.mark.parametrize("has_region", [True, False], ids=["listed", "not-listed"])
def test_an_upstream_that_is_behind_does_not_hide_a_restriction(
    region: LiveWeb, token: str, tmp_path: Path, *, has_region: bool
) -> None:
    release(region)
    try:
        old, name = tmp_path / "old", f"kept-{has_region}"
        with RemoteRack(old, region.url, "", rack_token=token, rack_name=f"{name}-a") as first:
            first.wait_until(lambda: gets_it(first, OUTSIDE), "it's for everyone")
        newest = max((old / "rack" / "trees").iterdir(), key=lambda one: one.name)
        with folder_server(newest) as server:
            upstreams = ",".join([server, *([f"{region.url}/mirror/"] if has_region else [])])
            values = {"rack_token": token, "rack_name": f"{name}-b", "rack_upstreams": upstreams}
            with RemoteRack(tmp_path / "new", region.url, "", **values) as rack:
                path = f"{PATH}/squashfs"
                # Where the region isn't an upstream, nobody has the bytes.
                known = 200 if has_region else 503
                rack.wait_until(lambda: status(rack, path, OUTSIDE) == known, "it's known")
                restrict(region)
                rack.wait_until(lambda: status(rack, path, OUTSIDE) == 404, "it's kept")
                rack.wait_until(lambda: gets_it(rack, INSIDE), "the network gets it")
    finally:
        restrict(region)


@contextmanager
def folder_server(folder: Path) -> Iterator[str]:
    """A mirror that stays as it is."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
