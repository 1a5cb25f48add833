# SPDX-License-Identifier: Apache-2.0
"""What these tests of the store of rows share."""

from __future__ import annotations

from sqlalchemy import update

from tests.contract.faults import driver_error
from tests.contract.stores import MIB, Harness, make_blob
from webapp.storage.tables import blob_store

BLOB = make_blob(3 * MIB + 17)


def owned_by(harness: Harness, owner: str, seconds_ago: int) -> None:
    """Let somebody have claimed all partials some time ago."""
    with harness.engine.begin() as connection:
        connection.execute(
            update(blob_store).values(owner=owner, touched_at=blob_store.c.touched_at - seconds_ago)
        )


def fail(harness: Harness) -> None:
    raise driver_error(harness, is_full=True)
