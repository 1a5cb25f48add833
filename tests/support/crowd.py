# SPDX-License-Identifier: Apache-2.0
"""As many rows as one wants, inserted in bulk, for what must not depend on their number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import insert, select, text, update

from webapp.extensions import db
from webapp.models import (
    Base,
    Blob,
    BlobState,
    BootEntry,
    BootResource,
    Event,
    FileTransfer,
    ImportFailure,
    ImportRun,
    Rack,
    ResourceFile,
    ResourceSet,
    ResourceType,
    Upload,
    UploadState,
    utcnow,
)
from webapp.services.system.events import FETCHED

AT_ONCE = 5_000


class Crowd(NamedTuple):
    """How many of each. Each image came from an upload, and each machine has a boot entry."""

    images: int
    events: int
    racks: int
    runs: int
    machines: int = 0


def add(crowd: Crowd) -> None:
    """Insert them into an empty region and commit. Needs an app context."""
    now = utcnow()
    _images(crowd.images, now)
    _events(crowd, now)
    _racks(crowd.racks, now)
    _runs(crowd.runs, now)
    _insert(
        BootEntry,
        (
            {"machine": _mac(n), "os": "custom", "release": _release(0), "arch": "amd64"}
            for n in range(crowd.machines)
        ),
    )
    db.session.commit()
    if db.engine.dialect.name == "postgresql":  # as its autovacuum does it soon
        db.session.execute(text("ANALYZE"))
        db.session.commit()


def _images(count: int, now: datetime) -> None:
    digests = [hashlib.sha256(b"image %d" % n).hexdigest() for n in range(count)]
    ready = {"state": BlobState.READY, "verified_at": now, "checked_at": now}
    _insert(Blob, ({"sha256": one, "size": 1000 + n, **ready} for n, one in enumerate(digests)))
    _insert(
        BootResource,
        (
            {
                "rtype": ResourceType.UPLOADED,
                "name": _release(n),
                "architecture": "amd64/generic",
                "os": "",
                "release": _release(n),
                "arch": "amd64",
                "subarch": "generic",
                "title": f"Image {n:05}",
                "base_image": "ubuntu/noble",
                "subarches": ["generic"],
                "answers_to": ["generic"],
            }
            for n in range(count)
        ),
    )
    resources = _ids(BootResource)
    version = {"version": "20260105", "label": "uploaded", "completed_at": now}
    _insert(ResourceSet, ({"resource_id": one, **version} for one in resources))
    sets, blobs = _ids(ResourceSet), _ids(Blob)
    named = {"filename": "root-tgz", "ftype": "root-tgz"}
    _insert(
        ResourceFile,
        ({"set_id": s, "blob_id": b, **named} for s, b in zip(sets, blobs, strict=True)),
    )
    current = select(ResourceSet.id).where(ResourceSet.resource_id == BootResource.id)
    db.session.execute(update(BootResource).values(current_set_id=current.scalar_subquery()))
    _insert(
        Upload,
        (
            {
                "token": f"token {n}",
                "state": UploadState.DONE,
                "name": _release(n),
                "architecture": "amd64/generic",
                "ftype": "tgz",
                "size": 1000 + n,
                "received": 1000 + n,
                "sha256": digests[n],
                "resource_id": resource,
                "version": "20260105",
                "finished_at": now,
            }
            for n, resource in enumerate(resources)
        ),
    )


def _events(crowd: Crowd, now: datetime) -> None:
    """Mostly fetches by machines, within the last 60 days, the newest last."""
    step = timedelta(days=60) / max(crowd.events, 1)
    for n in range(0, crowd.events, AT_ONCE):
        _insert(
            Event,
            (
                _event(number, now - step * (crowd.events - number), max(crowd.images, 1))
                for number in range(n, min(n + AT_ONCE, crowd.events))
            ),
        )


def _event(number: int, at: datetime, images: int) -> dict[str, Any]:
    if number % 10 == 0:
        return {"at": at, "kind": "source.checked", "actor": "worker", "subject": "mirror"}
    return {
        "at": at,
        "kind": FETCHED,
        "actor": f"192.0.2.{number % 250}",
        "subject": f"custom/amd64/generic/{_release(number % images)}/uploaded",
        "detail": {"bytes": 1000, "requests": 1, "status": 200, "files": ["root-tgz"]},
    }


def _racks(count: int, now: datetime) -> None:
    _insert(
        Rack,
        (
            {
                "name": f"rack-{n:03}",
                "system_id": f"rack{n:03}",
                "credential_hash": f"hash {n}",
                "url": f"http://192.0.2.{n % 250}:5248/",
                "seen_at": now,
                "reported_at": now,
                "held_serial": 1,
                "bytes": 10**9,
                "files": 10,
            }
            for n in range(count)
        ),
    )


def _runs(count: int, now: datetime) -> None:
    _insert(
        ImportRun,
        (
            {
                "state": "succeeded" if n % 10 else "partial",
                "trigger": "schedule",
                "queued_at": now - timedelta(hours=count - n),
                "started_at": now - timedelta(hours=count - n),
                "finished_at": now - timedelta(hours=count - n, minutes=-5),
                "bytes_total": 3000,
                "bytes_done": 3000,
                "summary": "3 images updated",
            }
            for n in range(count)
        ),
    )
    runs = _ids(ImportRun)
    image = {"image": "ubuntu/noble", "architecture": "amd64/ga-24.04"}
    done = {"version": "20260105", "size": 1000, "bytes_done": 1000, "state": "done"}
    _insert(
        FileTransfer,
        (
            {"run_id": run, "filename": name, "path": name, "sha256": "0" * 64, **image, **done}
            for run in runs
            for name in ("boot-kernel", "boot-initrd", "squashfs")
        ),
    )
    failed = {"code": "connection-failed", "what": "The mirror couldn't be reached."}
    _insert(ImportFailure, ({"run_id": run, **image, **failed} for run in runs[::10]))


def _insert(model: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    """Insert some thousand at a time; columns have the values that the model sets by itself."""
    left = iter(rows)
    while some := list(islice(left, AT_ONCE)):
        db.session.execute(insert(model.__table__), some)  # type: ignore[arg-type]


def _ids(model: Any) -> list[int]:
    return list(db.session.scalars(select(model.id).order_by(model.id)))


def _release(number: int) -> str:
    return f"image-{number:05}"


def _mac(number: int) -> str:
    return ":".join(["52", "54", "00", *(f"{number >> shift & 255:02x}" for shift in (16, 8, 0))])
