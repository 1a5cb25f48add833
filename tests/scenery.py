# SPDX-License-Identifier: Apache-2.0
"""Pages with something on them: a whole catalogue of real sizes, read from a signed mirror.

The mirror, its key and its signatures are real, and so is what reads them. Its files are
small, while its documents tell the sizes of the published ones; so what is "stored" here
are rows only. For screenshots and for tests that measure pages, not for imports.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import select
from werkzeug.serving import WSGIRequestHandler, make_server

from tests import factories, signed
from tests.mirror import catalogue
from tests.mirror.maker import ARCHES, Mirror, make_mirror
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import (
    Blob,
    BootResource,
    BootSource,
    BootSourceCache,
    ResourceFile,
    ResourceSet,
)
from webapp.services import first_start, refreshing, sources
from webapp.services.drafts import SourceDraft

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
    mirror.publish(edit=_real_sizes)
    return mirror


def _real_sizes(documents: dict[str, dict[str, Any]]) -> None:
    for document in documents.values():
        for product in document["products"].values():
            for version in product["versions"].values():
                for item in version["items"].values():
                    kind = "loader" if item["ftype"] == "archive.tar.xz" else item["ftype"]
                    size = catalogue.REAL_SIZES.get(kind, item["size"])
                    # The same bytes have the same size, whichever product names them.
                    item["size"] = int(size * random.Random(item["sha256"]).uniform(0.9, 1.1))


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
        os, release, arches = text.split("/")
        factories.selection(source, os=os, release=release, arches=arches.split(","))


def store_images(source: BootSource, os: str, release: str, arch: str, **values: Any) -> None:
    """Rows as an import leaves them for every kernel of an image; no bytes."""
    at = datetime.now(UTC) - timedelta(hours=values.pop("hours_ago", 5))
    gone_since = values.pop("gone_since", None)
    blobs: dict[str, Blob] = {b.sha256: b for b in db.session.scalars(select(Blob))}
    entries = db.session.scalars(
        select(BootSourceCache).where(
            BootSourceCache.source_id == source.id,
            BootSourceCache.os == os,
            BootSourceCache.release == release,
            BootSourceCache.arch == arch,
        )
    )
    for entry in entries:
        resource = BootResource(
            name=f"{os}/{release}",
            architecture=f"{arch}/{entry.subarch}",
            os=os,
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
            if item["sha256"] not in blobs:
                blobs[item["sha256"]] = Blob(
                    sha256=item["sha256"], size=item["size"], state="ready", verified_at=at
                )
            stored.files.append(
                ResourceFile(
                    blob=blobs[item["sha256"]],
                    filename=item["filename"],
                    ftype=item["ftype"],
                    extra=item["extra"],
                )
            )
        db.session.add(resource)
        db.session.flush()
        resource.current_set_id = stored.id
    db.session.commit()
