# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from typing import Any

import pytest
from flask import Flask

from tests.support import factories
from tests.support.databases import Queries
from webapp.services.sources import catalogue
from webapp.services.sources.changes import pending
from webapp.services.sources.picture import Picture, Row, parse_value, picture, value_of
from webapp.services.sources.selections import Pick

TODAY = date(2026, 11, 23)
NAMES = {1: "maas.io", 2: "lab"}


def row(release: str = "noble", version: str = "24.04 LTS", **values: Any) -> Row:
    defaults: dict[str, Any] = {
        "source_id": 1, "os": "ubuntu", "arch": "amd64", "release": release,
        "version": "20260105", "title": f"Ubuntu {version}", "release_title": version,
        "release_codename": "", "release_version": version.split()[0],
        "support_eol": date(2029, 5, 31), "support_esm_eol": None, "bootloader_type": "",
        "subarch": f"ga-{version.split()[0]}",
        "answers_to": ["generic", f"ga-{version.split()[0]}"],
        "files": {f"{release}-k": 10, f"{release}-r": 90},
    }  # fmt: skip
    return Row(**{**defaults, **values})


def arranged(*rows: Row, selected: set[Pick] | None = None, **values: Any) -> Picture:
    ready, stored = frozenset(values.get("ready", ())), values.get("stored", {})
    more = (values.get("chosen"), values.get("ruled"))
    return picture(rows, NAMES, selected or set(), ready, stored, TODAY, *more)


def test_long_term_releases_come_first_and_newest_first() -> None:
    rows = [row("jammy", "22.04 LTS"), row("plucky", "25.04"), row("noble", "24.04 LTS")]
    rows.append(row("oracular", "24.10"))
    assert [r.release for r in arranged(*rows).ubuntu] == ["noble", "jammy", "plucky", "oracular"]


def test_other_systems_stand_beside_ubuntu() -> None:
    made = arranged(row(), row("centos70", "7", os="centos", title="CentOS 7"))
    assert [r.title for r in made.others] == ["CentOS 7"]
    assert made.others[0].os_title == "CentOS"
    assert made.arches == ("amd64",)


def test_kernels_of_one_image_share_their_bytes_once() -> None:
    hwe = row(subarch="hwe-24.04", files={"hwe-k": 5, "noble-r": 90})
    (release,) = arranged(row(), hwe).ubuntu
    assert release.boxes["amd64"].size == 105


def test_bytes_that_are_stored_are_not_new() -> None:
    (release,) = arranged(row(), ready=("noble-r",)).ubuntu
    assert (release.boxes["amd64"].size, release.boxes["amd64"].new_size) == (100, 10)


def test_the_end_of_support_is_judged_by_today() -> None:
    old, new = arranged(row("focal", "20.04 LTS", support_eol=date(2025, 5, 29)), row()).ubuntu[
        ::-1
    ]
    assert (old.is_past_eol, new.is_past_eol) == (True, False)


def test_the_first_source_wins_unless_another_is_selected() -> None:
    rows = (row(source_id=2), row(source_id=1))
    (release,) = arranged(*rows).ubuntu
    assert (release.boxes["amd64"].source_name, release.boxes["amd64"].others) == (
        "lab", ("maas.io",),
    )  # fmt: skip
    (release,) = arranged(*rows, selected={Pick(1, "ubuntu", "noble", "amd64")}).ubuntu
    assert release.boxes["amd64"].source_name == "maas.io"
    assert release.boxes["amd64"].is_selected


def test_pending_counts_shared_and_stored_bytes_once() -> None:
    shared = {"shared": 50, "jammy-k": 1}
    both = {"shared": 50, "noble-k": 2}
    jammy = Pick(1, "ubuntu", "jammy", "amd64")
    noble = Pick(1, "ubuntu", "noble", "amd64")
    made = arranged(
        row("jammy", "22.04 LTS", files=shared), row("noble", files=both),
        selected={jammy}, ready=("shared", "jammy-k"),
        stored={("ubuntu", "jammy", "amd64"): {"shared": 50, "jammy-k": 1}},
    )  # fmt: skip
    change = pending(made, {noble})
    assert [b.pick for b in change.added] == [noble]
    assert [b.pick for b in change.removed] == [jammy]
    assert (change.new_bytes, change.freed_bytes) == (2, 1)
    assert not pending(made, {jammy})


@pytest.mark.parametrize(
    "value",
    ["", "1/ubuntu/noble", "x/ubuntu/noble/amd64", "1/a/b/c/d", "²/a/b/c", "1" * 99 + "/a/b/c"],
)
def test_values_that_no_page_sent_are_no_pick(value: str) -> None:
    assert parse_value(value) is None


def test_a_pick_survives_the_form() -> None:
    pick = Pick(7, "ubuntu", "noble", "amd64")
    assert parse_value(value_of(pick)) == pick


def test_reading_takes_the_same_queries_for_one_and_for_500_products(
    region: Flask, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    source = factories.boot_source()
    factories.cache_entry(source)
    factories.selection(source)
    with count_queries() as few:
        catalogue.read(TODAY)
    for number in range(60):
        factories.cache_entry(source, release=f"r{number}", product=f"p{number}")
    with count_queries() as many:
        assert len(catalogue.read(TODAY).ubuntu) == 61
    assert len(many) == len(few)
