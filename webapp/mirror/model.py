# SPDX-License-Identifier: Apache-2.0
"""What a pull brings, how far it is, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from webapp.errors import Problem


class MirrorProblem(Problem):
    """The folder of a mirror cannot be used, or not all of the mirror came.

    Codes: mirror-foreign, mirror-busy, mirror-state, mirror-bad-path, mirror-full,
    mirror-folder, mirror-incomplete, mirror-nothing-wanted.
    """

    code = "mirror"


@dataclass(frozen=True)
class WantedFile:
    """A file that the mirror has to contain; ``path`` is below its root."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class PullProgress:
    """How far a pull is; bytes count what had to be fetched when it began."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    path: str


@dataclass(frozen=True)
class PullReport:
    """How a pull went, or with ``is_dry_run`` what it would do.

    fetched: the files that came (or would come) from the source. reused: files
    whose bytes were here under another path. kept: files that were here and right.
    superseded: files of earlier pulls that aren't wanted and still there.
    removed: such files that are gone. bytes_received: what crossed the network for files.
    """

    is_dry_run: bool
    is_unchanged: bool
    index_updated_at: datetime | None
    signed_at: datetime | None
    fingerprint: str
    fetched: tuple[WantedFile, ...]
    reused: tuple[WantedFile, ...]
    kept: tuple[WantedFile, ...]
    superseded: tuple[WantedFile, ...]
    removed: tuple[WantedFile, ...]
    bytes_received: int
    warnings: tuple[Problem, ...]
