# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.unit.services.sources.test_catalogue import arranged, row
from webapp.services.sources.changes import base_of, pending, resolved, spoken_for, suggested
from webapp.services.sources.selections import Pick

NOBLE = Pick(1, "ubuntu", "noble", "amd64")
JAMMY = Pick(1, "ubuntu", "jammy", "amd64")
OTHER = Pick(2, "ubuntu", "noble", "amd64")
BOTH = (row(), row("jammy", "22.04 LTS"))


def test_picks_that_no_source_offers_mean_nothing() -> None:
    assert resolved(arranged(*BOTH), [NOBLE, Pick(1, "ubuntu", "warty", "amd64")]) == {NOBLE}


def test_a_pick_of_a_losing_source_means_the_winners() -> None:
    made = arranged(row(source_id=2), row(source_id=1))
    assert resolved(made, [NOBLE]) == {OTHER}


def test_an_deselected_box_speaks_for_all_its_sources_a_selected_one_for_its_own() -> None:
    made = arranged(row(source_id=2), row(source_id=1))
    assert spoken_for(made, {OTHER}) == {OTHER}
    assert spoken_for(made, set()) == {OTHER, NOBLE}


def test_a_suggestion_is_made_only_while_there_is_nothing() -> None:
    assert suggested(arranged(*BOTH), "noble") == {NOBLE}
    assert suggested(arranged(*BOTH), "warty") == set()
    assert suggested(arranged(*BOTH, selected={JAMMY}), "noble") == set()
    stored = {("ubuntu", "jammy", "amd64"): {"jammy-r": 90}}
    assert suggested(arranged(*BOTH, stored=stored), "noble") == set()


def test_what_is_selected_and_not_offered_stays_a_box() -> None:
    gone = Pick(1, "ubuntu", "warty", "amd64")
    made = arranged(*BOTH, selected={gone})
    assert [box.pick for box in made.missing] == [gone]
    assert [box.pick for box in pending(made, set()).removed] == [gone]
    assert not pending(made, {gone})


def test_bytes_that_another_image_needs_are_not_freed() -> None:
    stored = {
        ("ubuntu", "noble", "amd64"): {"shared": 50, "noble-k": 2},
        ("centos", "centos70", "amd64"): {"shared": 50},
    }
    assert pending(arranged(*BOTH, selected={NOBLE}, stored=stored), set()).freed_bytes == 2


def test_an_old_version_frees_what_it_has_not_what_the_new_one_would_have() -> None:
    stored = {("ubuntu", "noble", "amd64"): {"old-r": 70}}
    assert pending(arranged(*BOTH, selected={NOBLE}, stored=stored), set()).freed_bytes == 70


def test_losing_the_last_long_term_release_is_noticed() -> None:
    made = arranged(*BOTH, selected={NOBLE})
    assert pending(made, set()).loses_last_lts
    assert not pending(made, {JAMMY}).loses_last_lts
    assert not pending(arranged(*BOTH), set()).loses_last_lts


def test_digests_name_one_set_of_changes_and_one_selection() -> None:
    made = arranged(*BOTH, selected={NOBLE})
    assert pending(made, set()).digest != pending(made, {NOBLE, JAMMY}).digest
    assert base_of(made) != base_of(arranged(*BOTH))
    assert base_of(made) == base_of(arranged(*reversed(BOTH), selected={NOBLE}))
