# SPDX-License-Identifier: Apache-2.0
"""Reading a small mirror."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.maker import Mirror, dump, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from webapp.errors import Problem
from webapp.fetch import Fetcher, Limits
from webapp.streamclient import (
    KnownDocument,
    Snapshot,
    StreamSource,
    read_stream,
)
from webapp.streams.urls import normalise
from webapp.trust.keyrings import Keyring, load_keyring

INDEX = "streams/v1/index.sjson"
UBUNTU = "com.ubuntu.maas:stable:v3:download"
LIMITS = Limits(metadata_bytes=4 << 20, retries=1, backoff_s=0.01)
IMPATIENT = replace(LIMITS, read_s=0.3, retries=0)  # for servers that fall silent


def make_small(folder: Path, key: SigningKey) -> Mirror:
    """One kernel and the notice: two documents and an index."""
    return make_mirror(
        folder,
        key,
        releases=["noble"],
        arches=["amd64"],
        kernels=1,
        loaders=False,
        centos=False,
    )


def source_of(server: MirrorServer, *keys: SigningKey, path: str = "") -> StreamSource:
    return StreamSource(normalise(server.source_url + path), keyring_of(*keys))


@functools.cache
def keyring_of(*keys: SigningKey) -> Keyring | None:
    return load_keyring(signed.keyring_of(*keys)) if keys else None


def read(
    source: StreamSource,
    known: Mapping[str, KnownDocument] | None = None,
    *,
    limits: Limits = LIMITS,
    **options: Any,
) -> Snapshot:
    with Fetcher(limits=limits) as fetcher:
        return read_stream(source, fetcher, known or {}, **options)


def known_of(snapshot: Snapshot) -> dict[str, KnownDocument]:
    """What a caller keeps of a good read."""
    return {
        document.path: KnownDocument(
            **{name: getattr(document, name) for name in KnownDocument.__dataclass_fields__}
        )
        for document in snapshot.documents
    }


@contextmanager
def refused(code: str) -> Iterator[list[Problem]]:
    """The block ends in this problem, and nothing in it echoes a body."""
    caught: list[Problem] = []
    with pytest.raises(Problem) as info:
        yield caught
    caught.append(info.value)
    assert info.value.code == code, info.value
    assert info.value.where


def codes(snapshot: Snapshot) -> list[str]:
    return [warning.code for warning in snapshot.warnings]


def republish_index(
    mirror: Mirror, edit: Any, *, suffix: str = ".sjson", key: SigningKey | None = None
) -> None:
    """Sign an edited index in place of the right one."""
    index = mirror.index(suffix)
    edit(index)
    path = mirror.stream / INDEX
    path.write_bytes(signed.clearsign(key or mirror.key, dump(index)))
