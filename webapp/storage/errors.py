# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with stored bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from webapp.errors import Problem

# Bytes of a disk that blobs never use. The region's database lies on the same disk as a
# rule, and it must be able to go on and to say that the store is full.
SPARE = 32 << 20


class StoreProblem(Problem):
    """Base of everything that the store reports."""

    code = "store"


class StoreUnusable(StoreProblem):
    """The store itself is not as it must be: missing, read-only, failing."""

    code = "store-unusable"


class StoreFull(StoreProblem):
    """There is no room for the bytes; nothing that was whole is affected.

    needed: bytes still to be written. free: bytes that blobs may still use (see
    SPARE), None when unknown.
    """

    code = "store-full"

    def __init__(self, where: str, *, needed: int, free: int | None) -> None:
        super().__init__(
            "The store is full.",
            where=where,
            expected=f"{needed} bytes free",
            got="less" if free is None else f"{free} bytes free",
            next_step="Free up space or delete images. The next run resumes.",
        )
        self.needed = needed
        self.free = free


class BlobMissing(StoreProblem):
    """No blob of that digest is there (or it was deleted while being read)."""

    code = "blob-missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(
            "These bytes aren't in the store.",
            where=f"sha256 {sha256}",
            next_step="Import the image again.",
        )


class BlobBusy(StoreProblem):
    """Another writer has that digest at the moment."""

    code = "blob-busy"

    def __init__(self, sha256: str) -> None:
        super().__init__(
            "The same bytes are already being written.",
            where=f"sha256 {sha256}",
            next_step="Wait for the other writer to finish.",
        )


class BlobMismatch(StoreProblem):
    """The bytes are not those that the digest and size promise.

    Codes: ``blob-wrong-hash`` (the partial was dropped), ``blob-too-long`` (the
    write was refused whole), ``blob-too-short`` (the partial is kept).
    """

    code = "blob-mismatch"


_FULL = {errno.ENOSPC, errno.EDQUOT}
_NEXT = {
    errno.ENOENT: "Mount the volume or create the folder, then restart.",
    errno.EACCES: "Give the user that Slipway runs as read and write access.",
    errno.EPERM: "Give the user that Slipway runs as read and write access.",
    errno.EROFS: "Mount the volume for writing.",
    errno.EIO: "Check the disk and the kernel log.",
}


def problem_of(error: OSError, root: Path, *, needed: int = 0) -> StoreProblem:
    """Turn an error of the operating system into StoreFull or StoreUnusable."""
    if error.errno in _FULL:
        return StoreFull(str(root), needed=needed, free=free_of(root))
    return StoreUnusable(
        "The store's folder can't be used.",
        where=str(error.filename or root),
        expected="a folder that can be read and written",
        got=error.strerror or str(error),
        next_step=_NEXT.get(error.errno or 0, "Check the folder and its disk."),
    )


def free_of(folder: Path) -> int | None:
    """Bytes that may still be stored below a folder, SPARE left out; None when unknown."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return None
    return max(0, state.f_bavail * state.f_frsize - SPARE)


def too_long(sha256: str, size: int, got: int) -> BlobMismatch:
    """More bytes came than the blob has."""
    return _mismatch(sha256, "blob-too-long", f"{size} bytes", f"{got} bytes or more")


def too_short(sha256: str, size: int, got: int) -> BlobMismatch:
    """The bytes ended before the blob did."""
    return _mismatch(sha256, "blob-too-short", f"{size} bytes", f"{got} bytes")


def wrong_hash(sha256: str, got: str) -> BlobMismatch:
    """As many bytes as promised, but other ones."""
    return _mismatch(sha256, "blob-wrong-hash", f"sha256 {sha256}", f"sha256 {got}")


def _mismatch(sha256: str, code: str, expected: str, got: str) -> BlobMismatch:
    return BlobMismatch(
        "The bytes don't match what was declared.",
        code=code,
        where=f"sha256 {sha256}",
        expected=expected,
        got=got,
        next_step="Try again. If it persists, the source is corrupt or untrustworthy.",
    )
