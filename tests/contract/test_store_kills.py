# SPDX-License-Identifier: Apache-2.0
"""A process that is killed just before or after any change in a bucket (rule: kill-anywhere)."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.contract.processes import Process
from tests.contract.stores import MIB, Harness, Place, make_blob
from webapp.storage import object_keys
from webapp.storage.base import BlobStore
from webapp.storage.bucket import Bucket, BucketOptions
from webapp.storage.tables import blob_chunk, blob_store

BLOB = make_blob(5 * MIB + 17)  # a part and a bit
TOKEN = "ab" * 32
CHANGES = {
    "create_multipart_upload",
    "upload_part",
    "put_object",
    "complete_multipart_upload",
    "delete_object",
    "abort_multipart_upload",
}


@pytest.fixture
def place(object_place: BucketOptions, tmp_path: Path) -> Place:
    """A store in a bucket."""
    return Place("s3", tmp_path / "store", f"sqlite:///{tmp_path / 'region.db'}", object_place)


def write(store: BlobStore) -> None:
    """Write a blob with a pause in its last bytes."""
    for end in (BLOB.size - 8, BLOB.size):
        with store.writer(BLOB.sha256, BLOB.size) as writer:
            writer.write(memoryview(BLOB.data)[writer.offset : end])
            if end == BLOB.size:
                writer.commit()


def adopt(store: BlobStore) -> None:
    """Receive an upload and make it a blob."""
    with store.receiver(TOKEN, BLOB.size) as receiver:
        receiver.write(memoryview(BLOB.data)[receiver.offset :])
        receiver.settle()
        receiver.adopt(BLOB.sha256)


def drop(store: BlobStore) -> None:
    """Remove all that isn't whole, as people and clean-up do."""
    for partial in list(store.partials()):
        store.drop_partial(partial.sha256)
    for upload in list(store.uploads()):
        store.drop_upload(upload.sha256)


def die(
    pipe: Connection, place: Place, step: Callable[[BlobStore], None], number: int, after: bool
) -> None:
    """Do something in a store and be killed at the change of this number; say if it ended."""
    ask, numbers = Bucket.ask, itertools.count(1)

    def counting(self: Bucket, operation: str, **parameters: Any) -> Any:
        is_it = operation in CHANGES and next(numbers) == number
        if is_it and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = ask(self, operation, **parameters)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Bucket.ask = counting  # type: ignore[method-assign]
    step(place.open())
    pipe.send("ended")


def kill(harness: Harness, step: Callable[[BlobStore], None], number: int, after: bool) -> bool:
    """Have a process do something until it's killed; False when it ended before."""
    with Process(die, harness.place, step, number, after) as process:
        return process.rest() == []


def assert_nothing_is_left(harness: Harness, *, with_blob: bool) -> None:
    """Neither rows nor objects nor uploads, but the blob where there should be one."""
    harness.store.sweep(orphan_s=0)  # type: ignore[attr-defined]
    with harness.engine.connect() as connection:
        rows = list(connection.execute(select(blob_store.c.state, blob_store.c.received)))
        rows += list(connection.execute(select(blob_chunk.c.start)))
    assert rows == []
    assert harness.leftovers() == []
    assert list(harness.store.digests()) == [BLOB.sha256] * with_blob
    harness.store.delete(BLOB.sha256)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", [write, adopt])
def test_what_a_killed_process_began_is_finished(
    harness: Harness, step: Callable[[BlobStore], None], after: bool
) -> None:
    for number in itertools.count(1):
        if not kill(harness, step, number, after):
            break
        step(harness.store)
        assert harness.get(BLOB) == BLOB.data
        assert_nothing_is_left(harness, with_blob=True)
    assert number > 6
    assert_nothing_is_left(harness, with_blob=True)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", [write, adopt])
def test_what_a_killed_process_began_can_be_removed(
    harness: Harness, step: Callable[[BlobStore], None], after: bool
) -> None:
    for number in itertools.count(1):
        if not kill(harness, step, number, after):
            break
        drop(harness.store)
        is_whole = harness.store.stat(BLOB.sha256) is not None
        assert not is_whole or harness.store.verify(BLOB.sha256)
        assert_nothing_is_left(harness, with_blob=is_whole)
    harness.store.delete(BLOB.sha256)


@pytest.mark.parametrize("after", [False, True])
def test_a_removal_that_is_killed_is_finished_by_the_next(harness: Harness, after: bool) -> None:
    for number in itertools.count(1):
        assert kill(harness, adopt, 5, after=False), "before the last part of the copy"
        is_killed = kill(harness, drop, number, after)
        drop(harness.store)
        assert_nothing_is_left(harness, with_blob=False)
        if not is_killed:
            break
    assert number > 3


def test_probes_of_a_killed_check_are_swept(harness: Harness) -> None:
    harness.bucket.ask("put_object", Key=object_keys.new_probe(), Body=b"left")
    harness.store.check()
    assert len(harness.leftovers()) == 1, "another process may be at it"
    harness.store.sweep(orphan_s=0)  # type: ignore[attr-defined]
