# SPDX-License-Identifier: Apache-2.0
"""Rules on their pages: preview, save, change, remove."""

from __future__ import annotations

from typing import Any

from tests.support import factories
from tests.web.images.boxes import box, boxes, hidden, rows_of, save
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.models import BootSource, BootSourceSelection, ImportRun, SelectionRule
from webapp.services.sources import rules
from webapp.services.sources.ruling import Kind, Rule

PAGE = "/images/rules/"
NEWEST = {"kind": "newest-lts", "count": "1", "os": "ubuntu", "arches": "amd64"}


def add(visitor: Visitor, **form: Any) -> Any:
    return visitor.post(f"{PAGE}new", {**NEWEST, **form})


def test_a_rule_is_previewed_and_saved(source: BootSource, operator: Visitor) -> None:
    assert "No rules yet" in text_of(operator.get(PAGE))
    response = add(operator, preview="yes")
    assert response.status_code == 200
    shown = text_of(response)
    assert "ubuntu/noble amd64" in shown
    assert "1 to download, 0 to remove" in shown
    assert rows_of(SelectionRule) == []
    response = add(operator)
    assert (response.status_code, leads_to(response)) == (303, PAGE)
    assert "Newest Ubuntu LTS, amd64" in text_of(operator.get(PAGE))
    assert len(rows_of(ImportRun)) == 1
    assert rows_of(BootSourceSelection) == []


def test_the_images_page_shows_what_a_rule_selects(source: BootSource, operator: Visitor) -> None:
    rules.add(Rule(Kind.NEWEST_LTS, count=1, arches=("amd64",)), "ada")
    page = operator.get("/images/")
    assert "by rule" in text_of(page)
    assert boxes(page.text)["ubuntu/noble/amd64"] is False
    assert "No images selected yet" not in text_of(page)
    # Selected by hand and deselected again: the rule still selects it.
    assert save(operator, box(source, "ubuntu/noble/amd64")).status_code == 303
    factories.boot_resource(source_id=source.id)
    sent = {"base": hidden(operator.get("/images/").text, "base")}
    shown = text_of(operator.post("/images/pending", sent, HX_Request="true"))
    assert "stays selected by a rule: Newest Ubuntu LTS, amd64" in shown
    assert save(operator).status_code == 303  # without asking: nothing is deleted


def test_a_rule_that_drops_stored_images_has_to_be_confirmed(
    source: BootSource, operator: Visitor
) -> None:
    row = rules.add(Rule(Kind.EVERY, "ubuntu", arches=("amd64",)), "ada")
    for release, subarch in (("noble", "ga-24.04"), ("jammy", "ga-22.04")):
        factories.boot_resource(release=release, subarch=subarch, source_id=source.id)
    url = f"{PAGE}{row.id}/"
    assert 'value="amd64"' in operator.get(url).text
    response = operator.post(url, NEWEST)
    assert response.status_code == 409
    assert "ubuntu/jammy amd64/ga-22.04: moves to the bin" in text_of(response)
    assert rows_of(SelectionRule)[0].kind == "every"
    sent = {**NEWEST, "seen": hidden(response.text, "seen")}
    assert operator.post(url, sent).status_code == 303
    assert rows_of(SelectionRule)[0].kind == "newest-lts"


def test_a_rule_is_removed_after_showing_what_goes(source: BootSource, operator: Visitor) -> None:
    row = rules.add(Rule(Kind.NEWEST_LTS, count=1, arches=("amd64",)), "ada")
    factories.boot_resource(source_id=source.id)
    url = f"{PAGE}{row.id}/remove"
    assert "ubuntu/noble amd64/ga-24.04: moves to the bin" in text_of(operator.get(url))
    assert operator.post(url, {}).status_code == 303
    assert rows_of(SelectionRule) == []


def test_deleting_an_image_of_a_rule_says_that_it_returns(
    source: BootSource, administrator: Visitor
) -> None:
    rules.add(Rule(Kind.NEWEST_LTS, count=1, arches=("amd64",)), "ada")
    factories.boot_resource(source_id=source.id)
    shown = text_of(administrator.get("/images/ubuntu/noble/amd64/delete"))
    assert "because a rule selects it: Newest Ubuntu LTS, amd64." in shown
    assert "Also deselect it" not in shown


def test_a_rule_that_matches_nothing_says_so(source: BootSource, viewer: Visitor) -> None:
    rules.add(Rule(Kind.PATTERN, pattern="debian/.*"), "ada")
    shown = text_of(viewer.get(PAGE))
    assert "It matches nothing that enabled boot sources offer." in shown
    assert "Add rule" not in shown


def test_a_wrong_field_is_refused_with_its_reason(source: BootSource, operator: Visitor) -> None:
    for wrong, words in (
        ({"kind": "pattern", "pattern": "(a"}, "This expression can't be read"),
        ({"count": "0"}, "Give a number from 1 to 50."),
        ({"count": "many"}, "Give a number from 1 to 50."),
        ({"source_id": "77"}, "There is no boot source 77."),
        ({"source_id": "x"}, "Choose a boot source from the list."),
        ({"kind": "x"}, "Choose what to select from the list."),
    ):
        response = add(operator, **wrong)
        assert response.status_code == 422
        assert words in text_of(response)
    assert rows_of(SelectionRule) == []


def test_a_rule_that_is_saved_while_an_import_runs_names_that_import(
    source: BootSource, operator: Visitor
) -> None:
    run = factories.import_run(state="queued", finished_at=None)
    assert add(operator).status_code == 303
    page = operator.get(PAGE)
    assert "An import is already running:" in text_of(page)
    assert f'<a href="/imports/{run.id}">import {run.id}</a>' in page.text
