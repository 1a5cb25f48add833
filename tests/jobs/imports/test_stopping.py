# SPDX-License-Identifier: Apache-2.0
"""A stop while stored bytes are hashed: whole files are not read to their end first."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask import current_app
from sqlalchemy import select

from tests.jobs.conftest import Lab, check_region, files, images
from tests.support.live import wait_until
from tests.support.partials import stopped_after_the_first_chunk
from webapp.extensions import db, settings, store
from webapp.models import Blob, BlobState, BootResource
from webapp.services.imports import runs
from webapp.services.imports.progress import Reporter
from webapp.storage.files import FileReader

pytestmark = pytest.mark.usefixtures("region")

NOBLE = "ubuntu/noble amd64/ga-24.04"
CHUNKS = 1000  # a bound for what hangs; each takes PAUSE_S
PAUSE_S = 0.02
KINDS = ("filesystem", "database")  # objects are not hashed again, see tests/contract


@contextmanager
def large_files() -> Iterator[list[str]]:
    """Every stored file is large and slow, and its first chunk has the import stopped.

    Yields the list of those that were read to their end.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    ended: list[str] = []

    def chunks(reader: FileReader) -> Iterator[bytes]:
        with app.app_context():
            runs.stop("ann")
        for _ in range(CHUNKS):
            yield bytes(1024)
            time.sleep(PAUSE_S)
        ended.append(reader._sha256)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FileReader, "chunks", chunks)
        yield ended


def touch(sha256: str) -> None:
    """Give a file another mtime, so that the next import hashes it."""
    path = settings().store_dir / str(store().relative_path(sha256))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))


def forget() -> None:
    """Lose every row of the images, as a restored backup does; the bytes stay."""
    for model in (BootResource, Blob):
        for row in db.session.scalars(select(model)):
            db.session.delete(row)
        db.session.commit()


@pytest.mark.settings(store="filesystem")
def test_a_stop_ends_the_hashing_of_changed_files_and_condemns_none(
    lab: Lab,
) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    touch(files(NOBLE)["squashfs"])
    with large_files() as ended:
        run = lab.run()
    assert (run.state, run.summary) == ("stopped", "Stopped by user.")
    assert ended == []
    assert images() == before
    assert set(db.session.scalars(select(Blob.state))) == {BlobState.READY}


@pytest.mark.settings(store="filesystem")
def test_a_stop_ends_the_verification_of_what_is_there_and_the_next_import_does_it(
    lab: Lab,
) -> None:
    lab.select("noble")
    lab.run()
    forget()
    lab.server.reset()
    with large_files() as ended:
        run = lab.run()
    assert (run.state, run.summary) == ("stopped", "Stopped by user.")
    assert ended == []
    assert images() == {}
    assert lab.run().state == "succeeded"
    assert lab.fetched() == Counter()
    check_region()


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Stop the running import, and wait until it knows."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    reporters: list[Reporter] = []
    begin = Reporter.__enter__

    def enter(reporter: Reporter) -> Reporter:
        reporters.append(reporter)
        return begin(reporter)

    def now() -> None:
        with app.app_context():
            runs.stop("ann")
        wait_until(lambda: reporters[-1].is_cancelled, "the import knows that it's stopped")

    monkeypatch.setattr(Reporter, "__enter__", enter)
    return now


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.settings(store=kind)) for kind in KINDS]
)
def test_a_stop_ends_the_hashing_of_what_an_earlier_import_left(
    lab: Lab, stop: Callable[[], None], kind: str
) -> None:
    lab.select("noble")
    squashfs = next(item for item in lab.mirror.newest(release="noble") if item.ftype == "squashfs")
    with store().writer(squashfs.sha256, squashfs.size) as writer:
        writer.write(bytes(1000))
    with stopped_after_the_first_chunk(stop) as ended:
        run = lab.run()
    assert (run.state, run.summary) == ("stopped", "Stopped by user.")
    assert ended == []
    assert squashfs.sha256 in {partial.sha256 for partial in store().partials()}
    assert lab.run().state == "succeeded"
    check_region()
