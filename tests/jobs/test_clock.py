# SPDX-License-Identifier: Apache-2.0
"""The clock was a day ahead and is right again: nothing waits until it catches up."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import inspect, select, update

from tests.support import factories
from webapp.extensions import db
from webapp.models import (
    Base,
    BlobState,
    BootResource,
    ImportRun,
    LoginSession,
    ResourceSet,
    RunState,
    Setting,
    Upload,
    UploadState,
    utcnow,
)
from webapp.services.accounts import keys
from webapp.services.blobs import deletion, scrubbing
from webapp.services.imports import runs
from webapp.services.overview import clock, health, upkeep

pytestmark = [pytest.mark.usefixtures("region"), pytest.mark.both_databases]

AHEAD = timedelta(days=1)
_tokens = (f"{number:064x}" for number in count(1))


def upload(**values: object) -> Upload:
    return factories.saved(
        Upload(
            token=next(_tokens),
            name="custom/lab",
            architecture="amd64/generic",
            ftype="root-tgz",
            size=1,
            **values,
        )
    )


def age_of(column: object, row: Base) -> float:
    db.session.expire_all()
    at = db.session.scalar(select(column).where(type(row).id == inspect(row).identity[0]))
    return (utcnow() - at).total_seconds()


def test_a_session_ages_again() -> None:
    then = utcnow() + AHEAD
    session = factories.saved(
        LoginSession(
            token_hash="x",
            user_id=factories.user().id,
            created_at=then,
            seen_at=then,
            confirmed_at=then,
        )
    )
    clock.settle()
    assert db.session.scalar(select(LoginSession.confirmed_at)) is None, "long ago, perhaps"
    assert 0 <= age_of(LoginSession.seen_at, session) < 3600
    assert 0 <= age_of(LoginSession.created_at, session) < 3600


def test_a_claimed_upload_is_free_after_the_usual_time() -> None:
    row = upload(state=UploadState.CHECKING, claimed_by="gone", claimed_at=utcnow() + AHEAD)
    clock.settle()
    assert 0 <= age_of(Upload.claimed_at, row) < 3600


def test_a_retired_version_is_freed_after_the_usual_time() -> None:
    old = factories.resource_set(
        factories.boot_resource(), version="1", retired_at=utcnow() + AHEAD
    )
    clock.settle()
    assert 0 <= age_of(ResourceSet.retired_at, old) < 3600


def test_a_started_deletion_is_finished_after_the_usual_time() -> None:
    then = utcnow() + AHEAD
    row = factories.blob(b"x", state=BlobState.DELETING, verified_at=then)
    served = factories.blob(b"y", state=BlobState.READY, verified_at=then)
    clock.settle()
    assert 0 <= age_of(type(row).verified_at, row) < 3600
    assert age_of(type(row).verified_at, served) < 0  # it names this copy to the rack
    assert deletion.finish_deletions() == 0


def test_a_lease_lasts_no_longer_than_a_lease() -> None:
    run = factories.import_run(
        state=RunState.RUNNING, lease_owner="gone", lease_until=utcnow() + AHEAD
    )
    upkeep.reconcile()
    assert runs.claim("me") is None
    left = -age_of(ImportRun.lease_until, run)
    assert 0 < left <= runs.LEASE_S
    db.session.execute(update(ImportRun).values(lease_until=utcnow() - timedelta(seconds=1)))
    db.session.commit()
    claimed = runs.claim("me")
    assert claimed is not None
    assert claimed.id == run.id


@pytest.mark.settings(import_interval=60)
def test_the_schedule_goes_by_the_time_since_the_clock_was_set() -> None:
    factories.boot_source()
    run = factories.import_run(state=RunState.SUCCEEDED, started_at=utcnow() + AHEAD)
    upkeep.reconcile()
    assert 0 <= age_of(ImportRun.started_at, run) < 3600
    db.session.execute(update(ImportRun).values(started_at=utcnow() - timedelta(hours=2)))
    db.session.commit()
    assert upkeep.queue_if_due() is not None


def test_a_scrub_that_was_asked_for_comes_to_an_end() -> None:
    value = {"at": (utcnow() + AHEAD).isoformat(), "rate": 0}
    db.session.merge(Setting(key=scrubbing.REQUEST, value=value))
    db.session.commit()
    clock.settle()
    scrubbing.work(lambda: False)
    assert not scrubbing.status().is_running
    assert db.session.get(Setting, scrubbing.REQUEST) is None


def test_a_worker_that_was_seen_in_the_future_is_not_known_to_live() -> None:
    db.session.merge(Setting(key=health.WORKER_SEEN, value=(utcnow() + AHEAD).isoformat()))
    db.session.commit()
    found = {check.name: check for check in health.run_checks()}
    assert found["worker"].severity.value == "error"
    health.note_worker()
    assert {c.name: c for c in health.run_checks()}["worker"].severity.value == "ok"


def test_a_signature_is_not_accepted_again_when_the_clock_was_ahead_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = factories.user()
    keys.create_api_key(user, "terraform")
    (key,) = keys.of_user(user.id)
    now = int(utcnow().timestamp())
    assert keys.spend(key, now, "a nonce")
    with monkeypatch.context() as patch:
        patch.setattr(keys, "utcnow", lambda: utcnow() + AHEAD)
        assert keys.spend(key, now + int(AHEAD.total_seconds()), "another")
    clock.settle()
    assert not keys.spend(key, now, "a nonce")
    assert not keys.spend(key, now + int(AHEAD.total_seconds()), "another")


def test_times_of_the_past_stay_as_they_are() -> None:
    then = utcnow() - timedelta(days=3)
    resource = factories.boot_resource()
    db.session.execute(update(BootResource).values(updated_at=then))
    db.session.commit()
    assert clock.settle() == 0
    db.session.refresh(resource)
    assert resource.updated_at == then
