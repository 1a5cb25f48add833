# SPDX-License-Identifier: Apache-2.0
"""Pages with something on them: a whole catalogue of real sizes, read from a signed mirror.

The mirror, its key and its signatures are real, and so is what reads them. Its files have
the sizes of the published ones but nothing in them; so what is "stored" here are rows
only. For screenshots and for tests that look at pages, not for imports.
"""

from __future__ import annotations

import gzip
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import select
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.mirror import catalogue
from tests.mirror.maker import ARCHES, Mirror, make_mirror
from tests.support import disks, factories, signed
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import (
    Blob,
    BootResource,
    BootSource,
    BootSourceCache,
    DayTraffic,
    Event,
    ImportFailure,
    ImportRun,
    ResourceFile,
    ResourceSet,
)
from webapp.services.sources import first_start, refreshing, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.services.uploads import uploads, work
from webapp.services.uploads.fields import Declared

RELEASES = [release.codename for release in catalogue.RELEASES]


def full_mirror(folder: Path, key: signed.SigningKey) -> Mirror:
    """A signed mirror that offers everything, with the sizes of the published files."""
    mirror = make_mirror(
        folder,
        key,
        releases=RELEASES,
        arches=ARCHES,
        kernels=0,
        versions=1,
        generation=30,
        sizes=dict.fromkeys(catalogue.SMALL_SIZES, 256),
        updated=datetime.now(UTC) - timedelta(days=32),
    )
    mirror.publish(edit=lambda documents: _real_sizes(documents, mirror.stream))
    return mirror


def _real_sizes(documents: dict[str, dict[str, Any]], folder: Path) -> None:
    for document in documents.values():
        for product in document["products"].values():
            for version in product["versions"].values():
                for item in version["items"].values():
                    kind = "loader" if item["ftype"] == "archive.tar.xz" else item["ftype"]
                    size = catalogue.REAL_SIZES.get(kind, item["size"])
                    # The same bytes have the same size, whichever product names them.
                    item["size"] = int(size * random.Random(item["sha256"]).uniform(0.9, 1.1))
                    os.truncate(folder / item["path"], item["size"])  # takes no room


def make_app(folder: Path, **settings: str) -> Flask:
    """The pages on a fresh, migrated database."""
    from webapp import database

    environ = {
        "data_dir": str(folder),
        "defaults": "off",
        "secret_key": "a key for pictures and for nothing else",
        "log_level": "error",
        **settings,
    }
    loaded = Settings.load({f"SLIPWAY_{name.upper()}": value for name, value in environ.items()})
    app = create_app(loaded, plane="web")
    with app.app_context():
        database.upgrade(db.engine)
        first_start.ensure_defaults(loaded)
    return app


class _Quiet(WSGIRequestHandler):
    def log_request(self, *args: Any) -> None:
        """Stay off the terminal."""


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an app on this machine and give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def connected(url: str, key: signed.SigningKey, **values: Any) -> BootSource:
    """A boot source that has been read once."""
    draft = SourceDraft(url=url, keyring_data=key.public_armored, **values)
    source = sources.add(draft, "ada")
    outcome = refreshing.refresh(source)
    assert outcome.problem is None, outcome.problem
    return sources.get(source.id)


def select_images(source: BootSource, *wanted: str) -> None:
    """Select by ``os/release/arch`` or ``os/release/arch,arch``."""
    for text in wanted:
        system, release, arches = text.split("/")
        factories.selection(source, os=system, release=release, arches=arches.split(","))


def store_image(source: BootSource, name: str, **values: Any) -> None:
    """Rows as an import leaves them for every kernel of ``os/release/arch``; no bytes."""
    system, release, arch = name.split("/")
    at = datetime.now(UTC) - timedelta(hours=values.pop("hours_ago", 5))
    gone_since = values.pop("gone_since", None)
    blobs = {blob.sha256: blob for blob in db.session.scalars(select(Blob))}
    entries = db.session.scalars(
        select(BootSourceCache).where(
            BootSourceCache.source_id == source.id,
            BootSourceCache.os == system,
            BootSourceCache.release == release,
            BootSourceCache.arch == arch,
        )
    )
    for entry in entries:
        resource = BootResource(
            name=f"{system}/{release}",
            architecture=f"{arch}/{entry.subarch}",
            os=system,
            release=release,
            arch=arch,
            subarch=entry.subarch,
            kflavor=entry.kflavor,
            title=entry.title,
            bootloader_type=entry.bootloader_type,
            subarches=entry.subarches,
            answers_to=entry.answers_to,
            source_id=source.id,
            gone_since=gone_since,
        )
        stored = ResourceSet(
            version=entry.version, label=entry.label, completed_at=at, created_at=at, **values
        )
        resource.sets.append(stored)
        for item in entry.items:
            sha256, size = item["sha256"], item["size"]
            if sha256 not in blobs:
                blobs[sha256] = Blob(sha256=sha256, size=size, state="ready", verified_at=at)
            made = ResourceFile(
                blob=blobs[sha256],
                filename=item["filename"],
                ftype=item["ftype"],
                extra=item["extra"],
            )
            stored.files.append(made)
        db.session.add(resource)
        db.session.flush()
        resource.current_set_id = stored.id
    db.session.commit()


