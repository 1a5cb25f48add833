# SPDX-License-Identifier: Apache-2.0
"""The table of events has a bound in days and in rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select

from webapp.extensions import db
from webapp.models import DayTraffic, Event, utcnow
from webapp.services.overview import upkeep

pytestmark = [pytest.mark.usefixtures("region"), pytest.mark.both_databases]


def add(kind: str, count: int, age: timedelta = timedelta(0)) -> None:
    at = utcnow() - age
    rows = [{"kind": kind, "at": at, "actor": "a", "subject": "s", "detail": {}}] * count
    db.session.execute(insert(Event), rows)
    db.session.commit()


def kinds() -> dict[str, int]:
    query = select(Event.kind, func.count()).group_by(Event.kind)
    return {kind: count for kind, count in db.session.execute(query)}


@pytest.mark.settings(event_rows=1000)
def test_machines_cannot_push_out_what_people_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "EVENT_BATCH", 400)
    add("user.signed_in", 300)
    add("image.fetched", 2500)
    upkeep.reconcile()
    assert kinds() == {"user.signed_in": 300, "image.fetched": 700}


@pytest.mark.settings(event_rows=1000)
def test_the_oldest_go_first() -> None:
    add("source.added", 700)
    add("source.removed", 900)
    upkeep.reconcile()
    assert kinds() == {"source.added": 100, "source.removed": 900}


@pytest.mark.settings(event_days=30)
def test_old_events_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "EVENT_BATCH", 100)
    add("source.added", 250, timedelta(days=31))
    add("source.added", 5)
    upkeep.reconcile()
    assert kinds() == {"source.added": 5}


@pytest.mark.settings(event_days=30)
def test_the_traffic_of_a_day_goes_with_its_events() -> None:
    today = utcnow().date()
    for days in (0, 29, 32):
        db.session.add(DayTraffic(day=today - timedelta(days=days), size=1))
    db.session.commit()
    upkeep.reconcile()
    kept = db.session.scalars(select(DayTraffic.day).order_by(DayTraffic.day)).all()
    assert kept == [today - timedelta(days=29), today]
