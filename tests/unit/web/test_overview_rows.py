# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

import pytest

from webapp.models import Event, utcnow
from webapp.services.images.keys import Key
from webapp.services.overview import machines
from webapp.services.overview.machines import Fetching
from webapp.services.system.traffic import Day
from webapp.web.overview_rows import image_name
from webapp.web.traffic_rows import HEIGHT, week_view

FOLDER = "ubuntu/amd64/ga-24.04/noble/stable"


def test_an_old_event_without_parts_is_a_fetch_too() -> None:
    detail = {"bytes": 7, "files": ["boot-kernel"]}
    event = Event(at=utcnow(), actor="192.0.2.7", subject=FOLDER, detail=detail)
    found = machines.fetching([event], [], event.at)
    assert [(one.file, one.size) for one in found.machines] == [("boot-kernel", 7)]
    again = Event(at=utcnow(), actor="192.0.2.7", subject=FOLDER, detail=detail)
    twice = machines.fetching([again, event], [], event.at)  # by two processes of a rack
    assert [(one.address, one.size) for one in twice.machines] == [("192.0.2.7", 14)]
    assert machines.fetching([], [], event.at) == Fetching((), None)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        (FOLDER, "ubuntu/noble amd64"),
        (f"{FOLDER}/20260105", "ubuntu/noble amd64"),
        ("custom/amd64/generic/web/uploaded", "web amd64"),
        ("bootloaders", "bootloaders"),
    ],
)
def test_images_are_called_as_people_call_them(folder: str, words: str) -> None:
    assert image_name(folder) == words
    assert str(Key("ubuntu/noble", "amd64/ga-24.04").image) == "ubuntu/noble amd64"


def test_a_day_with_little_can_be_seen_and_one_with_nothing_has_no_bar() -> None:
    today = utcnow().date()
    sizes = [0, 1, 10**12, 0, 0, 0, 5 * 10**11]
    days = [Day(today - timedelta(days=6 - at), size) for at, size in enumerate(sizes)]
    heights = [bar.height for bar in week_view(days, today).days]
    assert heights == [0, 3, HEIGHT, 0, 0, 0, HEIGHT // 2]
    assert week_view([Day(day.day, 0) for day in days], today).summary == "0 bytes in 7 days"
