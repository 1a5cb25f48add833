# SPDX-License-Identifier: Apache-2.0
"""Imports from several sources, and changes while one runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.jobs.conftest import (
    Lab,
    check_region,
    failures,
    images,
)
from tests.jobs.imports.streams import JAMMY, NOBLE
from tests.mirror.faults import Fault
from webapp.extensions import db
from webapp.models import (
    BootResource,
    BootSource,
)
from webapp.services.imports import runs

pytestmark = pytest.mark.usefixtures("region")


# -- more than one source


def test_the_source_with_the_higher_priority_provides_an_image(
    make_lab: Callable[..., Lab],
) -> None:
    low, high = make_lab("low"), make_lab("high", seed="other bytes", generation=3)
    high.source.priority = 5
    db.session.commit()
    low.select("noble")
    high.select("noble")
    low.run()
    assert set(db.session.scalars(select(BootResource.source_id))) == {high.source_id}
    assert not low.fetched()


def test_bytes_that_one_source_lacks_come_from_another(make_lab: Callable[..., Lab]) -> None:
    broken, whole = make_lab("broken"), make_lab("whole")
    broken.select("noble")
    broken.server.set_faults([Fault(path="boot-initrd$", status=404)])
    run = broken.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    assert {path.rpartition("/")[2] for path in whole.fetched()} == {"boot-initrd"}
    check_region()


def test_a_source_that_fails_stops_no_other(make_lab: Callable[..., Lab]) -> None:
    broken, good = make_lab("broken"), make_lab("good")
    broken.select("noble")
    good.select("jammy")
    broken.server.set_faults([Fault(path="index", status=404)])
    run = good.run()
    (failure,) = failures(run)
    assert (failure.source_id, failure.source_url) == (broken.source_id, broken.server.source_url)
    assert (failure.code, failure.image, failure.filename) == ("http-status", "", "")
    assert failure.next_step
    assert run.state == "partial"
    assert {image.split(" ")[0] for image in images()} == {"ubuntu/jammy"}


def test_an_import_is_whole_without_a_source_that_nothing_is_selected_from(
    make_lab: Callable[..., Lab],
) -> None:
    broken, good = make_lab("broken"), make_lab("good")
    good.select("jammy")
    broken.server.set_faults([Fault(path="index", status=404)])
    run = good.run()
    assert [failure.source_id for failure in failures(run)] == [broken.source_id]
    assert run.state == "succeeded"
    assert run.summary.endswith("1 boot source without selections couldn't be read.")
    broken.select("noble")
    assert good.run().state == "partial"


def test_an_image_of_a_failing_source_is_left_alone(make_lab: Callable[..., Lab]) -> None:
    lab, other = make_lab("lab"), make_lab("other", generation=1)
    lab.source.priority = 5
    db.session.commit()
    lab.select("noble")
    other.select("noble")
    lab.run()
    before = images()
    lab.server.set_faults([Fault(path="index", status=404)])
    lab.unselect("jammy")
    lab.run()
    assert images() == before


def test_an_import_without_any_enabled_source_does_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.source.is_enabled = False
    db.session.commit()
    run = lab.run()
    assert (run.state, run.summary) == ("succeeded", "No boot source is enabled.")
    assert images() == before


# -- changes during a run
SLOW = [Fault(path="squashfs$", rate=50_000)]


def test_a_selection_made_during_a_run_is_imported_without_another_click(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults(SLOW)
    with lab.during_download(lambda: lab.select("jammy")):
        run = lab.run()
    assert run.state == "succeeded"
    assert JAMMY not in images()
    follower = runs.current()
    assert follower is not None
    assert (follower.state, follower.trigger) == ("queued", "change")
    lab.run()
    assert JAMMY in images()
    assert runs.current() is None


def test_nothing_is_removed_that_was_selected_again_during_the_run(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    lab.unselect("noble")
    lab.select("jammy")
    lab.server.reset()
    lab.server.set_faults(SLOW)
    with lab.during_download(lambda: lab.select("noble")):
        run = lab.run()
    assert run.summary == "1 image published."
    assert {NOBLE, JAMMY} < set(images())


def test_nothing_of_a_source_is_published_that_was_changed_during_the_run(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults(SLOW)

    def change() -> None:
        db.session.get_one(BootSource, lab.source_id).name = "another"
        db.session.commit()

    with lab.during_download(change):
        run = lab.run()
    assert "another import follows" in run.summary
    assert images() == {}
    lab.run()
    assert NOBLE in images()


def test_a_source_that_is_removed_during_the_run_gives_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults(SLOW)

    def remove() -> None:
        db.session.delete(db.session.get_one(BootSource, lab.source_id))
        db.session.commit()

    with lab.during_download(remove):
        run = lab.run()
    assert run.state == "succeeded"
    assert images() == {}
    check_region()
