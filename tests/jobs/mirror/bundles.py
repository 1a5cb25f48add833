# SPDX-License-Identifier: Apache-2.0
"""Making and loading bundles in tests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from webapp.bundle import manifest, reading
from webapp.extensions import settings
from webapp.services.mirror import bundling, loading
from webapp.services.mirror.bundling import Made
from webapp.services.mirror.loading import Loaded
from webapp.streams.filters import parse_filter
from webapp.trust.keyrings import load_keyring

ROOT = random.Random(5).randbytes(300_000)
Other = Callable[[], AbstractContextManager[None]]


def make(out: Path, *filters: str, held: frozenset[str] = frozenset(), split: int = 64_000) -> Made:
    parsed = [parse_filter(text) for text in filters]
    return bundling.make(
        out, filters=parsed, held=held, split=split, advance=lambda done, total: None
    )


def load(*folders: Path, keyring: bytes | None = None, name: str = "site-a") -> Loaded:
    return loading.load(
        folders,
        name,
        keyring or loading.pinned(name) or reading.key_of(folders),
        actor="ada",
        on_check=lambda done, total: None,
        on_progress=lambda progress: None,
    )


def tree(name: str = "site-a") -> dict[str, str]:
    """Every visible file of a loaded bundle, and its digest."""
    root = settings().data_dir / "loaded" / name
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and ".slipway" not in path.parts
    }


def digests(*contents: bytes) -> set[str]:
    return {hashlib.sha256(content).hexdigest() for content in contents}


def manifest_of(folder: Path) -> manifest.Manifest:
    ring = load_keyring((folder / "gpg.key").read_bytes())
    return reading.opened([folder], ring).manifest
