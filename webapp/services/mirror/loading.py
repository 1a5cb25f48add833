# SPDX-License-Identifier: Apache-2.0
"""A bundle as a boot source that needs no network (rule: carried-bundles).

Its files are pulled into a folder of the data directory, as from a mirror and by the same
rules: verified, resumed, the index last, never back in time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import select

from webapp.bundle import manifest as manifests
from webapp.bundle import reading
from webapp.bundle.manifest import BundleProblem, Member
from webapp.bundle.reading import Bundle
from webapp.errors import Problem
from webapp.extensions import db, settings, store
from webapp.fetch import Fetcher, Route
from webapp.fetch.folders import LocalFile
from webapp.mirror import PullProgress, pull
from webapp.models import Blob, BlobState, BootSource
from webapp.numbers import counted
from webapp.services.imports import runs
from webapp.services.sources import refreshing, selections, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.services.system import events, fetching
from webapp.storage.base import BlobReader, BlobStore
from webapp.storage.errors import BlobMissing
from webapp.streams.urls import normalise
from webapp.trust.keyrings import load_keyring

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Loaded:
    """A loaded bundle. is_first: its boot source was added now. is_importing: a run was queued."""

    source_id: int
    url: str
    fingerprint: str
    made_at: datetime
    images: int
    files: int
    is_first: bool
    is_importing: bool


@dataclass(frozen=True)
class Held:
    """What this side has. sha256: digests of its files."""

    format: str
    sha256: tuple[str, ...]


def held() -> Held:
    """What the next bundle may leave out."""
    query = select(Blob.sha256).where(Blob.state == BlobState.READY).order_by(Blob.sha256)
    return Held(manifests.HELD_FORMAT, tuple(db.session.scalars(query)))


def pinned(name: str) -> bytes | None:
    """The keyring that bundles of this name are checked with; None before the first one."""
    source = _source(name)
    return source.keyring_data if source is not None else None


def load(
    folders: Sequence[Path],
    name: str,
    keyring: bytes,
    *,
    actor: str,
    on_check: Callable[[int, int], object],
    on_progress: Callable[[PullProgress], None],
) -> Loaded:
    """Check a bundle and make it a boot source, or the newest state of the one it was.

    Every piece is checked before anything changes. Raises Problem; after the check, the
    same call continues.
    """
    ring = load_keyring(keyring)
    folder = _folder(name)
    folder.parent.mkdir(mode=0o755, exist_ok=True)
    bundle = reading.opened(folders, ring)
    _check_base(bundle, folder)
    bundle.check(on_check)
    stored = partial(_from_store, store())  # several threads ask, without an app context
    with Fetcher(Route(), files=bundle.files(stored)) as fetcher:
        report = pull(
            reading.ROOT,
            folder,
            ring,
            max_versions=0,
            prune_after=timedelta(0),
            fetcher=fetcher,
            on_progress=on_progress,
        )
    known = _source(name)
    source = known or _added(name, keyring, actor)
    if known is not None:
        draft = replace(sources.draft_of(known), keyring_data=keyring)
        sources.update_source(known, draft, actor)
    has_selections = bool(selections.of_source(source.id))
    if has_selections:
        runs.queue("manual", actor, [source.id])
    else:
        refreshing.refresh(source)  # so that it can be selected from at once
    events.record("mirror.loaded", actor=actor, subject=name, source=source.id)
    db.session.commit()
    return Loaded(
        source_id=source.id,
        url=source.url,
        fingerprint=report.fingerprint,
        made_at=bundle.manifest.made_at,
        images=bundle.manifest.images,
        files=len(bundle.manifest.members),
        is_first=known is None,
        is_importing=has_selections,
    )


def _folder(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise Problem(
            "This can't be the name of a bundle's boot source.",
            code="bundle-name",
            expected="up to 63 small letters, digits, dots and hyphens",
            got=ascii(name)[1:-1][:80],
            next_step="Correct --name.",
        )
    return settings().data_dir / fetching.LOADED / name


def _url(name: str) -> str:
    return normalise(_folder(name).as_uri()).url


def _source(name: str) -> BootSource | None:
    return db.session.scalar(select(BootSource).where(BootSource.url == _url(name)))


def _added(name: str, keyring: bytes, actor: str) -> BootSource:
    return sources.add(SourceDraft(url=_url(name), name=name, keyring_data=keyring), actor)


def _check_base(bundle: Bundle, folder: Path) -> None:
    """Whether what the bundle leaves out is here. Raises BundleProblem (bundle-incomplete)."""
    stored = set(held().sha256)
    missing = [
        member
        for member in bundle.manifest.members
        if not member.is_here
        and member.sha256 not in stored
        and not _has(folder / member.paths[0], member.size)
    ]
    if missing:
        raise BundleProblem(
            "This bundle builds on another one, which isn't loaded here.",
            code="bundle-incomplete",
            where=missing[0].paths[0],
            expected="every file that it leaves out",
            got=counted(len(missing), "missing file"),
            next_step="Load the earlier bundle first. Or create one for this side: run "
            "`slipway mirror held` here, and give its output to --since there.",
        )


def _has(path: Path, size: int) -> bool:
    try:
        return path.lstat().st_size == size
    except OSError:
        return False


def _from_store(blobs: BlobStore, member: Member) -> LocalFile | None:
    """A file that the bundle leaves out, from the store."""
    try:
        reader = blobs.open(member.sha256)
    except BlobMissing:
        return None
    return LocalFile(_Stored(reader), member.size, f'"{member.sha256}"')


class _Stored:
    """A stored file, read in order."""

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self.seek(0)

    def seek(self, offset: int) -> int:
        """Continue there."""
        self._chunks, self._rest = self._reader.chunks(offset), memoryview(b"")
        return offset

    def readinto(self, view: memoryview) -> int:
        """Fill the view, or less."""
        chunk = self._rest or memoryview(next(self._chunks, b""))
        count = min(len(chunk), len(view))
        view[:count], self._rest = chunk[:count], chunk[count:]
        return count

    def close(self) -> None:
        """Let go of it."""
        self._reader.close()
