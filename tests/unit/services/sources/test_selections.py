# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support import factories
from webapp.errors import InvalidFields, NotFound, Problem
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection, Event, utcnow
from webapp.services.sources import selections
from webapp.services.sources.selections import Pick
from webapp.services.system import live_settings
from webapp.services.system.live_settings import COMMISSIONING
from webapp.streams.filters import Wanted

pytestmark = pytest.mark.usefixtures("region")
ANY = ("*",)


@pytest.fixture
def source(region: Flask) -> BootSource:
    made = factories.boot_source(checked_at=utcnow())
    for arch in ("amd64", "arm64"):
        factories.cache_entry(made, arch=arch)
    factories.cache_entry(made, release="jammy", product="jammy")
    return made


def wanted(release: str = "noble", arches: tuple[str, ...] = ("amd64",)) -> Wanted:
    return Wanted(os="ubuntu", release=release, arches=arches, subarches=ANY, labels=ANY)


def stored() -> dict[str, list[str]]:
    db.session.expire_all()
    return {row.release: row.arches for row in db.session.scalars(select(BootSourceSelection))}


def test_a_selection_is_saved_with_an_event(source: BootSource) -> None:
    selections.add(source, wanted(), "ada")
    assert stored() == {"noble": ["amd64"]}
    event = db.session.scalars(select(Event).where(Event.kind == "selection.added")).one()
    assert (event.actor, event.subject) == ("ada", "ubuntu/noble")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"os": "ubunto"}, "os"),
        ({"release": "nobel"}, "os"),
        ({"arches": ("amd46",)}, "arches"),
        ({"subarches": ("ga-99.99",)}, "subarches"),
        ({"labels": ("weekly",)}, "labels"),
    ],
)
def test_what_the_source_does_not_offer_is_refused_by_field(
    source: BootSource, change: dict[str, object], field: str
) -> None:
    values = {
        "os": "ubuntu", "release": "noble", "arches": ANY, "subarches": ANY, "labels": ANY,
    } | change  # fmt: skip
    with pytest.raises(InvalidFields) as caught:
        selections.add(source, Wanted(**values), "ada")  # type: ignore[arg-type]
    assert list(caught.value.fields) == [field]
    assert stored() == {}


def test_one_release_is_selected_once(source: BootSource) -> None:
    selections.add(source, wanted(), "ada")
    with pytest.raises(InvalidFields) as caught:
        selections.add(source, wanted(arches=("arm64",)), "ada")
    assert list(caught.value.fields) == ["__all__"]


def test_a_selection_of_another_source_is_not_found(source: BootSource) -> None:
    row = selections.add(source, wanted(), "ada")
    other = factories.boot_source()
    with pytest.raises(NotFound):
        selections.get(other.id, row.id)


def test_boxes_replace_what_the_page_showed_and_nothing_else(source: BootSource) -> None:
    other = factories.boot_source()
    factories.cache_entry(other, release="focal")
    factories.selection(other, release="focal")
    selections.add(source, wanted("jammy"), "ada")
    noble = {Pick(source.id, "ubuntu", "noble", arch) for arch in ("amd64", "arm64")}
    jammy = Pick(source.id, "ubuntu", "jammy", "amd64")
    assert selections.replace_picks(noble | {jammy}, noble, "ada")
    assert stored() == {"focal": ["amd64"], "noble": ["amd64", "arm64"]}
    assert not selections.replace_picks(noble | {jammy}, noble, "ada")


@pytest.mark.both_databases
@pytest.mark.parametrize("is_selected", [True, False])
def test_an_impatient_hand_that_saves_twice_has_saved_once(
    source: BootSource, region: Flask, is_selected: bool
) -> None:
    boxes = {Pick(source.id, "ubuntu", "noble", arch) for arch in ("amd64", "arm64")}
    if not is_selected:
        selections.replace_picks(boxes, boxes, "ada")
    together = Barrier(6)

    def save(_: int) -> bool:
        with region.app_context():
            together.wait()
            is_changed = selections.replace_picks(boxes, boxes if is_selected else (), "ada")
            db.session.remove()
            return is_changed

    with ThreadPoolExecutor(6) as hands:
        for _ in range(3):
            list(hands.map(save, range(6)))
    assert stored() == ({"noble": ["amd64", "arm64"]} if is_selected else {})


def test_every_architecture_stays_every_architecture_while_all_are_selected(
    source: BootSource,
) -> None:
    selections.add(source, wanted(arches=ANY), "ada")
    both = {Pick(source.id, "ubuntu", "noble", arch) for arch in ("amd64", "arm64")}
    assert selections.current()[0] == both
    selections.replace_picks(both, both, "ada")
    assert stored() == {"noble": ["*"]}
    one = Pick(source.id, "ubuntu", "noble", "arm64")
    selections.replace_picks(both, {one}, "ada")
    assert stored() == {"noble": ["arm64"]}


def test_boxes_that_the_page_never_showed_cannot_be_selected(source: BootSource) -> None:
    shown = {Pick(source.id, "ubuntu", "noble", "amd64")}
    forged = Pick(source.id, "ubuntu", "noble", "sparc")
    assert not selections.replace_picks(shown, {forged}, "ada")
    assert stored() == {}


@pytest.mark.parametrize(
    "pattern", [("ubuntu", "*"), ("*", "*"), ("", "noble"), ("ubuntu", "noble")]
)
def test_a_pattern_that_covers_the_commissioning_release_counts_as_its_selection(
    source: BootSource, pattern: tuple[str, str]
) -> None:
    os, release = pattern
    live_settings.change(COMMISSIONING, "noble", "ada")
    other = factories.boot_source(checked_at=utcnow())
    wide = factories.selection(other, os=os, release=release)
    own = selections.add(source, wanted(), "ada")
    selections.remove(own, "ada")
    with pytest.raises(Problem, match="Machines are commissioned with ubuntu/noble"):
        selections.remove(wide, "ada")
    assert [row.id for row in selections.of_source(other.id)] == [wide.id]
