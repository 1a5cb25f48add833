# SPDX-License-Identifier: Apache-2.0
"""What REST 2.0, the health, the status and the metrics say about racks on other machines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from tests.api.clients import Script
from tests.api.conftest import admin, new_key
from tests.api.racks.remote import RemoteRack
from tests.api.v1.typed import Typed
from webapp.extensions import db
from webapp.models import Rack, utcnow
from webapp.services.overview import metrics

__all__ = ["admin", "new_key"]


def set_seen(app: Flask, ago: timedelta) -> None:
    with app.app_context():
        db.session.execute(update(Rack).values(seen_at=utcnow() - ago))
        db.session.commit()


def test_rest_2_0_lists_them_beside_the_regions_own(
    publisher: Flask, rack: RemoteRack, admin: Script
) -> None:
    own, remote = admin.get("rackcontrollers/").json
    assert sorted(remote) == sorted(own)
    assert (remote["hostname"], remote["node_type_name"]) == ("rack-1", "Rack controller")
    path = remote["resource_uri"].removeprefix("/MAAS/api/2.0/")
    assert admin.get(path).json == remote

    def images() -> Any:
        return admin.get(f"{path}?op=list_boot_images").json

    assert images() == {"connected": False, "images": [], "status": "unknown"}
    offered = rack.next()
    assert images() == {"connected": True, "images": [], "status": "syncing"}
    rack.follow()
    region = admin.get(f"rackcontrollers/{own['system_id']}/?op=list_boot_images").json
    assert images() == region
    assert region["status"] == "synced"
    answer = admin.post(f"{path}?op=import_boot_images")
    assert answer.text == "Import of boot images started on rack-1"
    again = rack.next(offered["state"], 20)
    assert again["state"] != offered["state"]
    assert admin.post("rackcontrollers/?op=import_boot_images").status_code == 200
    assert rack.next(again["state"], 20)["state"] != again["state"]


def test_health_and_status_name_racks_that_are_away(
    publisher: Flask, rack: RemoteRack, program: Typed
) -> None:
    def check() -> Any:
        return next(c for c in program.get("health")["checks"] if c["name"] == "rack rack-1")

    assert check()["severity"] == "wait"
    rack.follow()
    assert (check()["severity"], check()["found"]) == ("ok", "up to date")
    assert "rack" not in str(program.get("status")["problems"])
    set_seen(publisher, timedelta(minutes=5))
    assert (check()["severity"], "doesn't answer" in check()["found"]) == ("warn", True)
    set_seen(publisher, timedelta(hours=5))
    assert check()["severity"] == "error"
    assert "rack-away" in [problem["code"] for problem in program.get("status")["problems"]]


def test_metrics_have_a_state_and_figures_for_each_rack(publisher: Flask, rack: RemoteRack) -> None:
    offered = rack.next()
    rack.report(
        held_state=offered["state"], held_serial=offered["serial"], hits=3, misses=1, sent_bytes=9
    )
    with publisher.app_context():
        text = metrics.text().decode()
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["slipway_rack_state", "current", "rack-1"] == 1
    assert found["slipway_rack_state", "away", "rack-1"] == 0
    assert found["slipway_rack_requests", "hit", "rack-1"] == 3
    assert found["slipway_rack_sent_bytes", "rack-1"] == 9
    assert found["slipway_rack_states_behind", "rack-1"] == 0
