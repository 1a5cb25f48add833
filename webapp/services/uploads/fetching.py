# SPDX-License-Identifier: Apache-2.0
"""Files that the server gets by itself: by address with a checksum, or from its import folder."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from webapp.errors import InvalidFields, Problem
from webapp.extensions import db, settings, store
from webapp.fetch import Fetcher, Route, shown
from webapp.models import Upload, UploadState, utcnow
from webapp.services.blobs import reserving
from webapp.services.system import fetching, live_settings, secrets, statements
from webapp.services.system.wake import wake
from webapp.services.uploads import fields, uploads

URL, PATH = "url", "path"
ORIGINS = (URL, PATH)  # of uploads that the server fetches itself
_PIECE = 1 << 20
ASK_S = 1.0  # how often to look whether an upload was discarded


def begin(values: dict[str, Any], actor: str, *, url: str = "", path: str = "") -> Upload:
    """Begin an upload whose bytes the worker gets. Raises InvalidFields, Problem.

    values: the fields of upload_fields.Declared but size. Exactly one of url and path.
    """
    if bool(url) == bool(path):
        raise InvalidFields({"__all__": ["Enter either a URL or a path."]})
    field, place = ("url", url) if url else ("path", path)
    if len(place) > uploads.MAX_PLACE:
        raise InvalidFields(
            {field: [f"Use at most {uploads.MAX_PLACE} characters; this has {len(place)}."]}
        )
    size = _size_of_url(url, values.get("sha256", "")) if url else _size_of_path(path)
    is_secret = "?" in url
    declared = fields.Declared(
        size=size,
        origin=URL if url else PATH,
        place=shown(url) if is_secret else place,
        address=url if is_secret else "",
        **values,
    )
    upload = uploads.create(declared, actor)
    upload.state = UploadState.FETCHING
    db.session.commit()
    wake()
    return upload


def fetch(upload: Upload, owner: str, is_leaving: Callable[[], bool]) -> None:
    """Get the bytes, from where they stopped. Raises Problem; Stopped when the worker leaves, or
    when the upload was discarded."""
    if upload.origin == URL:
        _from_url(upload, owner, is_leaving)
    else:
        _from_path(upload, is_leaving)


def _from_url(upload: Upload, owner: str, is_leaving: Callable[[], bool]) -> None:
    upload_id, digest, size = upload.id, upload.sha256, upload.size
    url = secrets.unseal(upload.address) or upload.place
    reserving.reserve_one(digest, size)
    saved = 0

    def on_bytes(received: int) -> None:
        nonlocal saved
        if abs(received - saved) >= 16 * _PIECE or received == size:
            saved = received
            _note(upload_id, owner, received)

    db.session.commit()
    is_discarded = _watch(upload_id)
    try:
        with _fetcher() as fetcher:
            fetcher.download(
                url,
                lambda check: store().writer(digest, size, check),
                size=size,
                on_bytes=on_bytes,
                is_stopped=lambda: is_leaving() or is_discarded(),
            )
    except Problem as problem:
        if problem.code != "hash-mismatch":
            raise
        raise Problem(
            "The file at this URL doesn't match the SHA-256.",
            code="upload-wrong-hash",
            where=shown(url),
            expected=problem.expected,
            got=problem.got,
            next_step="Compare the checksum with the publisher's, and start again.",
        ) from problem
    reserving.mark_ready(digest)
    _note(upload_id, owner, size, state=UploadState.CHECKING)


def _watch(upload_id: int) -> Callable[[], bool]:
    """Whether an upload was discarded since; looks every ASK_S seconds."""
    asked, is_gone = time.monotonic(), False

    def ask() -> bool:
        nonlocal asked, is_gone
        if not is_gone and time.monotonic() - asked >= ASK_S:
            asked = time.monotonic()
            with db.engine.connect() as connection:
                found = connection.scalar(select(Upload.id).where(Upload.id == upload_id))
            is_gone = found is None
        return is_gone

    return ask


def _from_path(upload: Upload, is_leaving: Callable[[], bool]) -> None:
    with _checked_path(upload.place).open("rb") as file:
        file.seek(upload.received)
        pieces = _pieces(file, is_leaving)
        uploads.append(upload, pieces, is_all_or_nothing=False, state=UploadState.FETCHING)


def _pieces(file: Any, is_leaving: Callable[[], bool]) -> Iterator[bytes]:
    while not is_leaving() and (piece := file.read(_PIECE)):
        yield piece


def _size_of_url(url: str, sha256: str) -> int:
    if not sha256:
        raise InvalidFields({"sha256": ["A URL needs the SHA-256 of its file."]})
    if not url.startswith(("http://", "https://")) or "@" in url.partition("?")[0]:
        raise InvalidFields({"url": ["Enter an http:// or https:// URL without a password."]})
    with _fetcher() as fetcher:
        head = fetcher.head(url)
    if head.status != 200 or head.size is None:
        raise Problem(
            "The server doesn't report the size of the file.",
            code="upload-address",
            where=shown(url),
            expected="200 with a Content-Length",
            got=str(head.status),
            next_step="Check the URL, or download the file and upload it.",
        )
    return head.size


def _size_of_path(text: str) -> int:
    return _checked_path(text).stat().st_size


def _checked_path(text: str) -> Path:
    """A regular file below the import folder. Raises InvalidFields."""
    folder = settings().import_dir.resolve()
    try:
        path = (folder / text).resolve(strict=True)
        state = os.lstat(path)
    except (OSError, ValueError, RuntimeError):
        path, state = folder, os.lstat("/")
    if not path.is_relative_to(folder) or not stat.S_ISREG(state.st_mode):
        raise InvalidFields(
            {"path": [f"File not found in {folder} (SLIPWAY_IMPORT_DIR). Put it there."]}
        )
    return path


def _fetcher() -> Fetcher:
    return fetching.fetcher(Route(proxy_url=live_settings.proxy_for_sources()))


def _note(upload_id: int, owner: str, received: int, **values: Any) -> None:
    statements.execute(
        update(Upload)
        .where(Upload.id == upload_id)
        .values(
            received=received, claimed_by=owner, claimed_at=utcnow(), touched_at=utcnow(), **values
        )
    )
    db.session.commit()
