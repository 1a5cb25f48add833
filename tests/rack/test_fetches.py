# SPDX-License-Identifier: Apache-2.0
"""The rack notes which versions machines fetch, and clean-up leaves those alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from tests.rack import images
from tests.rack.conftest import BASE
from tests.support.databases import Queries
from webapp.extensions import db, settings
from webapp.models import BootResource, ResourceSet, utcnow
from webapp.services.blobs import retention
from webapp.services.images import fetching, steering
from webapp.services.images.fetching import UPDATE_S, Fetches

OLD, NEW = "20260105", "20260106"


def fetched(rack: Flask) -> dict[str, bool]:
    """Whether each version was noted as fetched."""
    rack.extensions["slipway.rack"].fetches.flush()
    db.session.rollback()
    rows = db.session.execute(select(ResourceSet.version, ResourceSet.fetched_at))
    return {row.version: row.fetched_at is not None for row in rows}


def replaced(rack: Flask) -> None:
    """Publish a second version; the first one's grace time is over."""
    resource = db.session.scalars(select(BootResource)).one()
    images.switch(resource, {"boot-kernel": b"kernel 2"}, version=NEW)
    past = utcnow() - timedelta(seconds=settings().retire_grace + 60)
    db.session.execute(
        update(ResourceSet).where(ResourceSet.version == OLD).values(retired_at=past)
    )
    images.publish()
    rack.extensions["slipway.rack"].published.names(refresh=True)


def test_the_version_of_a_fetched_file_is_noted(rack: Flask, machine: FlaskClient) -> None:
    assert fetched(rack) == {OLD: False}
    machine.head(f"{BASE}/boot-kernel")
    assert fetched(rack) == {OLD: False}
    machine.get(f"{BASE}/boot-kernel")
    assert fetched(rack) == {OLD: True}


@pytest.mark.settings(store="database")
def test_a_version_stays_for_as_long_as_a_machine_fetches_it(
    rack: Flask, machine: FlaskClient
) -> None:
    body = machine.get(f"{BASE}/{OLD}/boot-kernel", buffered=False)
    fetches: Fetches = rack.extensions["slipway.rack"].fetches
    fetches.begin(db.session.scalars(select(ResourceSet.id)).one())  # as a long answer does
    assert fetched(rack)[OLD]
    replaced(rack)
    assert retention.clean_up().sets == 0
    assert machine.get(f"{BASE}/{OLD}/boot-initrd").status_code == 200
    body.close()
    db.session.execute(update(ResourceSet).values(fetched_at=utcnow() - timedelta(days=1)))
    db.session.commit()
    fetches.flush()  # the transfer is still open, so it's noted again
    assert retention.clean_up().sets == 0
    fetches.end(db.session.scalars(select(ResourceSet.id).where(ResourceSet.version == OLD)).one())
    fetches.flush()
    db.session.execute(update(ResourceSet).values(fetched_at=utcnow() - timedelta(days=1)))
    db.session.commit()
    assert retention.clean_up().sets == 1


def test_a_roll_back_is_served_at_the_next_request_and_both_versions_by_their_own_names(
    rack: Flask, machine: FlaskClient
) -> None:
    resource = db.session.scalars(select(BootResource)).one()
    images.switch(resource, {"boot-kernel": b"kernel 2"}, version=NEW)
    db.session.execute(update(ResourceSet).values(retired_at=None))
    images.publish()
    assert machine.get(f"{BASE}/boot-kernel").data == b"kernel 2"
    steering.roll([resource.id], OLD, "ann")
    answer = machine.get(f"{BASE}/boot-kernel")
    assert answer.data == images.FILES["boot-kernel"]
    assert answer.headers["X-Slipway-Version"] == OLD
    assert machine.get(f"{BASE}/{NEW}/boot-kernel").data == b"kernel 2"
    assert machine.get(f"{BASE}/{OLD}/squashfs").data == images.FILES["squashfs"]


def test_what_is_noted_lately_is_not_written_again(
    rack: Flask, machine: FlaskClient, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    set_id = db.session.scalars(select(ResourceSet.id)).one()
    fetches = Fetches(db.engine, is_threaded=False)
    fetches.begin(set_id)
    with count_queries() as queries:
        fetches.flush(UPDATE_S)
    assert len(queries) == 1
    fetches.end(set_id)
    with count_queries() as queries:
        fetches.flush(UPDATE_S)
    assert len(queries) == 0
    with count_queries() as queries:
        fetches.flush()
        fetches.flush()
    assert len(queries) == 1


def test_what_was_noted_long_ago_takes_no_memory(
    rack: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = Fetches(db.engine, is_threaded=False)
    clock = [1_000.0]
    monkeypatch.setattr(fetching.time, "monotonic", lambda: clock[0])
    for set_id in range(1, 200):
        fetches.begin(set_id)
        fetches.end(set_id)
        fetches.flush(UPDATE_S)
        clock[0] += 1.0
    assert len(fetches._written) <= UPDATE_S


def test_a_database_that_is_away_is_told_later(
    rack: Flask, machine: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = db.session.scalars(select(ResourceSet.id)).one()
    fetches = Fetches(db.engine, is_threaded=False)
    fetches.begin(set_id)
    fetches.end(set_id)

    def away() -> None:
        raise OperationalError("UPDATE", None, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(db.engine, "begin", away)
        fetches.flush()
    fetches.flush()
    db.session.rollback()
    assert db.session.scalars(select(ResourceSet.fetched_at)).one() is not None
