# SPDX-License-Identifier: Apache-2.0
"""All racks of a machine change to a new version at the same request."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text, update

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack
from tests.support import databases, live
from tests.support.databases import Databases
from webapp import publication
from webapp.extensions import db
from webapp.models import BootResource, Publication
from webapp.publication import SharedSerial
from webapp.services.images import serving
from webapp.services.images.serving import PublishedMap

RACKS = 3
numbers = count()
# Removes the image, commits, and is killed before it can say so.
KILLED_AFTER_COMMIT = """
import os, signal
from webapp import create_app, publication
publication.SharedSerial.settle = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
with create_app(plane="none").app_context():
    from sqlalchemy import update
    from webapp.extensions import db
    from webapp.models import BootResource
    from webapp.services.images import publishing
    db.session.execute(update(BootResource).values(current_set_id=None))
    publishing.bump()
    db.session.commit()
"""


class Machine:
    """A machine that keeps its connection to one rack process."""

    def __init__(self, rack: LiveRack) -> None:
        self.connection = http.client.HTTPConnection(live.HOST, rack.port, timeout=60)

    def kernel(self) -> bytes:
        """What the plain name gives; nothing when it isn't published."""
        self.connection.request("GET", f"{BASE}/boot-kernel")
        answer = self.connection.getresponse()
        content = answer.read()
        return content if answer.status == 200 else b""


@pytest.fixture(scope="module")
def racks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[LiveRack]]:
    """Several real racks with one data folder, so that a test knows which one answers."""
    source: Databases = request.getfixturevalue(f"{databases.default_engine()}_databases")
    folder, url = tmp_path_factory.mktemp("racks"), source.migrated()
    with ExitStack() as stack:
        running = [stack.enter_context(LiveRack(folder, url)) for _ in range(RACKS)]
        with running[0].app.app_context():
            images.image({"boot-kernel": b"0"}, version="0")
            yield running


@pytest.fixture
def machines(racks: list[LiveRack]) -> Iterator[list[Machine]]:
    """One machine at each rack, which gives ``0``."""
    (resource,) = db.session.query(BootResource)
    images.switch(resource, {"boot-kernel": b"0"}, version=f"0.{next(numbers)}")
    with ExitStack() as stack:
        made = [Machine(rack) for rack in racks]
        for machine in made:
            stack.enter_context(closing(machine.connection))
        assert [machine.kernel() for machine in made] == [b"0"] * RACKS
        yield made


@pytest.mark.slow
def test_the_next_request_to_every_process_gives_the_new_version(machines: list[Machine]) -> None:
    (resource,) = db.session.query(BootResource)
    for number in range(1, 31):
        content = str(number).encode()
        images.switch(resource, {"boot-kernel": content}, version=f"{number}.{next(numbers)}")
        assert [machine.kernel() for machine in machines] == [content] * RACKS


@pytest.mark.slow
def test_after_a_kill_behind_the_commit_the_first_to_notice_tells_the_others(
    racks: list[LiveRack], machines: list[Machine]
) -> None:
    for _ in range(2):
        before = SharedSerial(Path(racks[0].environ["SLIPWAY_DATA_DIR"]))
        before.settle(None, 0)
        told = before.value()
        done = subprocess.run(
            [sys.executable, "-c", KILLED_AFTER_COMMIT],
            env={**os.environ, **racks[0].environ},
            timeout=60,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        answers: list[bytes] = []

        def is_noticed(answers: list[bytes] = answers) -> bool:
            answers += [machine.kernel() for machine in machines]
            return not answers[-1]

        live.wait_until(is_noticed, "a rack checks the database")
        assert answers == sorted(answers, reverse=True), "two versions were mixed"
        assert before.value() == (told or 0) + 1
        (resource,) = db.session.query(BootResource)
        images.switch(resource, {"boot-kernel": b"0"}, version=f"0.{next(numbers)}")
        assert [machine.kernel() for machine in machines] == [b"0"] * RACKS


# -- one process


@pytest.fixture
def published(region: Flask) -> Callable[[], PublishedMap]:
    """Make a map of the names, as each process of the rack has one."""
    shared = region.extensions["slipway.publication"]
    return lambda: PublishedMap(db.engine, 1800, shared)


@pytest.fixture
def never_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is seen now is seen because someone said so."""
    monkeypatch.setattr(serving, "CHECK_S", 1e9)
    monkeypatch.setattr(serving, "LATE_S", 1e9)


def raise_unheard() -> int:
    """Change the publication as a writer does that is killed after its commit."""
    with db.engine.begin() as connection:
        connection.execute(update(Publication).values(serial=Publication.serial + 1))
        return connection.scalar(text("SELECT serial FROM publication")) or 0


@pytest.mark.both_databases
@pytest.mark.usefixtures("never_by_the_clock")
def test_whoever_sees_a_change_tells_the_others_first(
    published: Callable[[], PublishedMap],
) -> None:
    images.image()
    one, two = published(), published()
    before = one.names()
    assert two.names().serial == before.serial
    serial = raise_unheard()
    assert one.names() is before
    assert two.names(refresh=True).serial == serial
    assert one.names().serial == serial


@pytest.mark.both_databases
@pytest.mark.usefixtures("never_by_the_clock")
def test_a_change_that_is_rolled_back_is_no_change(published: Callable[[], PublishedMap]) -> None:
    images.image()
    names = published()
    before = names.names()
    publication.raise_serial(db.session.connection())
    db.session.rollback()
    assert names.names() is before
    images.publish()
    assert names.names().serial == before.serial + 1


@pytest.mark.usefixtures("never_by_the_clock")
def test_a_database_that_went_back_is_followed(published: Callable[[], PublishedMap]) -> None:
    images.image()
    for _ in range(5):
        images.publish()
    names = published()
    serial = names.names().serial
    with db.engine.begin() as connection:
        connection.execute(update(Publication).values(serial=2))
    assert serial > published().names().serial == 2
    assert names.names().serial == 2
    images.publish()
    assert names.names().serial == 3


def test_without_a_file_each_process_checks_the_database(
    region: Flask, published: Callable[[], PublishedMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    images.image()
    names = published()
    file = Path(region.extensions["slipway.settings"].data_dir) / publication.FILE
    file.unlink(missing_ok=True)
    file.mkdir()  # nothing can be written there
    before = names.names(refresh=True).serial
    monkeypatch.setattr(serving, "CHECK_S", 0.0)
    images.publish()
    assert names.names().serial == before + 1


def test_a_deleted_file_is_made_again_and_read_by_all(
    tmp_path: Path,
) -> None:
    one, two = SharedSerial(tmp_path), SharedSerial(tmp_path)
    assert one.value() is None
    one.settle(None, 4)
    two.settle(None, 4)
    (tmp_path / publication.FILE).unlink()
    two.settle(4, 5)
    assert (one.value(), two.value()) == (4, 5)
    one.settle(4, 5)
    two.settle(5, 6)
    assert (one.value(), two.value()) == (6, 6)


def test_a_late_writer_never_lowers_the_serial(tmp_path: Path) -> None:
    shared = SharedSerial(tmp_path)
    shared.settle(None, 7)
    shared.settle(6, 5)
    assert shared.value() == 7
    shared.settle(7, 5)
    assert shared.value() == 5
