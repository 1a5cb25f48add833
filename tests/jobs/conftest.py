# SPDX-License-Identifier: Apache-2.0
"""A region with a boot source that is a real signed mirror over HTTP, and imports from it."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, current_app
from sqlalchemy import select

from tests.mirror.maker import Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BootResource,
    BootSource,
    BootSourceSelection,
    FileTransfer,
    ImportFailure,
    ImportRun,
    ResourceFile,
    ResourceSet,
)
from webapp.services.imports import importing, runs
from webapp.storage.leases import new_owner


class Lab:
    """One source with its mirror, and what the region holds of it."""

    def __init__(self, mirror: Mirror, server: MirrorServer, name: str = "lab") -> None:
        self.mirror, self.server = mirror, server
        self.source = BootSource(
            url=server.source_url, name=name, keyring_data=mirror.keyring.read_bytes()
        )
        db.session.add(self.source)
        db.session.commit()
        self.source_id = self.source.id

    def select(self, release: str, *arches: str, os: str = "ubuntu") -> BootSourceSelection:
        """Tick architectures of a release (amd64 when none is named)."""
        row = BootSourceSelection(
            source_id=self.source_id, os=os, release=release, arches=list(arches) or ["amd64"]
        )
        db.session.add(row)
        db.session.commit()
        return row

    def unselect(self, release: str) -> None:
        """Untick a release."""
        for row in db.session.scalars(select(BootSourceSelection)):
            if row.release == release:
                db.session.delete(row)
        db.session.commit()

    def run(self, is_leaving: Callable[[], bool] = lambda: False) -> ImportRun:
        """Import once, in this thread, as a worker does."""
        return carry_out(runs.queue("manual", "ann"), is_leaving)

    @contextmanager
    def during_download(self, action: Callable[[], object]) -> Iterator[None]:
        """Do something from outside as soon as the first payload file is asked for."""
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        is_over = threading.Event()

        def watch() -> None:
            while not self.fetched_now():
                if is_over.wait(0.01):
                    return
            with app.app_context():
                action()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def fetched(self) -> Counter[str]:
        """How often each payload file was asked for since the mirror's log was reset."""
        prefix = f"/{self.mirror.path}"
        paths = (request.path.removeprefix(prefix) for request in self.server.log)
        return Counter(path for path in paths if _is_payload(path))

    def fetched_now(self) -> list[str]:
        """The payload files that were asked for, without waiting for answers."""
        prefix = f"/{self.mirror.path}"
        paths = (request.path.removeprefix(prefix) for request in self.server.log_now())
        return [path for path in paths if _is_payload(path)]

    def wanted(self, **fields: str) -> dict[str, int]:
        """Digest and size of the newest files of some products that are worth storing."""
        return {
            item.sha256: item.size
            for item in self.mirror.newest(**fields)
            if item.ftype not in ("manifest", "squashfs.manifest")
        }


def carry_out(run: ImportRun, is_leaving: Callable[[], bool] = lambda: False) -> ImportRun:
    """Work on a queued run, in this thread, as a worker does."""
    run_id, owner = run.id, new_owner()
    claimed = runs.claim(owner)
    assert claimed is not None
    assert claimed.id == run_id
    importing.execute(run_id, owner, is_leaving)
    db.session.expire_all()
    return db.session.get_one(ImportRun, run_id)


def _is_payload(path: str) -> bool:
    return not path.startswith("streams/") and not path.endswith(".manifest")


def only(found: dict[str, str]) -> str:
    """The one image that there is."""
    (image,) = found
    return image


def images() -> dict[str, str]:
    """Every image that machines get, with its version."""
    rows = db.session.execute(
        select(BootResource.name, BootResource.architecture, ResourceSet.version).join(
            ResourceSet, ResourceSet.id == BootResource.current_set_id
        )
    )
    return {f"{row.name} {row.architecture}": row.version for row in rows}


def files(image: str) -> dict[str, str]:
    """File name and digest of the current version of an image."""
    name, architecture = image.split(" ")
    rows = db.session.execute(
        select(ResourceFile.filename, Blob.sha256)
        .join(Blob, Blob.id == ResourceFile.blob_id)
        .join(BootResource, BootResource.current_set_id == ResourceFile.set_id)
        .where(BootResource.name == name, BootResource.architecture == architecture)
    )
    return {row.filename: row.sha256 for row in rows}


def failures(run: ImportRun) -> list[ImportFailure]:
    """What went wrong in a run."""
    query = select(ImportFailure).where(ImportFailure.run_id == run.id).order_by(ImportFailure.id)
    return list(db.session.scalars(query))


def transfers(run: ImportRun) -> list[FileTransfer]:
    """The files of a run."""
    query = select(FileTransfer).where(FileTransfer.run_id == run.id).order_by(FileTransfer.id)
    return list(db.session.scalars(query))


def check_region() -> None:
    """What always holds, whatever happened: every published byte is there and right."""
    db.session.expire_all()
    rows = db.session.execute(
        select(Blob.sha256, Blob.size, Blob.state)
        .join(ResourceFile, ResourceFile.blob_id == Blob.id)
        .join(BootResource, BootResource.current_set_id == ResourceFile.set_id)
        .distinct()
    )
    for row in rows:
        assert row.state == "ready"
        digest = hashlib.sha256()
        with store().open(row.sha256) as reader:
            assert reader.size == row.size
            for chunk in reader.chunks():
                digest.update(chunk)
        assert digest.hexdigest() == row.sha256
    assert (
        db.session.scalar(select(ResourceSet.id).where(ResourceSet.completed_at.is_(None))) is None
    )
    if runs.current() is None:
        assert db.session.scalar(select(Blob.id).where(Blob.state == "wanted")) is None


@pytest.fixture
def make_lab(
    tmp_path: Path, signing_key: signed.SigningKey, region: Flask
) -> Iterator[Callable[..., Lab]]:
    """Make a mirror, serve it and add it as a boot source."""
    servers: list[MirrorServer] = []

    def make(name: str = "lab", **recipe: object) -> Lab:
        defaults: dict[str, object] = {
            "releases": ("noble", "jammy"),
            "arches": ("amd64",),
            "loaders": False,
            "centos": False,
            "notification": False,
        }
        mirror = make_mirror(
            tmp_path / name,
            signing_key,
            **{**defaults, **recipe},  # type: ignore[arg-type]
        )
        server = MirrorServer(mirror)
        server.__enter__()
        servers.append(server)
        return Lab(mirror, server, name)

    yield make
    for server in servers:
        server.__exit__()


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """Noble and jammy for amd64, two kernels each."""
    return make_lab()
