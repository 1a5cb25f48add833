# SPDX-License-Identifier: Apache-2.0
"""What every store promises; tests/contract holds each back end to it.

Blobs are named by their sha256 (64 lower-case hex digits) and never change.
A blob is visible to ``stat``, ``open`` and ``digests`` only after ``commit``
checked its size and hash and made it durable. Until then it is a partial: its
``offset`` survives a close and a kill, and the next writer continues from there.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from webapp.storage.errors import StoreProblem

CHUNK = 1 << 20  # bytes handed around at a time
MAX_BLOB = 1 << 44  # bytes; the largest size that a signed document may state

# Called before each chunk that is hashed; what it raises ends that.
Check = Callable[[], object]

_DIGEST = re.compile(r"[0-9a-f]{64}")


def no_check() -> None:
    """The check of those who can't be stopped."""


@dataclass(frozen=True)
class BlobStat:
    """A whole blob. mtime_ns: a number that changes when its bytes are replaced past the store.

    It's when a file was last written, or made of an object's ETag; None where there is neither.
    """

    sha256: str
    size: int
    mtime_ns: int | None = None


@dataclass(frozen=True)
class Partial:
    """An unfinished blob: bytes received so far and when the last one came."""

    sha256: str
    received: int
    touched_at: datetime


class Closing(ABC):
    """A ``with`` block that closes at its end, whatever the reason."""

    @abstractmethod
    def close(self) -> None:
        """Let go; harmless when closed already."""

    def __enter__(self) -> Self:
        """Nothing to do: the constructor opened it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class BlobWriter(Protocol):
    """Fills one blob; exactly one writer per digest exists at a time, over all processes.

    Leaving the ``with`` block without ``commit`` or ``discard`` keeps the partial.
    After an error of ``write`` the writer still works: ``offset`` is
    what was stored, and the caller may continue from it, close or discard.
    """

    sha256: str
    size: int

    @property
    def offset(self) -> int:
        """Bytes accepted so far, those of earlier writers included; hashed already."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes at ``offset``.

        Raises BlobMismatch (blob-too-long; nothing of ``data`` was taken) beyond
        ``size``, StoreFull, StoreUnusable, BlobBusy when the lease was lost.
        """
        ...

    def flush(self) -> None:
        """Let everything accepted so far survive a kill of this process."""
        ...

    def commit(self) -> None:
        """Check size and hash, make durable, make visible, close.

        A copy of the same digest that was there before, good or bad, is replaced
        in one step. Raises BlobMismatch: a wrong hash drops the partial, too few
        bytes keep it. Raises StoreFull, StoreUnusable.
        """
        ...

    def close(self) -> None:
        """Keep the partial and let others write; harmless when closed already."""
        ...

    def discard(self) -> None:
        """Drop the partial and close; harmless when closed already."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BlobReceiver(Protocol):
    """Takes in an upload piece by piece, one request each; its digest may be unknown.

    An upload goes by a token (64 hex digits that cannot be guessed) until ``adopt``.
    It has one receiver at a time, over all processes. What was accepted is kept
    when the ``with`` block is left, whatever the reason.
    """

    size: int

    @property
    def offset(self) -> int:
        """Bytes that are there."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes at ``offset``; raises as BlobWriter.write does."""
        ...

    def cut(self, offset: int) -> None:
        """Take back what came after ``offset``; never more than was not settled."""
        ...

    def settle(self) -> None:
        """Let what is there survive a kill; it can no longer be cut."""
        ...

    def digest(self) -> str:
        """The sha256 of what is there; reads what this process did not see come in."""
        ...

    def adopt(self, sha256: str) -> None:
        """Check size and hash, make durable, make it that blob, close.

        Raises BlobMismatch, and keeps all, when it is not; StoreFull, StoreUnusable.
        """
        ...

    def close(self) -> None:
        """Keep what is there and let others write; harmless when closed already."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BlobReader(Protocol):
    """Reads one whole blob; threads may share it, since it has no position.

    mtime_ns: see BlobStat.
    """

    size: int
    mtime_ns: int | None

    def fileno(self) -> int | None:
        """A file descriptor for sendfile, owned by the reader; None where there is no file."""
        ...

    def chunks(
        self, start: int = 0, stop: int | None = None, chunk: int = CHUNK
    ) -> Iterator[bytes]:
        """Yield the bytes ``[start:stop]``, at most ``chunk`` at a time.

        Bounds beyond the end are cut to it, as a slice does; negative ones are a
        ValueError. Raises BlobMissing when the blob was deleted meanwhile and
        can no longer be read; never yields other bytes.
        """
        ...

    def address(self, seconds: int) -> str | None:
        """A URL that reads the blob without credentials for so long; never log it.

        None where there is none, or where machines are not to be sent there.
        """
        ...

    def close(self) -> None:
        """Let go of it; harmless when closed already."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BlobStore(Protocol):
    """Keeps bytes by sha256. Safe to share between threads; processes open their own."""

    def stat(self, sha256: str) -> BlobStat | None:
        """Size of a whole blob, None when it is not there. Does not read it."""
        ...

    def writer(self, sha256: str, size: int, check: Check = no_check) -> BlobWriter:
        """Start or resume a blob of exactly ``size`` bytes.

        A partial is hashed again from its start, unless ``check`` ends that, which
        leaves it as it is; one longer than ``size`` is discarded. Raises BlobBusy,
        StoreFull (before the first byte when it cannot fit), StoreUnusable, and what
        ``check`` raises.
        """
        ...

    def open(self, sha256: str) -> BlobReader:
        """Open a whole blob. Raises BlobMissing."""
        ...

    def delete(self, sha256: str) -> None:
        """Remove a whole blob; harmless when it is not there. Its partial is left alone."""
        ...

    def partials(self) -> Iterator[Partial]:
        """All unfinished blobs."""
        ...

    def drop_partial(self, sha256: str) -> None:
        """Remove a partial; harmless when there is none. Raises BlobBusy while it is written."""
        ...

    def receiver(self, token: str, size: int) -> BlobReceiver:
        """Start or resume an upload of ``size`` bytes; nothing is read.

        Raises BlobBusy, StoreFull (before the first byte when it cannot fit), StoreUnusable.
        """
        ...

    def open_upload(self, token: str) -> BlobReader:
        """Read what has come of an upload so far. Raises BlobMissing."""
        ...

    def uploads(self) -> Iterator[Partial]:
        """All uploads that were not adopted, by their tokens."""
        ...

    def drop_upload(self, token: str) -> None:
        """Remove an upload; harmless when there is none. Raises BlobBusy while it is written."""
        ...

    def stats(self) -> Iterator[BlobStat]:
        """All whole blobs, ascending by digest. Does not read them."""
        ...

    def digests(self) -> Iterator[str]:
        """The digests of all whole blobs, ascending."""
        ...

    def free_bytes(self) -> int | None:
        """Bytes that can still be stored; None when the back end cannot know."""
        ...

    def verify(self, sha256: str) -> bool:
        """Read the blob and say whether it still has its digest. Raises BlobMissing."""
        ...

    def relative_path(self, sha256: str) -> str | None:
        """Path below the store's folder, for X-Accel-Redirect; None where there is no file."""
        ...

    def sweep(self) -> None:
        """Remove what killed processes left and no one could continue. May run twice at a time."""
        ...

    def check(self) -> None:
        """Prove that the store can be written: used at start.

        Raises StoreUnusable with what is wrong and how to fix it, StoreFull.
        """
        ...