def running_import() -> ImportRun:
    """An import that has fetched a third of two images."""
    now = datetime.now(UTC)
    run = factories.import_run(
        state="running",
        phase="downloading",
        requested_by="ada",
        started_at=now - timedelta(minutes=2),
        finished_at=None,
        lease_owner="a worker that lives elsewhere",
        lease_until=now + timedelta(hours=1),
        bytes_total=1_105_000_000,
        bytes_done=384_000_000,
        bytes_per_s=84_200_000,
    )
    noble = {"architecture": "arm64/ga-24.04", "started_at": now}
    for name, size, done, state in (
        ("boot-kernel", 16_000_000, 16_000_000, "done"),
        ("boot-initrd", 80_000_000, 80_000_000, "verifying"),
        ("squashfs", 488_000_000, 288_000_000, "downloading"),
    ):
        values = {"filename": name, "size": size, "bytes_done": done, "state": state}
        factories.file_transfer(run, **noble, **values, bytes_per_s=52_000_000)
    factories.file_transfer(
        run,
        image="centos/centos70",
        architecture="amd64/generic",
        version="20260803_01",
        filename="root-tgz",
        size=521_000_000,
        bytes_done=0,
        state="waiting",
        retries=1,
    )
    return run


def ended_imports(source: BootSource) -> ImportRun:
    """The history of a day; returns the import that was not stored as a whole."""
    now = datetime.now(UTC)
    for hours, state, size, summary in (
        (26, "failed", 0, "No boot source could be read."),
        (25, "succeeded", 1_412_000_000, "2 images stored."),
        (24, "stopped", 120_000_000, "Stopped by user."),
    ):
        factories.import_run(
            state=state,
            requested_by="ada",
            started_at=now - timedelta(hours=hours, minutes=4),
            finished_at=now - timedelta(hours=hours),
            bytes_done=size,
            bytes_total=size,
            summary=summary,
        )
    run = factories.import_run(
        state="partial",
        trigger="schedule",
        requested_by="schedule",
        started_at=now - timedelta(hours=2),
        finished_at=now - timedelta(hours=1, minutes=50),
        bytes_done=1_312_000_000,
        bytes_total=1_833_000_000,
        summary="1 image stored, 1 failed.",
    )
    factories.saved(
        ImportFailure(
            run_id=run.id,
            source_id=source.id,
            source_url=source.url,
            image="centos/centos70",
            architecture="amd64/generic",
            filename="root-tgz",
            code="hash-mismatch",
            what="The file is not what the signed document says.",
            where=f"{source.url}centos/centos70/amd64/20260803_01/root-tgz",
            expected="sha256 4f0c" + "1d" * 30,
            got="sha256 a77e" + "90" * 30,
            next_step="Nothing of it was stored. Ask who runs the mirror.",
        )
    )
    return run


def unprepared_esxi(actor: str) -> int:
    """An ESXi image with warnings, and an upload that was stopped; returns the latter's id."""
    data = gzip.compress(disks.small_esxi(is_prepared=False), 1, mtime=0)
    for filetype in ("ddgz", "ddtgz"):
        declared = Declared("esxi/6.7", "amd64/generic", len(data), filetype=filetype)
        upload = uploads.create(declared, actor)
        uploads.append(upload, [data])
        work.work("a worker", lambda: False)
    return upload.id


def closed_window() -> str:
    """A window for imports that isn't open for some hours."""
    hour = (factories.utcnow().hour + 5) % 24
    return f"{hour:02}:00-{hour:02}:30"


def events(now: datetime | None = None) -> None:
    """A week of machines that boot, one of which stopped, and of what people did."""
    now = now or datetime.now(UTC)
    chance = random.Random(7)
    folder = "ubuntu/amd64/ga-24.04/noble/stable"
    sizes = {"boot-kernel": 15_000_000, "boot-initrd": 75_000_000, "squashfs": 280_000_000}
    rows = []
    for boot in range(60):
        at, end_s = now - timedelta(hours=2.7 * (60 - boot)), 0.0
        parts: list[dict[str, Any]] = []
        for name, size in sizes.items():
            took_s = size / chance.uniform(60e6, 110e6)
            end_s += took_s if parts else 0.0
            parts.append(
                {"file": name, "bytes": size, "took_s": took_s, "end_s": end_s, "missing": 0}
            )
        if boot == 59:
            parts[-1] |= {"bytes": 91_000_000, "missing": 189_000_000}
        detail: dict[str, Any] = {"status": 200, "requests": 3, "version": "20260105"}
        detail["files"] = list(sizes)
        detail |= {"bytes": sum(part["bytes"] for part in parts), "parts": parts}
        machine = f"192.0.2.{10 + boot % 12}"
        rows.append(
            Event(kind="image.fetched", at=at, actor=machine, subject=folder, detail=detail)
        )
    for kind, subject, told in (
        ("user.signed_in", "192.0.2.200", {}),
        ("selection.added", "ubuntu/noble", {"arches": ["amd64"]}),
        ("run.queued", "1", {"trigger": "manual"}),
        ("image.pinned", "ubuntu/noble amd64/ga-24.04", {"version": "20260105"}),
    ):
        rows.append(Event(kind=kind, at=now, actor="ada", subject=subject, detail=dict(told)))
    db.session.add_all(rows)
    sizes: Counter[date] = Counter()
    for row in rows:
        sizes[row.at.date()] += row.detail.get("bytes", 0)
    db.session.add_all(DayTraffic(day=day, size=size) for day, size in sizes.items())
    db.session.commit()
