# SPDX-License-Identifier: Apache-2.0
"""Rules that select images, over a real stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import select

from tests.jobs.conftest import Lab, images
from tests.jobs.imports.streams import JAMMY, NOBLE, drop
from tests.support.databases import Queries
from webapp.extensions import db
from webapp.models import SelectionRule
from webapp.services.imports import preview, rule_preview
from webapp.services.sources import refreshing, rules
from webapp.services.sources.ruling import Kind, Match, Rule
from webapp.services.system import live_settings
from webapp.services.system.live_settings import COMMISSIONING

pytestmark = [pytest.mark.usefixtures("region"), pytest.mark.both_databases]

Count = Callable[[], AbstractContextManager[Queries]]
NEWEST = Rule(Kind.NEWEST_LTS, count=1, kernels=("ga",))
EVERY = Rule(Kind.EVERY, "ubuntu", kernels=("ga",))
WITHOUT_NOBLE = drop("24.04", "24.04-lowlatency")


def found() -> dict[str, str]:
    """The one rule's releases with their states."""
    db.session.expire_all()
    row = db.session.scalars(select(SelectionRule)).one()
    return {match.release: str(match.state) for match in map(Match.from_dict, row.found)}


def test_a_rule_is_evaluated_at_the_refresh_and_imported_with_its_reason(lab: Lab) -> None:
    row = rules.add(NEWEST, "ada")
    assert found() == {}  # nothing was read yet
    assert lab.run().state == "succeeded"
    assert list(images()) == [NOBLE]
    assert found() == {"noble": "selected"}
    assert row.evaluated_at is not None
    run = lab.run()
    assert (run.state, run.summary) == ("succeeded", "No changes.")


def test_a_plan_names_the_rule_that_selects_an_image(lab: Lab) -> None:
    lab.select("jammy")
    lab.run()
    rules.add(NEWEST, "ada")
    [action] = preview.next_report().actions
    assert (action.name, action.why) == (
        "ubuntu/noble",
        'the rule "Newest Ubuntu LTS, ga" asks for it',
    )


def test_what_vanishes_upstream_stays_with_its_rule(lab: Lab) -> None:
    rules.add(NEWEST, "ada")
    lab.run()
    lab.mirror.publish_next(edit=WITHOUT_NOBLE)
    assert lab.run().state == "succeeded"
    assert sorted(images()) == [JAMMY, NOBLE]
    assert found() == {"jammy": "selected", "noble": "gone"}
    assert preview.next_report().retire == ()


def test_what_a_newer_release_displaces_waits_for_a_person_if_it_is_much(lab: Lab) -> None:
    lab.mirror.publish_next(edit=WITHOUT_NOBLE)
    rules.add(NEWEST, "ada")
    lab.run()
    assert list(images()) == [JAMMY]
    lab.mirror.publish_next()
    run = lab.run()
    assert sorted(images()) == [JAMMY, NOBLE]
    assert [(one["name"], one["why"]) for one in run.plan["wait"]] == [
        ("ubuntu/jammy", "a rule no longer selects it")
    ]
    assert found() == {"noble": "selected", "jammy": "dropped"}


def test_a_rule_never_removes_what_a_person_selected(lab: Lab) -> None:
    lab.select("jammy")
    row = rules.add(EVERY, "ada")
    lab.run()
    assert NOBLE in images()
    rules.change(row, NEWEST, "ada")
    lab.run()
    assert JAMMY in images()
    live_settings.change(COMMISSIONING, "jammy", "ada")  # else the rule would have to stay
    rules.remove(row, "ada")
    lab.run()
    assert JAMMY in images()
    assert NOBLE not in images()


def test_a_changed_rule_lets_go_at_the_next_import_without_asking_again(lab: Lab) -> None:
    row = rules.add(EVERY, "ada")
    lab.run()
    assert sorted(images()) == [JAMMY, NOBLE]
    shown = rule_preview.of_rule(NEWEST, row)
    assert [(one.name, one.why) for one in shown.drops] == [("ubuntu/jammy", "no longer selected")]
    assert shown.adds == ()
    assert shown.bytes_to_fetch == 0
    rules.change(row, NEWEST, "ada")
    run = lab.run()
    assert (run.state, list(images())) == ("succeeded", [NOBLE])


def test_a_preview_tells_what_would_be_fetched_and_saves_nothing(lab: Lab) -> None:
    lab.select("jammy")
    lab.run()
    shown = rule_preview.of_rule(EVERY)
    assert [one.release for one in shown.matches] == ["jammy", "noble"]
    assert [one.name for one in shown.adds] == ["ubuntu/noble"]
    assert sum(one.bytes for one in shown.adds) == shown.bytes_to_fetch > 0
    assert rules.all_rules() == []
    kept = rules.add(EVERY, "ada")
    assert preview.next_report().bytes_to_fetch == shown.bytes_to_fetch
    assert [one.name for one in rule_preview.of_rule(None, kept).adds] == []


def test_a_preview_reads_the_catalogue_once(lab: Lab, count_queries: Count) -> None:
    lab.run()
    row = rules.add(NEWEST, "ada")
    for rule, saved in ((EVERY, None), (EVERY, row), (None, row)):
        with count_queries() as queries:
            rule_preview.of_rule(rule, saved)
        assert sum("FROM boot_source_cache" in one for one in queries) == 1, queries


def test_an_import_evaluates_rules_once_whatever_the_number_of_sources(
    lab: Lab, make_lab: Callable[..., Lab], count_queries: Count
) -> None:
    make_lab("other", releases=("focal",))
    rules.add(EVERY, "ada")
    with count_queries() as queries:
        outcomes = refreshing.refresh_all(lambda: False)
    assert len(outcomes) == 2
    assert sum("UPDATE selection_rule" in one for one in queries) == 1
    assert found() == {"jammy": "selected", "noble": "selected", "focal": "selected"}


def test_a_rule_of_a_source_goes_with_it(lab: Lab) -> None:
    rules.add(Rule(Kind.SUPPORTED_LTS, source_id=lab.source_id), "ada")
    db.session.delete(lab.source)
    db.session.commit()
    assert rules.all_rules() == []
