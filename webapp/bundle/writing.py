# SPDX-License-Identifier: Apache-2.0
"""Write the pieces of a bundle: each whole or not there, and continued where it stopped."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from webapp import durable
from webapp.bundle import manifest as manifests
from webapp.bundle.manifest import BundleProblem, Manifest, Member, Piece

WORK = ".work"  # in the folder of an unfinished bundle
_PLAN, _PART, _LOCK = "plan.json", "part", "lock"
_FULL = {errno.ENOSPC, errno.EDQUOT}

# Gives the bytes of a member, or raises a Problem.
Source = Callable[[Member], Iterator[bytes]]


class Folder:
    """The folder of a bundle that is being made, claimed by this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._work = path / WORK

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folder and keep others out. Raises BundleProblem."""
        with self._reporting():
            self.path.mkdir(parents=True, exist_ok=True)
            names = set(os.listdir(self.path))
            if manifests.NAME in names:
                raise BundleProblem(
                    "This folder has a finished bundle already.",
                    code="bundle-exists",
                    where=str(self.path),
                    next_step="Choose an empty folder, or remove this bundle first.",
                )
            if names and WORK not in names:
                raise BundleProblem(
                    "The folder isn't empty.",
                    code="bundle-folder",
                    where=str(self.path),
                    expected="a new or empty folder, or one with an unfinished bundle",
                    got=", ".join(ascii(name)[1:-1] for name in sorted(names)[:3]),
                    next_step="Choose another folder.",
                )
            self._work.mkdir(exist_ok=True)
            lock = os.open(self._work / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise BundleProblem(
                "Another process is writing this bundle.",
                code="bundle-busy",
                where=str(self.path),
                next_step="Wait until it ends.",
            ) from None
        finally:
            os.close(lock)

    def plan(self, request: str) -> tuple[Manifest, dict[str, bytes]] | None:
        """What an earlier run planned for the same request, with its documents by digest."""
        try:
            kept = json.loads((self._work / _PLAN).read_bytes())
            if kept["request"] != request:
                return None
            plan = manifests.parse(kept["manifest"].encode(), where=str(self._work), is_whole=False)
            documents = {digest: (self._work / digest).read_bytes() for digest in kept["documents"]}
        except (OSError, ValueError, KeyError, TypeError, BundleProblem):
            return None
        is_right = all(hashlib.sha256(text).hexdigest() == d for d, text in documents.items())
        return (plan, documents) if is_right else None

    def begin(self, request: str, plan: Manifest, documents: Mapping[str, bytes]) -> None:
        """Note what is going to be written; pieces of another plan go."""
        with self._reporting():
            for path in (*self.path.glob("piece-*"), *self._work.iterdir()):
                if path.name != _LOCK:
                    path.unlink()
            for digest, text in documents.items():
                durable.write(self._work / digest, text)
            self._keep(request, plan, list(documents))

    def fill(
        self, request: str, plan: Manifest, documents: Mapping[str, bytes], source: Source,
        advance: Callable[[int, int], object],
    ) -> Manifest:  # fmt: skip
        """Write the pieces that are missing; gives the manifest with all of them.

        Raises BundleProblem (bundle-full among them), and what ``source`` raises.
        """
        with self._reporting():
            pieces = list(plan.pieces)
            while pieces and not self._is_there(len(pieces) - 1, pieces[-1]):
                pieces.pop()
            done = sum(piece.size for piece in pieces)
            self._check_room(plan.size - done)
            stream = _Stream(plan, documents, source, done)
            for number in range(len(pieces), len(plan.sizes)):
                digest = hashlib.sha256()
                with open(self._work / _PART, "wb") as file:
                    for chunk in stream.take(plan.sizes[number]):
                        file.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        advance(done, plan.size)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(self._work / _PART, self.path / manifests.piece_name(number))
                durable.sync_folder(self.path)
                pieces.append(Piece(plan.sizes[number], digest.hexdigest()))
                self._keep(request, replace(plan, pieces=tuple(pieces)), list(documents))
            stream.finish()
        return replace(plan, pieces=tuple(pieces))

    def finish(self, key: bytes, signed: bytes) -> None:
        """Add the signed manifest, last; from then on it's a bundle."""
        with self._reporting():
            durable.write(self.path / manifests.KEY, key)
            durable.write(self._work / manifests.NAME, signed)
            os.replace(self._work / manifests.NAME, self.path / manifests.NAME)
            durable.sync_folder(self.path)
            shutil.rmtree(self._work)

    def _is_there(self, number: int, piece: Piece) -> bool:
        path = self.path / manifests.piece_name(number)
        return path.is_file() and path.stat().st_size == piece.size

    def _keep(self, request: str, plan: Manifest, documents: list[str]) -> None:
        text = manifests.write(plan).decode()
        kept = {"request": request, "manifest": text, "documents": documents}
        durable.write(self._work / _PLAN, json.dumps(kept).encode())

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.path).free
        part = self._work / _PART
        free += part.stat().st_size if part.exists() else 0
        if needed > free:
            raise self._full(f"{needed} bytes", f"{free} bytes free")

    def _full(self, expected: str, got: str) -> BundleProblem:
        return BundleProblem(
            "Not enough disk space for the bundle.",
            code="bundle-full",
            where=str(self.path),
            expected=expected,
            got=got,
            next_step="Free up space, or bundle less with --filter or --since. "
            "The same command continues.",
        )

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise self._full("more free space", "none left") from error
            is_large = error.errno == errno.EFBIG
            raise BundleProblem(
                "The bundle can't be written.",
                code="bundle-folder",
                where=error.filename or str(self.path),
                got=error.strerror or type(error).__name__,
                next_step="Use --split 4G: this medium can't hold larger files."
                if is_large
                else "Check the folder, its owner and its medium. The same command continues.",
            ) from error


class _Stream:
    """The bytes of all files from an offset on; each file is hashed as it passes."""

    def __init__(
        self, plan: Manifest, documents: Mapping[str, bytes], source: Source, start: int
    ) -> None:
        self._documents, self._source = documents, source
        self._chunks = self._from(plan, start)
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next bytes, in chunks."""
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks))
            chunk, self._rest = self._rest[:size], self._rest[size:]
            size -= len(chunk)
            yield chunk

    def finish(self) -> None:
        """Check the last file's hash."""
        for _ in self._chunks:
            raise AssertionError("bytes after the last file")

    def _from(self, plan: Manifest, start: int) -> Iterator[bytes]:
        for member, begins in plan.placed():
            skipped = min(max(0, start - begins), member.size)
            if skipped == member.size and member.size:
                continue
            digest = hashlib.sha256()
            # What an earlier run wrote of this file is read once more, for the hash.
            for chunk in self._of(member):
                digest.update(chunk)
                left = chunk[skipped:]
                skipped -= min(skipped, len(chunk))
                if left:
                    yield left
            if digest.hexdigest() != member.sha256:
                raise BundleProblem(
                    "A stored file is damaged, so the bundle isn't complete.",
                    code="bundle-damaged",
                    where=member.paths[0],
                    expected=f"SHA-256 {member.sha256}",
                    got=digest.hexdigest(),
                    next_step="Run `slipway store scrub --now`, then an import, which replaces it.",
                )

    def _of(self, member: Member) -> Iterator[bytes]:
        text = self._documents.get(member.sha256)
        return iter((text,)) if text is not None else self._source(member)
