# SPDX-License-Identifier: Apache-2.0
"""Selecting images: what would change, and saving it."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support import factories
from tests.web.images.boxes import box, boxes, hidden, offer, rows_of, save, selected
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.models import (
    BootResource,
    BootSource,
    BootSourceSelection,
    ImportRun,
    utcnow,
)
from webapp.services.imports import runs

# -- what would change


def test_a_review_counts_what_comes_and_what_goes(source: BootSource, operator: Visitor) -> None:
    factories.selection(source)
    factories.boot_resource({"squashfs": b"x" * 2000}, source_id=source.id)
    part = operator.post(
        "/images/pending", {"image": box(source, "ubuntu/jammy/amd64")}, HX_Request="true"
    )
    assert part.text.strip().startswith('<div id="pending"')
    shown = text_of(part)
    assert "1 to add, 1 to remove" in shown
    assert "frees 2.0 kB" in shown
    assert "Ubuntu 24.04 LTS amd64: stored, moves to the bin with the next import" in shown
    assert selected() == {("noble", ("amd64",))}


def test_a_review_warns_when_no_long_term_release_is_left(
    source: BootSource, operator: Visitor
) -> None:
    factories.selection(source)
    sent = {"image": box(source, "centos/centos70/amd64")}
    words = "No Ubuntu LTS release would remain selected"
    assert words in text_of(operator.post("/images/pending", sent, HX_Request="true"))
    sent = {"image": box(source, "ubuntu/jammy/amd64")}
    assert words not in text_of(operator.post("/images/pending", sent, HX_Request="true"))


def test_a_review_warns_when_there_is_no_room(
    app: Flask, source: BootSource, operator: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.extensions["slipway.store"], "free_bytes", lambda: 1)
    sent = {"image": box(source, "ubuntu/jammy/amd64")}
    shown = text_of(operator.post("/images/pending", sent, HX_Request="true"))
    assert "Not enough disk space" in shown


def test_without_javascript_the_review_is_the_whole_page(
    source: BootSource, operator: Visitor
) -> None:
    page = operator.post("/images/pending", {"image": box(source, "ubuntu/jammy/arm64")})
    assert "<html" in page.text
    assert [name for name, is_on in boxes(page.text).items() if is_on] == ["ubuntu/jammy/arm64"]
    assert "1 to add, 0 to remove" in page.text


# -- saving


def test_saving_replaces_the_selection_and_starts_one_import(
    source: BootSource, operator: Visitor
) -> None:
    wanted = [box(source, "ubuntu/noble/amd64"), box(source, "ubuntu/noble/arm64")]
    response = save(operator, *wanted)
    assert (response.status_code, leads_to(response)) == (303, "/images/")
    assert selected() == {("noble", ("amd64", "arm64"))}
    assert [run.trigger for run in rows_of(ImportRun)] == ["manual"]
    assert "Selection updated. The import has started." in text_of(operator.get("/images/"))


def test_sending_the_same_page_twice_makes_one_import(
    source: BootSource, operator: Visitor
) -> None:
    sent = {
        "image": box(source, "ubuntu/noble/amd64"),
        "base": hidden(operator.get("/images/").text, "base"),
    }
    assert operator.post("/images/selection", sent).status_code == 303
    assert operator.post("/images/selection", sent).status_code == 303
    assert len(rows_of(ImportRun)) == 1
    assert selected() == {("noble", ("amd64",))}


def test_saving_nothing_new_starts_nothing(source: BootSource, operator: Visitor) -> None:
    factories.selection(source)
    assert save(operator, box(source, "ubuntu/noble/amd64")).status_code == 303
    assert "No changes to save" in text_of(operator.get("/images/"))
    assert runs.current() is None


def test_a_stored_image_goes_only_after_it_was_seen_to_go(
    source: BootSource, operator: Visitor
) -> None:
    factories.selection(source)
    factories.boot_resource(source_id=source.id)
    asked = save(operator)
    assert asked.status_code == 409
    assert "Not saved yet: 1 stored image would move to the bin" in text_of(asked)
    assert "Confirm and update" in text_of(asked)
    assert selected() == {("noble", ("amd64",))}
    assert runs.current() is None
    seen = hidden(asked.text, "seen")
    assert seen
    assert save(operator, seen=seen).status_code == 303
    assert selected() == set()
    assert rows_of(BootResource)  # the import deletes it, not the page


def test_a_confirmation_of_other_changes_is_not_taken(
    source: BootSource, operator: Visitor
) -> None:
    factories.selection(source, arches=["amd64", "arm64"])
    for arch in ("amd64", "arm64"):
        factories.boot_resource(source_id=source.id, arch=arch)
    seen = hidden(save(operator, box(source, "ubuntu/noble/arm64")).text, "seen")
    assert save(operator, seen=seen).status_code == 409
    assert selected() == {("noble", ("amd64", "arm64"))}


def test_a_page_that_is_out_of_date_undoes_no_one_elses_work(
    source: BootSource, operator: Visitor
) -> None:
    base = hidden(operator.get("/images/").text, "base")
    factories.selection(source, release="jammy")  # somebody else, meanwhile
    answer = operator.post(
        "/images/selection", {"image": box(source, "ubuntu/noble/amd64"), "base": base}
    )
    assert answer.status_code == 409
    assert "someone else changed the selection" in text_of(answer)
    assert boxes(answer.text)["ubuntu/noble/amd64"]
    assert selected() == {("jammy", ("amd64",))}


@pytest.mark.parametrize(
    "value", ["", "1", "9999/ubuntu/noble/amd64", "1/ubuntu/warty/amd64", "1/../x/y", "x" * 5000]
)
def test_forged_boxes_are_ignored(source: BootSource, operator: Visitor, value: str) -> None:
    factories.selection(source)
    assert save(operator, box(source, "ubuntu/noble/amd64"), value).status_code == 303
    assert selected() == {("noble", ("amd64",))}


def test_a_box_of_a_source_that_lost_meanwhile_means_the_winners(
    source: BootSource, operator: Visitor
) -> None:
    better = factories.boot_source(priority=9, checked_at=utcnow())
    offer(better, release="noble", release_version="24.04")
    assert save(operator, box(source, "ubuntu/noble/amd64")).status_code == 303
    (row,) = rows_of(BootSourceSelection)
    assert row.source_id == better.id


def test_deselecting_an_image_deselects_it_at_every_source(
    source: BootSource, operator: Visitor
) -> None:
    other = factories.boot_source(priority=9, checked_at=utcnow())
    offer(other, release="noble", release_version="24.04")
    factories.selection(source)
    factories.selection(other)
    factories.selection(source, release="jammy")
    assert save(operator, box(source, "ubuntu/jammy/amd64")).status_code == 303
    assert selected() == {("jammy", ("amd64",))}


# -- one source only


def test_two_sources_bring_a_warning_and_stay_manageable(
    second: BootSource, administrator: Visitor
) -> None:
    page = administrator.get("/images/")
    assert "More than one boot source is configured" in text_of(page)
    assert "the one with the highest priority is used" in text_of(page)
    assert boxes(page.text)


@pytest.mark.settings(single_source="on")
def test_in_single_source_mode_the_page_manages_nothing(
    app: Flask, source: BootSource, second: BootSource, administrator: Visitor
) -> None:
    page = administrator.get("/images/")
    assert "Read-only: more than one boot source" in text_of(page)
    assert "Ubuntu" not in re.findall(r"<h2>([^<]+)", page.text)
    assert not boxes(page.text)
    assert "Synced" in text_of(page)
    assert "Delete" not in text_of(page)
    assert "Delete" not in text_of(administrator.get("/images/ubuntu/noble/amd64"))
    before = selected()
    for path in ("/images/selection", "/images/ubuntu/noble/amd64/delete"):
        answer = administrator.post(path, {"image": [], "deselect": "yes"})
        assert answer.status_code == 409, path
        assert "Remove all but one, use the REST API" in text_of(answer)
    assert selected() == before
    assert rows_of(BootResource)
