# SPDX-License-Identifier: Apache-2.0
"""A rack's disk that is full, and fetches that end at the worst moment."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from webapp import durable
from webapp.remoterack import events, holding
from webapp.remoterack.events import EventLog
from webapp.remoterack.filling import Fill, Fills, Wanted
from webapp.remoterack.holding import Holding
from webapp.remoterack.region import Enrolment, Region
from webapp.remoterack.reporting import Reporter
from webapp.remoterack.serving import GrowingBody, GrowingFile, Opener
from webapp.remoterack.state import Counts, RackSettings, State
from webapp.services.images.published import Located
from webapp.storage import base
from webapp.storage.files import FileReader
from webapp.storage.filesystem import FilesystemStore


def full(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_room_events_are_kept_in_memory_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events"

    def add(log: EventLog) -> None:
        log.add("image.fetched", "10.0.0.1", "ubuntu/noble", status=200, size=5, file="f")

    first = EventLog(path)
    add(first)
    first.close()
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full)
        patch.setattr(events.os, "fsync", full)
        log = EventLog(path)
        for _ in range(2):
            add(log)
            with pytest.raises(OSError, match="No space"):
                log.flush()
        assert [one["id"] for one in log.batch()] == [1, 2, 3]
    log.flush()
    assert [one["id"] for one in EventLog(path).batch()] == [1, 2, 3]


class Hearing(Region):
    """A region that keeps what it's told."""

    def __init__(self) -> None:
        self.reports: list[Mapping[str, Any]] = []

    def report(self, credential: str, report: Mapping[str, Any]) -> int:
        self.reports.append(report)
        return 0


def test_a_full_disk_is_reported_although_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FilesystemStore(tmp_path / "store")
    store.prepare(create=True)
    region, state = Hearing(), State.load(tmp_path / "state.json", RackSettings())
    reporter = Reporter(
        region,
        lambda: Enrolment(1, "a credential", "/mirror/"),
        state,
        EventLog(tmp_path / "events"),
        Holding(store),
        list,
        list,
        tmp_path / "status.json",
    )
    monkeypatch.setattr(durable, "write", full)
    for now in (100.0, 200.0):
        reporter.tick(now)
    assert "No space left" in region.reports[-1]["errors"][0]["what"]


class OneFill(Fills):
    """Knows one fill, which is under way."""

    def __init__(self, fill: Fill) -> None:
        self._fill = fill

    def get(self, wanted: Wanted) -> Fill:
        return self._fill


def test_a_fetch_that_ends_while_a_machine_turns_to_it_is_no_failure(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    store.prepare(create=True)
    kept = Holding(store)
    content = b"x" * 100
    sha256 = hashlib.sha256(content).hexdigest()
    found = Located(sha256, 100, "1", f"a/{sha256}/x", False, True, 1, None, None, 0, "", False)

    class Ending(Fill):
        """Its last byte comes at the worst moment."""

        def follow(self) -> tuple[int, int] | None:
            with store.writer(sha256, 100) as writer:
                writer.write(content)
                writer.commit()
            kept.add(sha256, 100)
            self.end(None)
            return super().follow()

    fill = Ending(Wanted(sha256, 100, "x"))
    fill.is_flowing = True
    fill.began -= 100
    reader = Opener(kept, OneFill(fill), Counts({})).open(found)
    assert reader is not None
    assert b"".join(reader.chunks()) == content
    reader.close()


def test_a_growing_file_that_is_cut_ends_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    fill = Fill(Wanted("0" * 64, 1 << 20, "x"))
    fill.begin(os.open(path, os.O_RDONLY), 0)
    fill.at(500_000)
    following = fill.follow()
    assert following is not None
    growing = GrowingFile(fill, *following)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        body = GrowingBody(growing, 1000, 2000, lambda: None, lambda sent: None)
        with pytest.raises(OSError, match="shorter"):
            body.send(ours, 1 << 20)
    with pytest.raises(OSError, match="shorter"):
        next(growing.chunks(1000, 2000))
    growing.close()


def held(store: FilesystemStore, content: bytes) -> str:
    """Put bytes into a rack's store as a fetch does."""
    sha256 = hashlib.sha256(content).hexdigest()
    with store.writer(sha256, len(content)) as writer:
        writer.write(content)
        writer.commit()
    Holding(store).add(sha256, len(content))
    return sha256


def test_a_file_that_was_altered_while_the_rack_was_off_is_never_given_out(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    store.prepare(create=True)
    good, bad = held(store, b"good"), held(store, b"bad1")
    path = store.path_of(bad)
    path.chmod(0o640)
    path.write_bytes(b"BAD1")
    again = Holding(store)
    assert again.open(bad, 4) is None
    assert not again.has(bad)
    reader = again.open(good, 4)
    assert reader is not None
    reader.close()


def test_a_file_is_hashed_once_and_known_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FilesystemStore(tmp_path)
    store.prepare(create=True)
    sha256 = held(store, b"good")
    os.utime(store.path_of(sha256))  # e.g. copied from another disk
    hashed: list[str] = []

    def hash_of(reader: FileReader) -> str:
        hashed.append(base.hash_of(reader))
        return hashed[-1]

    monkeypatch.setattr(holding, "hash_of", hash_of)
    for again in (Holding(store), Holding(store)):
        for _ in range(2):
            reader = again.open(sha256, 4)
            assert reader is not None
            reader.close()
    assert hashed == [sha256]


def test_what_was_received_of_unwanted_files_is_removed(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    store.prepare(create=True)
    wanted, unwanted = (hashlib.sha256(name).hexdigest() for name in (b"a", b"b"))
    for sha256 in (wanted, unwanted):
        with store.writer(sha256, 100) as writer:
            writer.write(b"a part")
    Holding(store).drop_unfinished({wanted})
    assert [part.sha256 for part in store.partials()] == [wanted]
