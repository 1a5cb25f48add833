# SPDX-License-Identifier: Apache-2.0
"""The commissioning release stays selected, and another takes its place in one action.

(rule: commissioning-release)
"""

from __future__ import annotations

import pytest

from tests.support import factories
from tests.web.images.boxes import box, hidden, save, selected
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import BootResource, BootSource, ResourceSet, Setting
from webapp.services.imports import selecting
from webapp.services.overview import health
from webapp.services.sources import commissioned, commissioning, rules, sources
from webapp.services.sources.ruling import Kind, Rule
from webapp.services.system import live_settings
from webapp.services.system.live_settings import COMMISSIONING, DEFAULT_OS, DEFAULT_RELEASE


@pytest.fixture
def jammy(source: BootSource) -> BootSource:
    """Jammy and noble are selected; machines are commissioned with jammy."""
    for release in ("jammy", "noble"):
        factories.selection(source, release=release, arches=["amd64"])
    live_settings.change(COMMISSIONING, "jammy", "ada")
    return source


def test_deselecting_it_asks_for_a_replacement_and_one_button_does_both(
    jammy: BootSource, operator: Visitor
) -> None:
    noble = box(jammy, "ubuntu/noble/amd64")
    refused = save(operator, noble)
    assert refused.status_code == 409
    words = text_of(refused)
    assert "Not saved yet: machines are commissioned with jammy" in words
    assert "Commission with noble instead" in words
    assert 'name="commission" value="noble"' in refused.text
    assert len(selected()) == 2
    done = save(operator, noble, commission="noble", seen=hidden(refused.text, "seen"))
    assert leads_to(done) == "/images/"
    assert selected() == {("noble", ("amd64",))}
    db.session.rollback()
    assert commissioned.release() == "noble"


@pytest.mark.parametrize("chosen", ["", "focal", "jammy", "centos70"])
def test_nothing_else_can_replace_it(jammy: BootSource, operator: Visitor, chosen: str) -> None:
    refused = save(operator, box(jammy, "ubuntu/noble/amd64"), commission=chosen)
    assert refused.status_code == 409
    assert len(selected()) == 2
    assert commissioned.release() == "jammy"


def test_another_architecture_or_source_of_it_may_go(jammy: BootSource, operator: Visitor) -> None:
    names = ("ubuntu/noble/amd64", "ubuntu/jammy/arm64")
    assert save(operator, *(box(jammy, name) for name in names)).status_code == 303
    assert ("jammy", ("arm64",)) in selected()


def test_without_another_lts_the_page_says_to_select_one(
    jammy: BootSource, operator: Visitor
) -> None:
    refused = save(operator, box(jammy, "centos/centos70/amd64"))
    assert refused.status_code == 409
    assert "Select another LTS release to take its place." in text_of(refused)


def test_no_other_way_of_deselecting_gets_round_it(jammy: BootSource) -> None:
    with pytest.raises(Problem, match="Machines are commissioned with ubuntu/jammy"):
        selecting.deselect("ubuntu/jammy", "amd64", "ada")
    db.session.rollback()
    assert len(selected()) == 2


def test_a_release_that_a_rule_selects_counts_as_selected(
    source: BootSource, operator: Visitor, administrator: Visitor
) -> None:
    for release in ("jammy", "noble"):
        factories.selection(source, release=release, arches=["amd64"])
    rule = rules.add(Rule(Kind.PATTERN, pattern="ubuntu/jammy"), "ada")
    live_settings.change(COMMISSIONING, "jammy", "ada")
    assert save(operator, box(source, "ubuntu/noble/amd64")).status_code == 303
    assert selected() == {("noble", ("amd64",))}
    assert commissioning.trouble() == ("", "")
    assert '<option value="jammy" selected>Ubuntu' in administrator.get("/images/").text
    for sent in ({}, {"kind": "pattern", "pattern": "ubuntu/noble"}):
        refused = operator.post(f"/images/rules/{rule.id}/{'' if sent else 'remove'}", sent)
        assert refused.status_code == 422
        assert "Machines are commissioned with ubuntu/jammy" in text_of(refused)
    db.session.rollback()
    assert [rules.rule_of(row).pattern for row in rules.all_rules()] == ["ubuntu/jammy"]


def test_a_notice_shows_what_is_wrong_and_goes_when_it_is_cured(
    source: BootSource, administrator: Visitor
) -> None:
    def notices() -> list[str]:
        found = [one for one in health.run_checks() if one.name == "commissioning"]
        page = text_of(administrator.get("/images/"))
        assert all((one.found in page) == (str(one.severity) == "warn") for one in found)
        return [one.found for one in found]

    assert notices() == []
    live_settings.change(COMMISSIONING, "focal", "ada")
    assert notices() == ["No boot source offers ubuntu/focal, the commissioning release."]
    live_settings.change(COMMISSIONING, "noble", "ada")
    assert notices() == ["ubuntu/noble, the commissioning release, isn't selected."]
    factories.selection(source)
    assert notices() == ["with ubuntu/noble"]
    sources.switch(source, False, "ada")
    assert notices() == ["No boot source offers ubuntu/noble, the commissioning release."]


def test_administrators_choose_it_on_the_page(
    jammy: BootSource, administrator: Visitor, operator: Visitor
) -> None:
    page = administrator.get("/images/").text
    assert '<option value="jammy" selected>' in page
    assert '<option value="noble">' in page
    assert leads_to(administrator.post("/images/commissioning", {"release": "noble"})) == "/images/"
    db.session.rollback()
    assert commissioned.release() == "noble"
    assert administrator.post("/images/commissioning", {"release": "focal"}).status_code == 422
    assert operator.post("/images/commissioning", {"release": "jammy"}).status_code == 403
    assert 'id="release"' not in operator.get("/images/").text


def stored_lts(release: str, eol: str, **values: object) -> BootResource:
    fields = {"release_title": "24.04 LTS", "support_eol": eol}
    return factories.boot_resource(release=release, stream_fields=fields, **values)


def test_the_first_complete_lts_becomes_the_default(region: object) -> None:
    commissioning.choose_defaults()
    assert commissioned.release() == ""
    factories.boot_resource(release="questing", stream_fields={"release_title": "25.10"})
    stored_lts("bare", "2040-01-01", files={"root.tgz": b"x"})
    stored_lts("jammy", "2027-06-01")
    stored_lts("noble", "2029-05-31")
    commissioning.choose_defaults()
    assert (commissioned.release(), live_settings.read(DEFAULT_RELEASE)) == ("noble", "noble")
    stored_lts("resolute", "2031-05-31")
    commissioning.choose_defaults()
    assert commissioned.release() == "noble"


def test_values_that_were_ever_set_are_kept(region: object) -> None:
    live_settings.change_all({COMMISSIONING: "", DEFAULT_OS: "centos"}, "ada")
    stored_lts("noble", "2029-05-31")
    commissioning.choose_defaults()
    assert commissioned.release() == ""
    assert db.session.get(Setting, DEFAULT_RELEASE) is None
    assert db.session.scalar(db.select(ResourceSet.id)) is not None
