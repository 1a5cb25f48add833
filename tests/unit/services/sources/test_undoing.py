# SPDX-License-Identifier: Apache-2.0
"""Bindings, and undoing the last change of where images come from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.support import factories
from webapp.errors import Conflict, InvalidFields, NotFound, Problem
from webapp.extensions import db
from webapp.models import BootSource, Event, SourceChange
from webapp.services.imports import moves, offers
from webapp.services.sources import binding, catalogue, rules, selections, sources, steps
from webapp.services.sources.ruling import Kind, Rule
from webapp.services.sources.steps import Binding
from webapp.services.system import live_settings
from webapp.services.system.live_settings import COMMISSIONING

pytestmark = pytest.mark.usefixtures("region")

NOBLE = ("ubuntu", "noble", "amd64")


@pytest.fixture
def pair() -> tuple[BootSource, BootSource]:
    """Two sources that offer noble; it's selected at the one with the higher priority."""
    now = factories.utcnow()
    high = factories.boot_source(
        url="http://high/",
        name="high",
        priority=5,
        checked_at=now,
        refreshed_at=now,
        is_unsigned=True,
        keyring_filename="",
    )
    low = factories.boot_source(
        url="http://low/",
        name="low",
        priority=1,
        checked_at=now,
        refreshed_at=now,
        is_unsigned=True,
        keyring_filename="",
    )
    factories.cache_entry(high, version="2")
    factories.cache_entry(low, version="1")
    factories.selection(high)
    return high, low


def winner() -> str:
    (contest,) = offers.read().contests
    return next((one.source_name for one in contest.contenders if one.is_winner), "")


def test_binding_selects_the_image_at_its_source_and_undo_takes_both_back(
    pair: tuple[BootSource, BootSource],
) -> None:
    _, low = pair
    assert winner() == "high"
    (shown,) = moves.of_steps(binding.to_bind(NOBLE, low)).moves
    assert (shown.source_before, shown.source, shown.version) == ("high", "low", "1")
    assert winner() == "high"  # nothing is saved by showing it
    binding.bind(NOBLE, low, "ada")
    assert winner() == "low"
    (box,) = catalogue.read().boxes
    assert (box.source_name, box.version, box.is_selected) == ("low", "1", True)
    assert [row.arches for row in selections.of_source(low.id)] == [["amd64"]]
    change = steps.last()
    assert change is not None
    assert (change.summary, change.changed_by) == ("ubuntu/noble amd64 bound to low", "ada")
    (back,) = moves.of_steps(steps.undoing(change)).moves
    assert (back.source_before, back.source) == ("low", "high")
    steps.undo(change.id, "ada")
    assert winner() == "high"
    assert not selections.of_source(low.id)
    assert steps.last() is None
    kinds = db.session.scalars(select(Event.kind).order_by(Event.id)).all()
    assert [kind for kind in kinds if kind in ("image.bound", "source.undone")] == [
        "image.bound",
        "source.undone",
    ]


def test_undo_keeps_the_commissioning_release_selected(
    pair: tuple[BootSource, BootSource],
) -> None:
    high, low = pair
    live_settings.change(COMMISSIONING, "noble", "ada")
    binding.bind(NOBLE, low, "ada")
    selections.remove(selections.of_source(high.id)[0], "ada")
    change = steps.last()
    assert change is not None
    with pytest.raises(Problem, match="Machines are commissioned with ubuntu/noble"):
        steps.undo(change.id, "ada")
    assert [row.arches for row in selections.of_source(low.id)] == [["amd64"]]
    assert winner() == "low"
    rules.add(Rule(Kind.EVERY, "ubuntu"), "ada")  # it selects the release too
    steps.undo(change.id, "ada")
    assert not selections.of_source(low.id)


def test_an_image_is_bound_only_to_a_source_that_offers_it(
    pair: tuple[BootSource, BootSource],
) -> None:
    with pytest.raises(InvalidFields) as problem:
        binding.bind(("ubuntu", "focal", "amd64"), pair[1], "ada")
    assert problem.value.fields == {"source_id": ["low doesn't offer ubuntu/focal amd64."]}
    with pytest.raises(NotFound):
        binding.unbind(NOBLE, "ada")


def test_priority_and_switch_are_undone_one_after_the_other(
    pair: tuple[BootSource, BootSource],
) -> None:
    high, low = pair
    factories.selection(low)
    sources.rank(low, 9, "ada")
    sources.switch(high, False, "ada")
    assert winner() == "low"
    for word, name in (("high: disabled", "low"), ("low: priority 1 to 9", "high")):
        change = steps.last()
        assert change is not None
        assert change.summary == word
        steps.undo(change.id, "ada")
        assert winner() == name
    assert (high.is_enabled, low.priority) == (True, 1)


def test_a_change_of_the_form_is_remembered_too(pair: tuple[BootSource, BootSource]) -> None:
    high, _ = pair
    sources.update_source(high, replace(sources.draft_of(high), priority=0), "ada")
    change = steps.last()
    assert change is not None
    assert change.summary == "high: priority 5 to 0"
    sources.update_source(high, replace(sources.draft_of(high), name="hi"), "ada")
    assert steps.last() == change


def test_undo_refuses_what_was_changed_since(pair: tuple[BootSource, BootSource]) -> None:
    high, low = pair
    sources.rank(low, 9, "ada")
    change = steps.last()
    assert change is not None
    number = change.id
    with pytest.raises(Conflict):
        steps.undo(number + 1, "ada")
    low.priority = 3  # by something that doesn't remember it
    db.session.commit()
    with pytest.raises(Conflict) as problem:
        steps.undo(number, "ada")
    assert (problem.value.expected, problem.value.got) == ("9", "3")
    assert (high.priority, low.priority) == (5, 3)


def test_a_removed_source_keeps_its_bindings_by_name_and_takes_its_changes_along(
    pair: tuple[BootSource, BootSource],
) -> None:
    high, low = pair
    sources.rank(low, 2, "ada")
    binding.bind(NOBLE, low, "ada")
    sources.rank(high, 7, "ada")
    sources.remove(low, "ada")
    db.session.expire_all()
    assert steps.bindings() == {NOBLE: Binding(None, "low")}
    assert [row.summary for row in db.session.scalars(select(SourceChange))] == [
        "high: priority 5 to 7"
    ]
    (image,) = offers.read().bound
    assert image.trouble.startswith("bound to low, which was removed")
    assert winner() == ""  # no other source takes over


def test_only_the_last_changes_are_kept(pair: tuple[BootSource, BootSource]) -> None:
    for number in range(steps.MAX_CHANGES + 5):
        sources.rank(pair[0], 100 + number, "ada")
    assert len(db.session.scalars(select(SourceChange)).all()) == steps.MAX_CHANGES
