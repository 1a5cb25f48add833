# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with stored bytes."""

from __future__ import annotations

from webapp.errors import Problem


class StoreProblem(Problem):
    """Base of everything that the store reports."""

    code = "store"


class StoreUnusable(StoreProblem):
    """The store itself is not as it must be: missing, read-only, failing."""

    code = "store-unusable"


class StoreFull(StoreProblem):
    """There is no room for the bytes; nothing that was whole is affected.

    needed: bytes still to be written. free: bytes there are, None when unknown.
    """

    code = "store-full"

    def __init__(self, where: str, *, needed: int, free: int | None) -> None:
        super().__init__(
            "The store is full.",
            where=where,
            expected=f"room for {needed} bytes",
            got="an unknown amount" if free is None else f"{free} bytes free",
            next_step="Free some space or delete images; the next run goes on where this stopped.",
        )
        self.needed = needed
        self.free = free


class BlobMissing(StoreProblem):
    """No blob of that digest is there (or it was deleted while being read)."""

    code = "blob-missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(
            "The store does not hold these bytes.",
            where=f"sha256 {sha256}",
            next_step="Import the image again.",
        )


class BlobBusy(StoreProblem):
    """Somebody else is writing that digest just now."""

    code = "blob-busy"

    def __init__(self, sha256: str) -> None:
        super().__init__(
            "Somebody else is writing the same bytes just now.",
            where=f"sha256 {sha256}",
            next_step="Wait for the other writer; its result serves both.",
        )


class BlobMismatch(StoreProblem):
    """The bytes are not those that the digest and size promise.

    Codes: ``blob-wrong-hash`` (the partial was dropped), ``blob-too-long`` (the
    write was refused whole), ``blob-too-short`` (the partial is kept).
    """

    code = "blob-mismatch"
