# SPDX-License-Identifier: Apache-2.0
"""``/metrics``: who may read it, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from tests.support import factories
from tests.support.databases import Queries
from webapp.extensions import db
from webapp.models import BlobState, ResourceType, utcnow
from webapp.services.overview import health, metrics

Labels = dict[str, str]


def figures() -> dict[str, list[tuple[Labels, float]]]:
    """Every figure by name, read as Prometheus reads it."""
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation
        found[family.name] = [(one.labels, one.value) for one in family.samples]
    return found


def by(name: str, label: str) -> dict[str, float]:
    return {labels[label]: value for labels, value in figures()[f"slipway_{name}"]}


def test_it_is_off_by_default(app: Flask, region: Flask) -> None:
    answer = app.test_client().get("/metrics")
    assert (answer.status_code, answer.content_type) == (404, "text/plain; charset=utf-8")


@pytest.mark.settings(metrics_token="s3cret")
def test_the_token_opens_it_and_nothing_else_does(app: Flask, region: Flask) -> None:
    client = app.test_client()
    for header in ("", "Bearer", "Bearer wrong", "Basic s3cret", "Bearer s3cret2", "bearer \u00fc"):
        answer = client.get("/metrics", headers={"Authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert b"slipway_" not in answer.data
    answer = client.get("/metrics", headers={"Authorization": "Bearer s3cret"})
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE slipway_images gauge" in answer.data
    assert "Set-Cookie" not in answer.headers


@pytest.mark.settings(metrics_networks="10.0.0.0/8,fd00::/8")
@pytest.mark.parametrize(
    ("address", "status"),
    [("10.1.2.3", 200), ("fd00::1", 200), ("::ffff:10.0.0.9", 200), ("11.0.0.1", 401), ("", 401)],
)
def test_networks_are_let_in(app: Flask, region: Flask, address: str, status: int) -> None:
    forged = {"X-Forwarded-For": "10.0.0.1"}
    answer = app.test_client().get(
        "/metrics", environ_base={"REMOTE_ADDR": address}, headers=forged
    )
    assert answer.status_code == status


@pytest.mark.both_databases
def test_it_says_what_doctor_says(region: Flask) -> None:
    now, ago = utcnow(), utcnow() - timedelta(hours=1)
    soon = {"code": "key-expires-soon", "what": "", "where": "", "expected": "", "next_step": "",
            "got": str((now + timedelta(days=3)).date())}  # fmt: skip
    good = factories.boot_source(checked_at=now, refreshed_at=ago, warnings=[soon])
    odd = 'a"b\\c\n'
    bad = factories.boot_source(
        name=odd, checked_at=now, error_code="http-timeout", error_what="Server timed out.",
        left_out=[{"product": "p", "version": "", "reason": "r"}] * 3,
        notices=[{"maas_version": "9", "message": "new"}],
    )  # fmt: skip
    factories.boot_resource(source_id=good.id)
    factories.blob(b"broken", state=BlobState.BAD)
    run = factories.import_run(finished_at=ago)
    factories.import_run(finished_at=now, state="failed")
    factories.file_transfer(run, retries=2)
    factories.file_transfer(run, retries=1)
    health.note_worker()
    states = {
        (labels["source"], labels["state"])
        for labels, value in figures()["slipway_source_state"]
        if value
    }
    assert states == {(str(good.id), "key-expires-soon"), (str(bad.id), "unreadable")}
    assert 3600 <= by("source_last_good_check_age_seconds", "source")[str(good.id)] < 3700
    assert 2 * 86400 <= by("source_key_expiry_seconds", "source")[str(good.id)] <= 3 * 86400
    assert by("source_skipped_products", "source") == {str(good.id): 0, str(bad.id): 3}
    assert by("source_notices", "source") == {str(good.id): 0, str(bad.id): 1}
    assert by("import_runs", "outcome") == {"succeeded": 1, "partial": 0, "failed": 1, "stopped": 0}
    assert 3600 <= figures()["slipway_import_last_good_age_seconds"][0][1] < 3700
    assert figures()["slipway_import_retries"] == [({}, 3.0)]
    assert by("images", "type") == {ResourceType.SYNCED: 1, ResourceType.UPLOADED: 0}
    assert (by("blobs", "state")["ready"], by("blobs", "state")["bad"]) == (3, 1)
    assert by("blob_bytes", "state")["bad"] == len(b"broken")
    assert figures()["slipway_worker_seen_age_seconds"][0][1] < 60


def test_an_empty_region_has_no_ages(region: Flask) -> None:
    found = figures()
    assert found["slipway_import_last_good_age_seconds"] == []
    assert found["slipway_source_state"] == []


def test_the_number_of_queries_doesnt_grow(
    region: Flask, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    counts = []
    for _ in range(2):
        for _ in range(3):
            source = factories.boot_source(checked_at=utcnow())
            factories.boot_resource(source_id=source.id, release=f"r{source.id}")
            factories.file_transfer(factories.import_run())
        db.session.commit()
        with count_queries() as queries:
            metrics.text()
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 10, counts
