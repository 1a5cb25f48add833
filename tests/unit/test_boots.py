# SPDX-License-Identifier: Apache-2.0
"""Boots are read off what a machine fetched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from webapp.models import Event
from webapp.services.system import boots

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
IMAGE = "ubuntu/amd64/ga-24.04/noble/stable"


def fetched(*parts: dict[str, Any], at: datetime = AT, **detail: Any) -> Event:
    found = {"bytes": 0, "files": [], **detail} | ({"parts": list(parts)} if parts else {})
    return Event(id=1, at=at, kind="image.fetched", subject=IMAGE, detail=found)


def part(file: str, end_s: float, took_s: float | None = 1.0, **values: Any) -> dict[str, Any]:
    known = {"file": file, "bytes": 1_000_000, "missing": 0}
    return {**known, "end_s": end_s, "took_s": took_s, **values}


def test_a_boot_has_its_files_in_order_with_sizes_and_speeds() -> None:
    squashfs = part("squashfs", 12.0, 10.0, bytes=500_000_000)
    [boot] = boots.of_events([fetched(squashfs, part("boot-kernel", 0.0, 0.5))])
    assert [one.file for one in boot.fetches] == ["boot-kernel", "squashfs"]
    assert boot.begun_at == AT - timedelta(seconds=0.5)
    assert boot.seconds == 12.5
    assert boot.size == 501_000_000
    assert [one.speed for one in boot.fetches] == [2_000_000, 50_000_000]
    assert boot.stalled == 0


def test_a_pause_begins_another_boot_and_the_latest_comes_first() -> None:
    later = AT + timedelta(hours=1)
    found = boots.of_events([fetched(part("a", 0.0)), fetched(part("b", 0.0), at=later)])
    assert [[one.file for one in boot.fetches] for boot in found] == [["b"], ["a"]]
    near = AT + timedelta(minutes=5)
    found = boots.of_events([fetched(part("a", 0.0)), fetched(part("b", 0.0), at=near)])
    assert len(found) == 1


def test_a_file_without_its_end_is_stalled() -> None:
    event = fetched(part("squashfs", 60.0, 60.0, missing=9))
    [boot] = boots.of_events([event])
    assert boot.stalled == 1
    assert boots.is_stalled(event.detail)
    assert not boots.is_stalled(fetched(part("squashfs", 1.0)).detail)


def test_what_nobody_measured_has_no_speed() -> None:
    old = fetched(bytes=30, files=["boot-kernel", "squashfs"])
    [boot] = boots.of_events([old])
    assert [(one.file, one.size, one.speed) for one in boot.fetches] == [
        ("boot-kernel, squashfs", 30, None)
    ]
    [boot] = boots.of_events([fetched(part("squashfs", 5.0, None))])
    assert boot.fetches[0].speed is None
    [boot] = boots.of_events([fetched(part("boot-kernel", 5.0, 0.001))])
    assert boot.fetches[0].speed is None  # too short to tell


def test_nothing_fetched_is_no_boot() -> None:
    assert boots.of_events([]) == []
