# SPDX-License-Identifier: Apache-2.0
"""Pull a stream into a folder: files first, documents next, the index last."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from webapp.fetch import Fetcher, Stopped
from webapp.mirror import state as memory
from webapp.mirror.folder import FileStat, MirrorFolder
from webapp.mirror.model import MirrorProblem, PullProgress, PullReport, WantedFile
from webapp.mirror.planning import wanted_files
from webapp.mirror.state import KnownFile, State
from webapp.mirror.tracking import Tracker
from webapp.mirror.transfer import Transfer
from webapp.streamclient import (
    KnownDocument,
    SignedDocument,
    Snapshot,
    StreamSource,
    read_stream,
)
from webapp.streams.filters import Filter
from webapp.streams.urls import normalise
from webapp.trust.keyrings import Keyring


def pull(
    url: str,
    folder: Path,
    keyring: Keyring | None,
    filters: Sequence[Filter] = (),
    *,
    dry_run: bool = False,
    max_versions: int = 1,
    prune_after: timedelta | None = None,
    keeps_loaders: bool = True,
    confirmed: Collection[str] = (),
    fetcher: Fetcher | None = None,
    on_progress: Callable[[PullProgress], None] | None = None,
    is_stopped: Callable[[], bool] | None = None,
) -> PullReport:
    """Bring a stream into ``folder``, or with ``dry_run`` say what would come.

    filters: all must match; boot loaders come along (keeps_loaders). max_versions: of
    each product, newest first; 0 for all. prune_after: after success remove files of
    earlier pulls that haven't been wanted for that long. confirmed: products on which
    the index and the documents may disagree. keyring None: unsigned by consent.
    on_progress: called by several threads, one at a time.

    When this returns, every wanted file is there and verified, and the index that
    names them is in place. When it raises a Problem, the index and all that was
    whole before are still there, nothing unverified has a name in the tree, and
    the next pull continues where this one stopped.
    """
    source = StreamSource(normalise(url), keyring, frozenset(confirmed))
    with _owned(fetcher) as client:
        made = _Pull(source, filters, max_versions, keeps_loaders, client, on_progress, is_stopped)
        if dry_run and not folder.exists():
            return made.plan_for_nothing()
        if not dry_run:
            _make(folder)
        with MirrorFolder(folder) as tree:
            tree.claim(create=not dry_run)
            if dry_run:
                return made.plan(tree)
            with tree.locked():
                return made.run(tree, prune_after)


@contextlib.contextmanager
def _owned(fetcher: Fetcher | None) -> Iterator[Fetcher]:
    """The caller's fetcher, or one of our own that is closed at the end."""
    if fetcher is not None:
        yield fetcher
        return
    with Fetcher() as own:
        yield own


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MirrorProblem(
            "The mirror's folder can't be created.",
            code="mirror-folder",
            where=str(folder),
            got=error.strerror or str(error),
            next_step="Choose another folder or create it first.",
        ) from error


