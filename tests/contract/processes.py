# SPDX-License-Identifier: Apache-2.0
"""Other processes that use the same store: real ones, which a test may kill at any moment."""

from __future__ import annotations

import hashlib
import math
import os
import random
import resource
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.contract.stores import MIB, Place, make_blob
from tests.support.commands import forkserver
from webapp.storage.errors import BlobBusy, StoreUnusable
from webapp.storage.filesystem import FilesystemStore

PATIENCE_S = 60


class Process:
    """A function in a process of its own, forked from a clean server, so it starts at once."""

    def __init__(self, function: Callable[..., None], *args: Any) -> None:
        context = forkserver()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=function, args=(theirs, *args), daemon=True)
        self._process.start()
        theirs.close()

    def receive(self) -> Any:
        """What the function sent next. EOFError when it is dead."""
        if not self._pipe.poll(PATIENCE_S):
            raise TimeoutError("the other process sent nothing")
        try:
            return self._pipe.recv()
        except ConnectionResetError:  # it died and had not heard everything
            raise EOFError from None

    def start(self) -> None:
        """Tell it to go on; no matter when it has ended already."""
        with suppress(ConnectionResetError, BrokenPipeError):
            self._pipe.send(None)

    def some(self, most: float) -> list[Any]:
        """What it sends next, fewer things when it ends before."""
        received: list[Any] = []
        with suppress(EOFError):
            while len(received) < most:
                received.append(self.receive())
        return received

    def rest(self) -> list[Any]:
        """All that it sends until it ends."""
        return self.some(math.inf)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.join(PATIENCE_S)

    def wait(self) -> int | None:
        """Wait for its own end; returns the exit code."""
        self._process.join(PATIENCE_S)
        return self._process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._pipe.close()


def write_in_pieces(pipe: Connection, place: Place, size: int, most: int, seed: int) -> None:
    """Store a blob, a piece of random size each time that it is told to go on.

    Says the offset at the start and after each piece, and "ready" at the end.
    """
    blob = make_blob(size)
    sizes = random.Random(seed)
    with place.open().writer(blob.sha256, blob.size) as writer:
        pipe.send(writer.offset)
        while writer.offset < size:
            pipe.recv()
            piece = sizes.randrange(1, most)
            writer.write(memoryview(blob.data)[writer.offset : writer.offset + piece])
            pipe.send(writer.offset)
        writer.commit()
    pipe.send("ready")


def replace_for_ever(pipe: Connection, place: Place, size: int) -> None:
    """Store the same blob again and again; say each time that it is done."""
    blob = make_blob(size)
    store = place.open()
    while True:
        with store.writer(blob.sha256, blob.size) as writer:
            writer.write(memoryview(blob.data)[writer.offset :])
            writer.commit()
        pipe.send("ready")


def hold(pipe: Connection, place: Place, size: int, received: int) -> None:
    """Write the first bytes of a blob, say so, and keep the writer open."""
    blob = make_blob(size)
    with place.open().writer(blob.sha256, blob.size) as writer:
        writer.write(blob.data[:received])
        writer.flush()
        pipe.send(writer.offset)
        pipe.recv()


def race(pipe: Connection, place: Place, size: int, rounds: int) -> None:
    """Try to store a row of blobs at the same time as others; say what each try ended in."""
    store = place.open()
    for seed in range(rounds):
        blob = make_blob(size, seed)
        pipe.recv()
        try:
            with store.writer(blob.sha256, blob.size) as writer:
                writer.write(memoryview(blob.data)[writer.offset :])
                writer.commit()
            pipe.send("stored")
        except BlobBusy:
            pipe.send("busy")


def check_as_nobody(pipe: Connection, root: Path) -> None:
    """Say which problem a user without rights gets."""
    store = FilesystemStore(root)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    try:
        store.check()
        pipe.send(None)
    except StoreUnusable as problem:
        pipe.send(problem.as_dict())


def measure_memory(pipe: Connection, place: Place, mebibytes: int) -> None:
    """Store, resume and verify a large blob; say by how many bytes memory grew."""
    block = memoryview(random.Random(1).randbytes(MIB))
    found = hashlib.sha256()
    for _ in range(mebibytes):
        found.update(block)
    sha256, size = found.hexdigest(), mebibytes * MIB
    store = place.open()
    store.check()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with store.writer(sha256, size) as writer:
        for _ in range(mebibytes // 2):
            writer.write(block)
    with store.writer(sha256, size) as writer:
        while writer.offset < size:
            writer.write(block)
        writer.commit()
    is_right = store.verify(sha256)
    store.delete(sha256)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pipe.send((grown * 1024, is_right))