def checked_digest(sha256: str) -> str:
    """Give the digest back if it is one: no path and no query is ever built from another.

    Raises StoreProblem (blob-digest-invalid).
    """
    if not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
        raise StoreProblem(
            "This isn't a SHA-256.",
            code="blob-digest-invalid",
            expected="64 lower-case hex digits",
            got=repr(sha256)[:80],
        )
    return sha256


def checked_size(size: int) -> int:
    """Give the size back if a blob can have it. Raises StoreProblem (blob-size-invalid)."""
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB:
        raise StoreProblem(
            "A blob can't have this size.",
            code="blob-size-invalid",
            expected=f"0 to {MAX_BLOB} bytes",
            got=repr(size)[:80],
        )
    return size


def checked_range(size: int, start: int, stop: int | None, chunk: int) -> tuple[int, int]:
    """Cut a range to a blob of ``size`` bytes, as a slice does. Raises ValueError."""
    if start < 0 or (stop is not None and stop < 0) or chunk < 1:
        raise ValueError("start and stop are not negative, chunk is at least 1")
    stop = size if stop is None else min(stop, size)
    return min(start, stop), stop


def hash_of(reader: BlobReader, check: Check = no_check) -> str:
    """The sha256 of the bytes that are really there. Raises what ``check`` raises."""
    found = hashlib.sha256()
    for piece in reader.chunks():
        check()
        found.update(piece)
    return found.hexdigest()
