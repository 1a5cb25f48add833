# SPDX-License-Identifier: Apache-2.0
"""Where things lie below the store's folder: no other module builds these paths.

    <root>/
      SLIPWAY-STORE            marker: we made this folder; without it we touch nothing
      sha256/<ab>/<digest>     a whole blob; <ab> is the first two digits of the digest
      partial/<digest>.part    an unfinished blob: its length is its offset, and its
                               writer holds a flock on it, which ends with the process
      partial/probe            written and removed by check()
      incoming/<token>.part    an upload whose digest need not be known yet; same lock

Everything else in these folders belongs to others and is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from webapp.storage.base import checked_digest

MARKER_TEXT = (
    "This folder belongs to Slipway. Blobs are named by their sha256; the tree is\n"
    "described in webapp/storage/layout.py. Without this file Slipway touches nothing here.\n"
)

_PARTIAL = re.compile(r"([0-9a-f]{64})\.part")
_FOLDER = re.compile(r"[0-9a-f]{2}")


class Layout:
    """Build and read the paths below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marker = root / "SLIPWAY-STORE"
        self.blobs = root / "sha256"
        self.partials = root / "partial"
        self.probe = self.partials / "probe"
        self.uploads = root / "incoming"

    def blob(self, sha256: str) -> Path:
        """Path of a whole blob."""
        return self.root / self.relative(sha256)

    def relative(self, sha256: str) -> str:
        """Path of a whole blob below the root."""
        return f"sha256/{checked_digest(sha256)[:2]}/{sha256}"

    def partial(self, sha256: str) -> Path:
        """Path of an unfinished blob."""
        return self.partials / f"{checked_digest(sha256)}.part"

    def incoming(self, token: str) -> Path:
        """Path of an upload."""
        return self.uploads / f"{checked_digest(token)}.part"

    def blob_folders(self, names: Iterable[str]) -> list[Path]:
        """Those of the names in ``sha256/`` that are folders of blobs, ascending."""
        return [self.blobs / name for name in sorted(names) if _FOLDER.fullmatch(name)]

    def digest_of_partial(self, name: str) -> str | None:
        """The digest of an unfinished blob by its file name, None for a foreign file."""
        match = _PARTIAL.fullmatch(name)
        return match[1] if match else None

    def is_blob(self, folder: Path, name: str) -> bool:
        """Whether a name in a folder of blobs is a blob's."""
        return name[:2] == folder.name and self.digest_of_partial(f"{name}.part") is not None