class _Pull:
    """One pull; use it once."""

    def __init__(
        self,
        source: StreamSource,
        filters: Sequence[Filter],
        max_versions: int,
        keeps_loaders: bool,
        fetcher: Fetcher,
        on_progress: Callable[[PullProgress], None] | None,
        is_stopped: Callable[[], bool] | None,
    ) -> None:
        self._source = source
        self._filters = filters
        self._max_versions = max_versions
        self._keeps_loaders = keeps_loaders
        self._fetcher = fetcher
        self._tracker = Tracker(on_progress)
        self._is_stopped = is_stopped or (lambda: False)
        self._state = State()
        self._kept: list[WantedFile] = []
        self._reused: list[WantedFile] = []

    # -- the order of things

    def plan_for_nothing(self) -> PullReport:
        """What a pull into a folder that does not exist would do."""
        snapshot, wanted = self._read()
        return self._report(snapshot, fetched=wanted, is_dry_run=True)

    def plan(self, tree: MirrorFolder) -> PullReport:
        """What a pull into this folder would do; changes nothing."""
        self._state = memory.load(tree.state)
        snapshot, wanted = self._read()
        missing = self._sort(tree, wanted)
        donors = self._donors(tree, missing)
        self._reused = [file for file in missing if file.sha256 in donors]
        fetched = [file for file in missing if file.sha256 not in donors]
        return self._report(snapshot, fetched=fetched, is_dry_run=True, wanted=wanted)

    def run(self, tree: MirrorFolder, prune_after: timedelta | None) -> PullReport:
        """Do it."""
        self._state = memory.load(tree.state)
        self._saved = self._state.copy()
        snapshot, wanted = self._read()
        self._refuse_nothing(wanted, is_pruned=prune_after is not None)
        try:
            missing = self._reuse(tree, self._sort(tree, wanted))
            self._transfer(tree).run(missing)
        except BaseException:
            # What came is not hashed or fetched again; the documents stay the known ones.
            with contextlib.suppress(MirrorProblem):
                self._save(tree)
            raise
        self._publish(tree, (*snapshot.documents, *snapshot.unusable))
        # What a document that can't be read lists isn't known to be unwanted.
        removed = (
            [] if snapshot.unusable else self._prune(tree, _current(wanted, snapshot), prune_after)
        )
        report = self._report(snapshot, fetched=missing, wanted=wanted, removed=removed)
        self._state.root = self._source.url.root
        self._state.documents = {d.path: _known(d) for d in snapshot.documents}
        self._save(tree)
        return report

    def _refuse_nothing(self, wanted: list[WantedFile], *, is_pruned: bool) -> None:
        """Refuse filters that match nothing, and to empty a mirror that holds something.

        The import has the same guard: a stream that turned empty removes nothing.
        """
        if wanted or not (self._filters or (is_pruned and self._state.files)):
            return
        raise MirrorProblem(
            "No files match, so nothing was changed.",
            code="mirror-nothing-wanted",
            where=self._source.url.root,
            expected="at least one file" + (" that the filters match" if self._filters else ""),
            got="none",
            next_step="Check the filters and the stream. --dry-run shows what would be downloaded.",
        )

    def _read(self) -> tuple[Snapshot, list[WantedFile]]:
        known = self._state.documents
        if self._state.root != self._source.url.root:
            # Another mirror of the stream: its dates count, its validators mean nothing.
            known = {path: _without_validators(document) for path, document in known.items()}
        snapshot = read_stream(self._source, self._fetcher, known, wants_all=True)
        wanted = wanted_files(
            snapshot.parsed,
            self._filters,
            self._max_versions,
            document_paths=_current((), snapshot),
            keeps_loaders=self._keeps_loaders,
        )
        self._tracker.files_total = len(wanted)
        return snapshot, wanted

    # -- files that are here

    def _sort(self, tree: MirrorFolder, wanted: Iterable[WantedFile]) -> list[WantedFile]:
        """Note the files that are here and right; give back the others."""
        missing = []
        for file in wanted:
            if self._is_stopped():
                raise Stopped(file.path)
            if self._is_right(tree, file):
                self._kept.append(file)
                self._tracker.file(file)
            else:
                missing.append(file)
        return missing

    def _is_right(self, tree: MirrorFolder, file: WantedFile) -> bool:
        """Whether a file is in its place; hashed unless its stat is unchanged."""
        found = tree.stat(file.path)
        if found is None or found.size != file.size:
            return False
        known = KnownFile(file, found)
        if self._state.files.get(file.path) != known:
            if tree.sha256(file.path) != file.sha256:
                return False
            self._state.files[file.path] = known
        return True

    def _donors(self, tree: MirrorFolder, missing: Iterable[WantedFile]) -> dict[str, str]:
        """Paths in the tree that hold the bytes of missing files, by digest."""
        digests = {file.sha256 for file in missing}
        return {
            known.wanted.sha256: path
            for path, known in self._state.files.items()
            if known.wanted.sha256 in digests and tree.stat(path) == known.stat
        }

    def _reuse(self, tree: MirrorFolder, missing: list[WantedFile]) -> list[WantedFile]:
        """Give bytes that are here their new names; give back what has to be fetched."""
        donors = self._donors(tree, missing)
        sound = {digest for digest, path in donors.items() if tree.sha256(path) == digest}
        rest = []
        for file in missing:
            if file.sha256 in sound:
                self._record(file, tree.place_again(donors[file.sha256], file.path))
                self._reused.append(file)
                self._tracker.file(file)
            else:
                rest.append(file)
        return rest

    def _transfer(self, tree: MirrorFolder) -> Transfer:
        return Transfer(
            self._source.url.root,
            self._fetcher,
            tree,
            self._tracker,
            record=self._record,
            is_stopped=self._is_stopped,
        )

    def _record(self, file: WantedFile, stat: FileStat) -> None:
        self._state.files[file.path] = KnownFile(file, stat)

    # -- documents

    def _publish(self, tree: MirrorFolder, documents: Sequence[SignedDocument]) -> None:
        """Put the exact signed bytes in their places, the index last."""
        # sorted() is stable, so a detached signature comes right after its document.
        for document in sorted(documents, key=lambda document: not document.content_id):
            file = WantedFile(document.path, len(document.content), document.sha256)
            if not self._is_right(tree, file):
                self._record(file, tree.write(document.path, document.content))

    def _prune(
        self, tree: MirrorFolder, current: Collection[str], after: timedelta | None
    ) -> list[WantedFile]:
        """Remove what hasn't been wanted for long enough, unless someone changed it since.

        Others may still read a file that an index of theirs names, so it counts from the
        pull that found it unwanted. Returns what was removed.
        """
        now = datetime.now(UTC)
        unwanted = [path for path in self._state.files if path not in current]
        since = {path: self._state.unwanted.get(path, now) for path in unwanted}
        due = [path for path in unwanted if after is not None and now - since[path] >= after]
        removed = []
        for path in due:
            known = self._state.files.pop(path)
            del since[path]
            removed.append(known.wanted)
            if tree.stat(path) == known.stat:
                tree.remove(path)
        self._state.unwanted = since
        return removed

    def _save(self, tree: MirrorFolder) -> None:
        if self._state != self._saved:
            with tree.reporting():
                memory.save(tree.state, self._state)

    def _report(
        self,
        snapshot: Snapshot,
        *,
        fetched: Sequence[WantedFile],
        wanted: Sequence[WantedFile] = (),
        is_dry_run: bool = False,
        removed: Sequence[WantedFile] = (),
    ) -> PullReport:
        current = _current(wanted, snapshot)
        return PullReport(
            is_dry_run=is_dry_run,
            is_unchanged=snapshot.is_unchanged and not fetched and not self._reused,
            index_updated_at=snapshot.index_updated_at,
            signed_at=snapshot.signed_at,
            fingerprint=snapshot.fingerprint,
            fetched=tuple(fetched),
            reused=tuple(self._reused),
            kept=tuple(self._kept),
            superseded=tuple(
                known.wanted for path, known in self._state.files.items() if path not in current
            ),
            removed=tuple(removed),
            bytes_received=self._tracker.bytes_received,
            warnings=snapshot.warnings,
        )


def _current(wanted: Iterable[WantedFile], snapshot: Snapshot) -> set[str]:
    """The paths that the mirror has to have."""
    documents = (*snapshot.documents, *snapshot.unusable)
    return {file.path for file in wanted} | {document.path for document in documents}


def _known(document: SignedDocument) -> KnownDocument:
    return KnownDocument(**{f.name: getattr(document, f.name) for f in fields(KnownDocument)})


def _without_validators(document: KnownDocument) -> KnownDocument:
    return replace(document, etag="", last_modified="")
