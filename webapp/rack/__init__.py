# SPDX-License-Identifier: Apache-2.0
"""What machines and mirrors fetch: GET and HEAD of published files, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask

from webapp.extensions import db, settings, store
from webapp.rack.boot import BootFiles
from webapp.rack.files import Files
from webapp.rack.plain import PlainAnswers
from webapp.rack.proofs import Proofs
from webapp.rack.tftp_names import TftpNames
from webapp.services.boot.serving import BootMap
from webapp.services.images.fetching import Fetches
from webapp.services.images.serving import PublishedMap
from webapp.services.mirror import options
from webapp.services.mirror.signatures import CodeSignatures
from webapp.services.mirror.tree import SignedTree
from webapp.services.system import recorder
from webapp.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_PAGES = {"", *options.RESERVED}  # first segments that no prefix of the mirror has


def register(app: Flask) -> None:
    """Make the app answer machines; ``app.extensions["slipway.rack"]`` is the Files."""
    files = _files(app)
    app.wsgi_app = files  # type: ignore[method-assign]
    kept = app.extensions["slipway.store"]
    if isinstance(kept, FilesystemStore) and not files.is_accelerated:
        # Found by our worker, whose event loop answers what is plain.
        app.extensions["slipway.plain"] = PlainAnswers(files, kept.path_of)


def register_mirror(app: Flask) -> None:
    """Make another app answer below the local mirror's prefix as well."""
    files, inner = _files(app), app.wsgi_app

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        # Pages don't wait for the database to say where the mirror is.
        is_page = path[1:].partition("/")[0] in _PAGES
        if not is_page and files.mirror_of(path):
            return files(environ, start_response)
        return inner(environ, start_response)

    app.wsgi_app = choose  # type: ignore[method-assign]


def _files(app: Flask) -> Files:
    with app.app_context():
        known = settings()
        shared = app.extensions["slipway.publication"]
        published = PublishedMap(db.engine, known.retire_grace, shared)
        events = recorder.Recorder(partial(recorder.write, db.engine))
        files = Files(
            published,
            store(),
            events,
            Proofs(store(), db.engine),
            Fetches(db.engine),
            SignedTree(db.engine),
            CodeSignatures(db.engine),
            accel_prefix=known.accel_prefix,
            trusted_proxies=known.trusted_proxies,
            boot=BootFiles(published, BootMap(db.engine), events, known.rack_url),
        )
    app.extensions["slipway.rack"] = files
    return files


def tftp_names(app: Flask) -> TftpNames:
    """What machines get by TFTP from a rack's app that has boot loaders."""
    files: Files = app.extensions["slipway.rack"]
    if files.boot is None:
        raise LookupError("this rack has no boot table")
    return TftpNames(files.published, files.boot, files.proofs, files.fetches, files.recorder)
