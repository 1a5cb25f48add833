# SPDX-License-Identifier: Apache-2.0
"""Stores used by processes that are killed (rules: kill-anywhere, one-writer-per-blob)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.contract import processes
from tests.contract.processes import Process
from tests.contract.stores import MIB, Harness, make_blob
from webapp.storage.errors import BlobBusy
from webapp.storage.objects import ObjectStore

LARGE = make_blob(6 * MIB + 17)


@pytest.fixture(autouse=True)
def swept(harness: Harness) -> Iterator[None]:
    """What a kill at the very start of a multipart upload leaves is swept a day later."""
    yield
    if isinstance(harness.store, ObjectStore):
        harness.store.sweep(orphan_s=0)


def test_a_killed_writer_is_resumed_until_the_blob_is_whole(harness: Harness) -> None:
    dice = random.Random(7)
    times = 3 if harness.is_objects else 1  # parts are larger than rows
    piece, blob = 400_000 * times if times > 1 else 200_000, make_blob(LARGE.size * times)
    kept = kills = 0
    while True:
        with Process(processes.write_in_pieces, harness.place, blob.size, piece, kills) as process:
            steps = dice.randrange(1, 25)
            for _ in range(steps):
                process.start()
            received = process.some(steps)  # it gets one more request than it answers
            process.kill()
            received += process.rest()
        kills += 1
        offsets = [offset for offset in received if offset != "ready"]
        assert offsets[0] >= kept, "it went on from where the last one was"
        if harness.store.stat(blob.sha256) is not None:
            break  # killed after the commit, before it could say so
        assert list(harness.store.digests()) == []
        kept = sum(partial.received for partial in harness.store.partials())
        assert offsets[-1] - harness.held_back <= kept <= offsets[-1] + piece
    assert kills > 1
    assert harness.get(blob) == blob.data
    harness.store.check()


def test_a_kill_at_any_moment_of_a_replacement_leaves_a_whole_blob(harness: Harness) -> None:
    dice = random.Random(8)
    blob = make_blob(2 * MIB)
    harness.put(blob)
    for _ in range(4 if harness.is_objects else 12):
        with Process(processes.replace_for_ever, harness.place, blob.size) as process:
            process.receive()
            time.sleep(dice.random() / 30)
            process.kill()
        assert harness.get(blob) == blob.data
        assert list(harness.store.digests()) == [blob.sha256]
    harness.store.drop_partial(blob.sha256)
    harness.store.check()


def test_a_writer_elsewhere_is_respected_until_it_dies(harness: Harness) -> None:
    with Process(processes.hold, harness.place, LARGE.size, 3 * MIB) as process:
        assert process.receive() == 3 * MIB
        with pytest.raises(BlobBusy):
            harness.store.writer(LARGE.sha256, LARGE.size)
        with pytest.raises(BlobBusy):
            harness.store.drop_partial(LARGE.sha256)
        process.kill()
        with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
            assert writer.offset == 3 * MIB
            writer.write(LARGE.data[3 * MIB :])
            writer.commit()
    assert harness.get(LARGE) == LARGE.data


def test_of_racing_writers_each_blob_is_stored_once_and_whole(harness: Harness) -> None:
    rounds, size = 6, 300_000
    with ExitStack() as stack:
        racers = [
            stack.enter_context(Process(processes.race, harness.place, size, rounds))
            for _ in range(4)
        ]
        for seed in range(rounds):
            for racer in racers:
                racer.start()
            ends = [racer.receive() for racer in racers]
            assert "stored" in ends
            assert set(ends) <= {"stored", "busy"}
            blob = make_blob(size, seed)
            assert harness.get(blob) == blob.data
    assert len(list(harness.store.digests())) == rounds


@pytest.mark.slow
def test_memory_stays_flat_however_large_the_blob(harness: Harness) -> None:
    with Process(processes.measure_memory, harness.place, 300) as process:
        grown, is_right = process.receive()
    assert is_right
    assert grown < 24 * MIB
