# SPDX-License-Identifier: Apache-2.0
"""Pulling a small mirror."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.mirror.maker import Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from webapp.fetch import Fetcher, Limits
from webapp.mirror import PullReport, pull
from webapp.trust.keyrings import Keyring, load_keyring

INDEX = "streams/v1/index.sjson"
LIMITS = Limits(retries=1, backoff_s=0.01)
IMPATIENT = replace(LIMITS, read_s=0.3, speed_window_s=0.3)  # for servers that fall silent


def make_small(folder: Path, key: SigningKey, **options: Any) -> Mirror:
    """One kernel on amd64 with two builds, and the notice."""
    recipe: dict[str, Any] = {"arches": ["amd64"], "kernels": 1, "releases": ["noble"]}
    return make_mirror(folder, key, **{**recipe, "loaders": False, "centos": False, **options})


@functools.cache
def keyring_of(key: SigningKey) -> Keyring:
    return load_keyring(key.public)


def pulled(server: MirrorServer, folder: Path, key: SigningKey, **options: Any) -> PullReport:
    with Fetcher(limits=options.pop("limits", LIMITS)) as fetcher:
        return pull(server.source_url, folder, keyring_of(key), fetcher=fetcher, **options)


def tree_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but our own ones."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".slipway" not in path.parts
    }


def files_of(mirror: Mirror, items: Any = None) -> dict[str, bytes]:
    """What upstream has of these items, the newest ones when left out."""
    chosen = mirror.newest() if items is None else items
    return {item.path: (mirror.stream / item.path).read_bytes() for item in chosen}


def documents_of(mirror: Mirror) -> dict[str, bytes]:
    names = ["index", *mirror.documents]
    return {
        f"streams/v1/{name}.sjson": (mirror.stream / f"streams/v1/{name}.sjson").read_bytes()
        for name in names
    }


def squashfs_of(mirror: Mirror) -> str:
    return next(item.path for item in mirror.newest() if item.ftype == "squashfs")
