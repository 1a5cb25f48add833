# SPDX-License-Identifier: Apache-2.0
"""Fetch the missing files of a mirror, some side by side, each content once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from webapp.errors import Problem
from webapp.fetch import Fetcher, FetchProblem, Stopped
from webapp.mirror.folder import FileStat, MirrorFolder, full
from webapp.mirror.model import MirrorProblem, WantedFile
from webapp.mirror.tracking import Tracker
from webapp.storage.base import BlobWriter, Check, hash_of
from webapp.storage.errors import StoreFull
from webapp.storage.filesystem import FilesystemStore
from webapp.streams.urls import join

WORKERS = 3
STORE = "store"  # below the state folder: what is on its way
MAX_FAILURES = 10  # files that may fail before the rest is not even tried


class Transfer:
    """Downloads go through a store of their own, which resumes, verifies and syncs.

    record: called for every file that is in its place, with its stat.
    """

    def __init__(
        self,
        root: str,
        fetcher: Fetcher,
        tree: MirrorFolder,
        tracker: Tracker,
        *,
        record: Callable[[WantedFile, FileStat], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        self._root = root
        self._fetcher = fetcher
        self._tree = tree
        self._tracker = tracker
        self._record = record
        self._is_stopped = is_stopped
        self._store = FilesystemStore(tree.state / STORE)
        self._lock = threading.Lock()
        self._abort = threading.Event()
        self._failures: list[Problem] = []

    def run(self, missing: Sequence[WantedFile]) -> None:
        """Bring all of them.

        Raises MirrorProblem: mirror-full before the first byte when they cannot
        fit, mirror-incomplete at the end when some failed; Stopped; StoreUnusable.
        """
        contents: dict[str, list[WantedFile]] = {}
        for file in missing:
            contents.setdefault(file.sha256, []).append(file)
        self._store.prepare(create=True)
        self._tracker.bytes_total = sum(files[0].size for files in contents.values())
        self._check_room(contents)
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="pull") as pool:
            try:
                for _ in pool.map(self._bring, contents.values()):
                    pass
            except BaseException:
                self._abort.set()
                raise
        if self._failures:
            raise _incomplete(self._failures, len(contents))
        for partial in list(self._store.partials()):
            self._store.drop_partial(partial.sha256)

    def _check_room(self, contents: dict[str, list[WantedFile]]) -> None:
        here = sum(p.received for p in self._store.partials() if p.sha256 in contents)
        needed, free = self._tracker.bytes_total - here, self._tree.free_bytes()
        if needed > free:
            raise full(str(self._tree.path), needed=needed, free=free)

    def _bring(self, files: list[WantedFile]) -> None:
        """Fetch one content and put it in all its places; note its problem if it has one."""
        if self._abort.is_set():
            return
        try:
            self._fetch(files[0])
            self._place(files)
        except StoreFull as problem:
            self._abort.set()
            where = str(self._tree.path)
            raise full(where, needed=problem.needed, free=problem.free) from problem
        except Stopped:
            # Whoever aborts the others has a problem of his own, which is what counts.
            if not self._abort.is_set() or self._is_stopped():
                raise
        except FetchProblem as problem:
            with self._lock:
                self._failures.append(problem)
                if len(self._failures) >= MAX_FAILURES:
                    self._abort.set()
        except BaseException:
            self._abort.set()
            raise

    def _fetch(self, file: WantedFile) -> None:
        if self._is_here(file):
            return  # came just before an earlier pull was killed

        def open_writer(check: Check) -> BlobWriter:
            writer = self._store.writer(file.sha256, file.size, check)
            self._tracker.begin(file, writer.offset)
            return writer

        self._fetcher.download(
            join(self._root, file.path),
            open_writer,
            size=file.size,
            on_bytes=lambda offset: self._tracker.at(file, offset),
            is_stopped=self._is_over,
        )

    def _is_here(self, file: WantedFile) -> bool:
        def check() -> None:
            if self._is_over():
                raise Stopped(file.path)

        if self._store.stat(file.sha256) is None:
            return False
        with self._store.open(file.sha256) as reader:
            return hash_of(reader, check) == file.sha256

    def _is_over(self) -> bool:
        return self._abort.is_set() or self._is_stopped()

    def _place(self, files: list[WantedFile]) -> None:
        sha256 = files[0].sha256
        content = self._tree.state / STORE / self._store.relative_path(sha256)
        for file in files:
            stat = self._tree.place(content, file.path)
            with self._lock:
                self._record(file, stat)
            self._tracker.file(file)
        self._store.delete(sha256)


def _incomplete(failures: Sequence[Problem], total: int) -> MirrorProblem:
    """Some files are missing; states the reason for the first of them."""
    first = failures[0]
    return MirrorProblem(
        f"{len(failures)} of {total} files failed, so the index wasn't changed. "
        f"The first: {first.what}",
        code="mirror-incomplete",
        where=first.where,
        expected=first.expected,
        got=first.got,
        next_step=first.next_step or "Pull again. Complete files are kept.",
    )
