# SPDX-License-Identifier: Apache-2.0
"""Sign what the region holds and serve it as a stream (rules: mirror-order, no-going-back).

Called by the worker when it starts, every minute and after each change. What is
missing is made; whatever fails leaves the last signed stream in service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import Publication, PublishedStream, utcnow
from webapp.services.boot import document
from webapp.services.boot.reading import read_document
from webapp.services.mirror import keys, offering, options, racks, served
from webapp.services.mirror.keys import Signer
from webapp.services.mirror.offering import Offered
from webapp.services.mirror.racks import Listed
from webapp.services.system import events, statements
from webapp.streams.model import INDEX_PATH
from webapp.streams.racks import BOOT_PATH, RACK_PATH
from webapp.streams.writing import write_index, write_products

log = structlog.get_logger(__name__)

# An unchanged stream is dated again, so that readers can tell it from one that stopped.
RENEWED_AFTER = timedelta(days=1)
KEY_PATH = "gpg.key"
_INDEX_JSON = INDEX_PATH.replace(".sjson", ".json")


def reconcile() -> bool:
    """Publish what isn't published yet; whether the stream changed. Raises nothing of ours."""
    try:
        return _publish()
    except (Problem, OSError, SQLAlchemyError) as error:
        db.session.rollback()
        _note_failure(error)
        return False


def _publish() -> bool:
    wanted = options.read()
    if not wanted.is_on and not served.has_racks():
        return _end()
    keys.rotate_if_asked()
    signer = keys.ensure()
    stream = served.row()
    db.session.commit()
    serial = db.session.scalar(select(Publication.serial)) or 0
    base = hashlib.sha256(repr((signer, wanted)).encode()).hexdigest()
    is_due = _is_due(stream.updated_at)
    if stream.serial == serial and stream.state.startswith(base) and not is_due:
        if stream.problem:
            _note_serial(stream.revision, serial)
        return False
    revision, before, updated_at = stream.revision, stream.state, stream.updated_at
    with db.engine.connect() as connection:
        offered = offering.read(connection, wanted)
        # Before the names, which know at least the versions that it pins.
        boot = {BOOT_PATH: document.write(read_document(connection))}
        for_racks = racks.read(connection)
    db.session.rollback()  # signing takes a while, and holds nothing
    listed = hashlib.sha256(write_products(offered.document(None)))
    beside = boot | for_racks.restricted
    listed.update(racks.written(None, for_racks, beside))
    state = f"{base}:{listed.hexdigest()}"
    if state == before and not is_due:
        _note_serial(revision, offered.serial)
        return False
    dated = offering.next_date(updated_at)
    documents = _signed(offered, for_racks, beside, signer, dated, revision + 1)
    files = offered.files
    return served.replace(
        revision,
        documents,
        {
            "serial": offered.serial,
            "state": state,
            "updated_at": dated,
            "fingerprint": signer.fingerprint,
            "images": offered.images,
            "files": len(files),
            "size": sum(files.values()),
        },
    )


def _end() -> bool:
    """Serve nothing; whether anything was served, e.g. to a rack that was removed."""
    was_served = served.row().serial >= 0
    if was_served:
        served.withdraw()
    db.session.commit()
    return was_served


def _is_due(updated_at: datetime | None) -> bool:
    return updated_at is None or abs(utcnow() - updated_at) >= RENEWED_AFTER


def _signed(
    offered: Offered,
    for_racks: Listed,
    beside: Mapping[str, bytes],
    signer: Signer,
    dated: datetime,
    revision: int,
) -> dict[str, bytes]:
    """Every document by its path. The index names one that no other revision has."""
    path = f"streams/v1/images-{revision}"
    products = write_products(offered.document(dated))
    clear_index = write_index(offered.index(dated, f"{path}.sjson"))
    plain_index = write_index(offered.index(dated, f"{path}.json"))
    of_products, of_clear, of_plain = signer.sign([products, clear_index, plain_index])
    documents = {
        f"{path}.sjson": of_products.clear,
        f"{path}.json": products,
        f"{path}.json.gpg": of_products.detached,
        KEY_PATH: signer.public,
        INDEX_PATH: of_clear.clear,
        _INDEX_JSON: plain_index,
        f"{_INDEX_JSON}.gpg": of_plain.detached,
        **beside,
    }
    [of_racks] = signer.sign([racks.written(dated, for_racks, documents)])
    return {**documents, RACK_PATH: of_racks.clear}


def _note_serial(revision: int, serial: int) -> None:
    """The last stream is right for this publication, too."""
    statements.execute(
        update(PublishedStream)
        .where(PublishedStream.id == 1, PublishedStream.revision == revision)
        .values(serial=serial, problem={})
    )
    db.session.commit()


def _note_failure(error: Exception) -> None:
    """Keep why, with an event when it's another reason than before."""
    problem = served.as_problem(
        error,
        "The local mirror can't be published.",
        "Check the database and free disk space. The last signed stream stays in service.",
    )
    log.error("the local mirror could not be published", **problem.as_dict())
    try:
        stream = served.row()
        if stream.problem != problem.as_dict():
            stream.problem = problem.as_dict()
            events.record("mirror.failed", actor="worker", subject="mirror", **problem.as_dict())
        db.session.commit()
    except SQLAlchemyError:
        db.session.rollback()
