# SPDX-License-Identifier: Apache-2.0
"""A region that holds images, and its rack or web plane as a real HTTP server."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.jobs.conftest import Lab
from tests.jobs.mirror.bundles import ROOT, Other
from tests.rack import images
from tests.support.databases import Databases
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.services.mirror import options, publishing
from webapp.trust.keyrings import Keyring, load_keyring

Serve = Callable[[str], AbstractContextManager[str]]


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        pass


@pytest.fixture
def serve(make_app: Callable[[str], Flask]) -> Serve:
    """Serve a plane of this region; gives the URL of its mirror."""

    @contextmanager
    def served(plane: str = "rack") -> Iterator[str]:
        app = make_app(plane)
        server = make_server("127.0.0.1", 0, app.wsgi_app, threaded=True, request_handler=_Quiet)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with app.app_context():
                prefix = options.prefix()
            yield f"http://127.0.0.1:{server.port}/{prefix}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            app.extensions["slipway.rack"].close()
            with app.app_context():
                db.session.remove()
                db.engine.dispose()

    return served


@pytest.fixture
def full_lab(make_lab: Callable[..., Lab]) -> Lab:
    """Every kind of image of a stream, imported and published."""
    lab = make_lab(loaders=True, centos=True, esxi=True, ubuntu_core=True, notification=True)
    lab.select("noble")
    lab.select("jammy")
    lab.select("centos70", os="centos")
    lab.run()
    assert publishing.reconcile()
    return lab


def get(url: str) -> bytes:
    """The body of a 200."""
    with urllib.request.urlopen(url) as answer:
        return bytes(answer.read())


def keyring_of(url: str) -> Keyring:
    """The key that a mirror gives out."""
    return load_keyring(get(f"{url}gpg.key"))


def key_file(url: str, folder: Path) -> Path:
    """The key that a mirror gives out as the binary file that gpgv reads."""
    path = folder / "mirror.gpg"
    path.write_bytes(keyring_of(url).binary)
    return path


@pytest.fixture
def held(region: Flask) -> None:
    """Two images, one of them with a file over several pieces."""
    images.image({"boot-kernel": b"kernel", "boot-initrd": b"initrd", "squashfs": ROOT})
    images.image({"squashfs": b"old root"}, name="ubuntu/jammy", release="jammy")


@pytest.fixture
def other(environ: dict[str, str], engine_databases: Databases, tmp_path: Path) -> Iterator[Other]:
    """The site without a network: everything in its block happens there."""
    values = {**environ, "SLIPWAY_DATA_DIR": str(tmp_path / "other")}
    values["SLIPWAY_DATABASE_URL"] = engine_databases.migrated()
    app = create_app(Settings.load(values), plane="none")

    @contextmanager
    def inside() -> Iterator[None]:
        with app.app_context():
            yield
            db.session.remove()

    yield inside
    with app.app_context():
        db.engine.dispose()
    engine_databases.drop(values["SLIPWAY_DATABASE_URL"])
