# SPDX-License-Identifier: Apache-2.0
"""Images move between sources as the preview said, and back without a download."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.jobs.conftest import Lab, check_region, failures, files, images
from tests.mirror.faults import Fault
from webapp.extensions import db
from webapp.models import BootResource, BootSource
from webapp.services.imports import moves
from webapp.services.sources import binding, sources, steps

pytestmark = pytest.mark.usefixtures("region")

NOBLE = ("ubuntu", "noble", "amd64")


@pytest.fixture
def pair(make_lab: Callable[..., Lab]) -> tuple[Lab, Lab]:
    """Two sources with different versions of noble, imported from the first one."""
    first = make_lab("first", releases=("noble",))
    second = make_lab("second", releases=("noble",), seed="other bytes", generation=3)
    sources.rank(first.source, 5, "ada")
    for lab in (first, second):
        lab.select("noble")
    assert first.run().state == "succeeded"
    return first, second


def providers() -> set[int | None]:
    """Where stored images come from."""
    return set(db.session.scalars(select(BootResource.source_id)))


def undo() -> None:
    change = steps.last()
    assert change is not None
    steps.undo(change.id, "ada")


def test_a_switch_of_priority_does_what_was_shown_and_undo_needs_no_download(
    pair: tuple[Lab, Lab],
) -> None:
    first, second = pair
    before = {name: files(name) for name in images()}
    shown = moves.of_values(second.source, 9, True)
    assert {f"{one.name} {one.architecture}" for one in shown.changed} == set(images())
    sources.rank(second.source, 9, "ada")
    first.server.reset()
    run = second.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    assert {f"{one.name} {one.architecture}": one.version for one in shown.changed} == images()
    assert run.bytes_done == shown.bytes_to_fetch
    assert providers() == {second.source_id}
    undo()
    for lab in pair:
        lab.server.reset()
    assert second.run().state == "succeeded"
    assert {name: files(name) for name in images()} == before
    assert providers() == {first.source_id}
    assert not [*first.fetched(), *second.fetched()]
    check_region()


def test_an_image_switches_whole_or_not_at_all(pair: tuple[Lab, Lab]) -> None:
    before = {name: files(name) for name in images()}
    _, second = pair
    sources.rank(second.source, 9, "ada")
    second.server.set_faults([Fault(path="squashfs$", status=404)])
    assert second.run().state == "partial"
    assert {name: files(name) for name in images()} == before
    second.server.set_faults([])
    assert second.run().state == "succeeded"
    assert providers() == {second.source_id}
    check_region()


def test_a_bound_image_stays_when_its_source_goes(pair: tuple[Lab, Lab]) -> None:
    first, second = pair
    binding.bind(NOBLE, second.source, "ada")
    assert second.run().state == "succeeded"
    bound = images()
    assert providers() == {second.source_id}
    sources.switch(second.source, False, "ada")
    assert first.run().state == "succeeded"
    assert images() == bound
    sources.switch(second.source, True, "ada")
    sources.remove(db.session.get_one(BootSource, second.source_id), "ada")
    run = first.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    assert images() == bound
    assert run.plan is not None
    assert {one["why"] for one in run.plan["keep"]} == {
        "bound to second, which was removed; bind it to another source, or unbind it"
    }
    binding.unbind(NOBLE, "ada")
    assert first.run().state == "succeeded"
    assert providers() == {first.source_id}
    check_region()
