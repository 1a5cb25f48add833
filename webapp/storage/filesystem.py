# SPDX-License-Identifier: Apache-2.0
"""Blobs as files, in the tree that layout.py describes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from webapp.durable import sync_folder
from webapp.storage.base import (
    BlobStat,
    Check,
    Partial,
    checked_digest,
    checked_size,
    hash_of,
    no_check,
)
from webapp.storage.errors import BlobMissing, StoreFull, StoreUnusable, free_of, problem_of
from webapp.storage.file_uploads import FileReceiver
from webapp.storage.files import FileReader, FileWriter, open_file, remove_partial
from webapp.storage.layout import MARKER_TEXT, Layout


class FilesystemStore:
    """Keeps each blob in a file; needs nothing but one folder. See base.BlobStore."""

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)

    @property
    def is_marked(self) -> bool:
        """Whether the folder is ours."""
        with self._reporting():
            return self._layout.marker.is_file()

    def prepare(self, *, create: bool) -> None:
        """Make the tree where it is missing; with ``create`` also the folder itself.

        A folder with another program's ``sha256`` or ``partial`` is refused.
        Raises StoreUnusable, StoreFull.
        """
        layout = self._layout
        with self._reporting():
            if not layout.marker.is_file():
                self._mark(create)
            for folder in (layout.blobs, layout.partials, layout.uploads):
                if not folder.is_dir():
                    folder.mkdir(mode=0o750, exist_ok=True)
                    sync_folder(layout.root)

    def check(self) -> None:
        """Write, fsync and remove a small file; see base.BlobStore."""
        layout = self._layout
        with self._reporting(needed=len(MARKER_TEXT)):
            self._demand_marker()
            if layout.blobs.stat().st_dev != layout.partials.stat().st_dev:
                raise StoreUnusable(
                    "The store's folders are on two file systems.",
                    where=str(layout.root),
                    expected="sha256 and partial on one, so that a rename can publish a blob",
                    got="two",
                    next_step="Mount one volume on the store's folder, not inside it.",
                )
            if self.free_bytes() == 0:
                raise StoreFull(str(layout.root), needed=1, free=0)
            try:
                fd = open_file(layout.probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                try:
                    os.write(fd, MARKER_TEXT.encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)
            finally:
                # Another process may check at the same time and be faster.
                layout.probe.unlink(missing_ok=True)

    def stat(self, sha256: str) -> BlobStat | None:
        """Size of a whole blob; see base.BlobStore."""
        with self._reporting():
            try:
                state = os.lstat(self._layout.blob(sha256))
            except FileNotFoundError:
                self._demand_marker()
                return None
        if not stat.S_ISREG(state.st_mode):
            return None
        return BlobStat(sha256, state.st_size, state.st_mtime_ns)

    def writer(self, sha256: str, size: int, check: Check = no_check) -> FileWriter:
        """Start or resume a blob; see base.BlobStore."""
        with self._reporting():
            self._demand_marker()
        return FileWriter(self._layout, checked_digest(sha256), checked_size(size), check)

    def open(self, sha256: str) -> FileReader:
        """Open a whole blob; see base.BlobStore."""
        with self._reporting():
            try:
                return FileReader(self._layout.blob(sha256), sha256)
            except FileNotFoundError:
                self._demand_marker()
                raise BlobMissing(sha256) from None

    def open_partial(self, sha256: str) -> FileReader:
        """Read what has come of a blob so far, while its writer appends. Raises BlobMissing."""
        with self._reporting():
            try:
                return FileReader(self._layout.partial(sha256), sha256)
            except FileNotFoundError:
                raise BlobMissing(sha256) from None

    def path_of(self, sha256: str) -> Path:
        """Where a whole blob's file is, or would be."""
        return self._layout.blob(sha256)

    def delete(self, sha256: str) -> None:
        """Remove a whole blob; see base.BlobStore.

        Readers that have it open read on. The folder is not fsynced: a blob that
        comes back after a power cut is whole and is found by ``digests``.
        """
        with self._reporting():
            try:
                self._layout.blob(sha256).unlink()
            except FileNotFoundError:
                self._demand_marker()

    def partials(self) -> Iterator[Partial]:
        """All unfinished blobs; see base.BlobStore."""
        return self._unfinished(self._layout.partials)

    def drop_partial(self, sha256: str) -> None:
        """Remove a partial; see base.BlobStore."""
        with self._reporting():
            self._demand_marker()
            remove_partial(self._layout.partial(sha256), sha256)

    def receiver(self, token: str, size: int) -> FileReceiver:
        """Start or resume an upload; see base.BlobStore."""
        with self._reporting():
            self._demand_marker()
        return FileReceiver(self._layout, checked_digest(token), checked_size(size))

    def open_upload(self, token: str) -> FileReader:
        """Read an upload; see base.BlobStore."""
        with self._reporting():
            try:
                return FileReader(self._layout.incoming(token), token)
            except FileNotFoundError:
                self._demand_marker()
                raise BlobMissing(token) from None

    def uploads(self) -> Iterator[Partial]:
        """All uploads; see base.BlobStore."""
        return self._unfinished(self._layout.uploads)

    def drop_upload(self, token: str) -> None:
        """Remove an upload; see base.BlobStore."""
        with self._reporting():
            self._demand_marker()
            remove_partial(self._layout.incoming(token), token)

    def digests(self) -> Iterator[str]:
        """The digests of all whole blobs; see base.BlobStore."""
        return (found.sha256 for found in self.stats())

    def stats(self) -> Iterator[BlobStat]:
        """All whole blobs; see base.BlobStore."""
        layout = self._layout
        with self._reporting():
            self._demand_marker()
            folders = layout.blob_folders(os.listdir(layout.blobs))
        for folder in folders:
            with self._reporting():
                found = self._blobs_in(folder)
            yield from found

    def free_bytes(self) -> int | None:
        """What the file system still gives to an ordinary user, see errors.SPARE."""
        return free_of(self._layout.root)

    def verify(self, sha256: str) -> bool:
        """Hash the file; see base.BlobStore."""
        with self.open(sha256) as reader:
            return hash_of(reader) == sha256

    def sweep(self) -> None:
        """Nothing: a file that a killed process left is a partial."""

    def relative_path(self, sha256: str) -> str:
        """Path below the store's folder; see base.BlobStore."""
        return self._layout.relative(sha256)

    def _unfinished(self, folder: Path) -> Iterator[Partial]:
        with self._reporting():
            names = os.listdir(folder)
        for name in sorted(names):
            sha256 = self._layout.digest_of_partial(name)
            if sha256 is None:
                continue
            with self._reporting():
                try:
                    state = os.lstat(folder / name)
                except FileNotFoundError:
                    continue  # committed or dropped since the names were read
            if stat.S_ISREG(state.st_mode):
                touched_at = datetime.fromtimestamp(state.st_mtime, UTC)
                yield Partial(sha256, state.st_size, touched_at)

    def _blobs_in(self, folder: Path) -> list[BlobStat]:
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._layout.is_blob(folder, entry.name):
                        # Deleted since its name was read: not there.
                        with suppress(FileNotFoundError):
                            state = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(state.st_mode):
                                found.append(BlobStat(entry.name, state.st_size, state.st_mtime_ns))
            return sorted(found, key=lambda blob: blob.sha256)
        except NotADirectoryError:
            return []  # a foreign file with a name like a folder of ours

    def _mark(self, create: bool) -> None:
        layout = self._layout
        if not create:
            self._demand_marker()
        # Another process may be at the same step: it marks first and makes folders
        # after, so folders without a marker, checked in this order, are not ours.
        foreign = [f for f in (layout.blobs, layout.partials) if os.path.lexists(f)]
        if foreign and not layout.marker.is_file():
            raise StoreUnusable(
                "The store's folder is used by something else.",
                code="store-foreign",
                where=str(layout.root),
                expected=f"an empty folder, or one with a {layout.marker.name} file",
                got=f"{foreign[0].name} without it",
                next_step="Choose another folder. If these are Slipway's blobs, "
                f"restore or create an empty file {layout.marker.name} there.",
            )
        layout.root.mkdir(mode=0o750, exist_ok=True)
        with suppress(FileExistsError):
            fd = open_file(layout.marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                os.write(fd, MARKER_TEXT.encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        sync_folder(layout.root)
        sync_folder(layout.root.parent)

    def _demand_marker(self) -> None:
        """Tell "that blob is not there" from "the whole volume is not there"."""
        if not self._layout.marker.is_file():
            raise StoreUnusable(
                "The store's folder doesn't exist.",
                code="store-missing",
                where=str(self._layout.root),
                expected=f"a {self._layout.marker.name} file in it",
                got="none",
                next_step="Mount its volume, or point SLIPWAY_STORE_DIR to the right folder. If "
                f"its images are lost, create an empty file {self._layout.marker.name} there: the "
                "next import downloads them again.",
            )

    @contextmanager
    def _reporting(self, needed: int = 0) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise problem_of(error, self._layout.root, needed=needed) from error
