# SPDX-License-Identifier: Apache-2.0
"""Byte rates: how they are written, which one holds, and how a change reaches downloads."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from flask import Flask, current_app

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.fetch import Route
from webapp.models import Setting
from webapp.services.system import bandwidth, fetching, live_settings, rates


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", 0),
        ("0", 0),
        ("0 MB/s", 0),
        ("5000", 5000),
        ("5MB/s", 5_000_000),
        (" 1.5 MB/s ", 1_500_000),
        ("800 kB/s", 800_000),
        ("2 MiB", 2 << 20),
        ("100 Mbit/s", 12_500_000),
    ],
)
def test_a_rate_is_read_with_its_unit(text: str, rate: int) -> None:
    assert rates.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["fast", "5 apples", "-1", "1e9", "5 mb/s", "10", "9" * 13, "2000 GB/s"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. 5 MB/s"):
        rates.parse(text)


def test_the_night_has_its_own_rate() -> None:
    zone = ZoneInfo("Europe/Berlin")
    noon = datetime(2026, 7, 1, 10, tzinfo=UTC)
    night = datetime(2026, 7, 1, 20, tzinfo=UTC)  # 22:00 in Berlin
    hours = "22:00-06:00"
    assert rates.rate_at(noon, "5 MB/s", "0", hours, zone) == 5_000_000
    assert rates.rate_at(night, "5 MB/s", "0", hours, zone) == 0
    assert rates.rate_at(night, "5 MB/s", "", hours, zone) == 5_000_000
    assert rates.rate_at(night, "5 MB/s", "9 MB/s", "", zone) == 5_000_000


def test_a_change_reaches_the_shared_rate_when_it_is_read_again(region: Flask) -> None:
    now = [0.0]
    live = bandwidth.LiveRate(region, lambda: now[0])
    assert live() == 0
    live_settings.change("import_rate", "5 MB/s", "ada")
    assert live() == 0  # settings are read once in a while, not for each piece
    now[0] += bandwidth.REREAD_S
    assert live() == 5_000_000


def test_a_rate_that_cannot_be_read_leaves_the_last_one(region: Flask) -> None:
    now = [0.0]
    live_settings.change("import_rate", "5 MB/s", "ada")
    live = bandwidth.LiveRate(region, lambda: now[0])
    assert live() == 5_000_000
    db.session.merge(Setting(key="import_rate", value="much"))
    db.session.commit()
    now[0] += 1
    assert live() == 5_000_000


def test_all_fetchers_of_a_process_share_one_bucket(region: Flask) -> None:
    one, other = fetching.fetcher(Route()), fetching.fetcher(Route())
    assert one._bucket is other._bucket is current_app.extensions["slipway.bucket"]


def test_a_bad_value_is_refused_by_the_name_of_its_setting(region: Flask) -> None:
    bad = {"import_rate": "fast", "import_time_zone": "Mars", "import_night_hours": "20:00-22:00"}
    with pytest.raises(InvalidFields) as refused:
        live_settings.change_all(bad, "ada")
    assert set(refused.value.fields) == {"import_rate", "import_time_zone"}
    assert live_settings.read("import_night_hours") == "22:00-06:00"
