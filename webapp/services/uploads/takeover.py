# SPDX-License-Identifier: Apache-2.0
"""A second request for an upload whose first one went silent, e.g. behind a dead router.

The newer request notes that it wants the upload; the older one, in whatever process,
sees that within a second in which nothing comes, keeps what it has and lets go. One that
still receives bytes continues, and the newer one gets the answer that the upload is busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select, update

from webapp.extensions import db, store
from webapp.models import Upload, utcnow
from webapp.storage.base import BlobReceiver
from webapp.storage.errors import BlobBusy

PATIENCE_S = 5.0
PAUSE_S = 0.2


def receiver(upload: Upload) -> BlobReceiver:
    """The upload's bytes, locked. Raises BlobBusy when another request doesn't let go."""
    token, size = upload.token, upload.size
    try:
        return store().receiver(token, size)
    except BlobBusy:
        upload_id = upload.id
        db.session.rollback()  # the other one has to write
        with db.engine.begin() as connection:
            wish = update(Upload).where(Upload.id == upload_id).values(touched_at=utcnow())
            connection.execute(wish)
    return wait_for(token, size)


def wait_for(token: str, size: int) -> BlobReceiver:
    """The bytes, locked, as soon as whoever has them lets go. Raises BlobBusy after a time."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return store().receiver(token, size)
        except BlobBusy:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_S)


def watch(upload: Upload) -> Callable[[], bool]:
    """Checks whether another request wants the upload, compared with now."""
    upload_id, before = upload.id, upload.touched_at

    def is_wanted() -> bool:
        return _touched_at(upload_id) not in (before, None)

    return is_wanted


def _touched_at(upload_id: int) -> datetime | None:
    with db.engine.connect() as connection:
        return connection.scalar(select(Upload.touched_at).where(Upload.id == upload_id))
