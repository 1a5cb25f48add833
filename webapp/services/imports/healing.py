# SPDX-License-Identifier: Apache-2.0
"""Replace damaged bytes that no boot source offers: from the import folder, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from webapp.errors import Problem
from webapp.extensions import settings, store
from webapp.services.blobs import reserving
from webapp.services.imports.hashing import check_of
from webapp.services.imports.plans import Damaged
from webapp.storage.base import CHUNK
from webapp.storage.errors import BlobMismatch


def is_healed(one: Damaged, is_stopped: Callable[[], bool]) -> bool:
    """Take the same bytes from a file below the import folder, if there is one.

    Raises StoreFull, StoreUnusable, Stopped.
    """
    return any(
        size == one.size and _is_taken(one, path, is_stopped)
        for path, size in _files(settings().import_dir)
    )


def problem_of(one: Damaged) -> Problem:
    """What to do about bytes that can't be had again without a person."""
    return Problem(
        "A stored file is damaged, and no boot source offers it.",
        code="blob-damaged",
        where=f"{one.filename} of {' '.join(one.key)}, version {one.version}",
        expected=f"sha256 {one.sha256}",
        got="damaged bytes, which aren't served",
        next_step=f"Upload the file again, or put it in {settings().import_dir} and start an "
        "import; or delete the image.",
    )


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                state = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(state.st_mode):
                yield path, state.st_size


def _is_taken(one: Damaged, path: Path, is_stopped: Callable[[], bool]) -> bool:
    """Copy a file into the store, which checks its digest."""
    check = check_of(is_stopped)
    try:
        with path.open("rb") as file, store().writer(one.sha256, one.size, check) as writer:
            file.seek(writer.offset)
            while piece := file.read(CHUNK):
                check()
                writer.write(piece)
            writer.commit()
    except (OSError, BlobMismatch):
        return False
    reserving.mark_ready(one.sha256)
    return True
