# SPDX-License-Identifier: Apache-2.0
"""What an import removes, and what it leaves alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from tests.jobs.conftest import (
    Lab,
    check_region,
    failures,
    files,
    images,
    transfers,
)
from tests.jobs.imports.streams import NOBLE, drop
from tests.mirror.faults import Fault
from tests.mirror.maker import Documents
from tests.support import factories
from webapp.extensions import db, store
from webapp.models import (
    BootResource,
    BootSource,
    Event,
)
from webapp.services.blobs import retention

pytestmark = pytest.mark.usefixtures("region")


def test_an_deselected_image_goes_after_the_new_ones_came_and_its_bytes_after_the_grace(
    lab: Lab,
) -> None:
    lab.select("noble")
    lab.run()
    old = set(files(NOBLE).values())
    lab.unselect("noble")
    lab.select("jammy")
    run = lab.run()
    assert (run.state, run.summary) == ("succeeded", "1 image published. 1 image removed.")
    assert {image.split(" ")[0] for image in images()} == {"ubuntu/jammy"}
    assert all(store().stat(digest) for digest in old)
    order = db.session.scalars(
        select(Event.kind).where(Event.kind.in_(("image.published", "image.removed")))
    ).all()
    assert order[-2:] == ["image.removed", "image.removed"]
    assert retention.clean_up().blobs == 0


def test_selecting_again_within_the_grace_fetches_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    before = files(NOBLE)
    lab.unselect("noble")
    lab.run()
    assert NOBLE not in images()
    lab.select("noble")
    lab.server.reset()
    run = lab.run()
    assert (run.state, run.sets_published) == ("succeeded", 2)
    assert files(NOBLE) == before
    assert lab.fetched() == Counter()
    assert {t.state for t in transfers(run)} == {"done"}
    check_region()


def test_what_vanished_upstream_stays_while_it_is_selected(lab: Lab) -> None:
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    before = files(NOBLE)
    lab.mirror.publish_next(edit=drop("24.04", "24.04-lowlatency"))
    run = lab.run()
    assert run.state == "succeeded"
    assert files(NOBLE) == before
    gone = db.session.scalars(select(BootResource.name).where(BootResource.gone_since.is_not(None)))
    assert set(gone) == {"ubuntu/noble"}
    assert db.session.scalar(select(func.count()).where(Event.kind == "image.gone")) == 2
    lab.mirror.publish_next()
    lab.run()
    assert (
        db.session.scalar(select(BootResource.id).where(BootResource.gone_since.is_not(None)))
        is None
    )


def test_an_extra_kernel_that_upstream_dropped_goes(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    lab.mirror.publish_next(edit=drop("ga-24.04-lowlatency"))
    run = lab.run()
    assert run.summary == "1 image published. 1 kernel removed."
    assert set(images()) == {NOBLE}


def test_a_dropped_kernel_stays_until_the_others_of_its_release_are_there(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.mirror.publish_next(edit=drop("ga-24.04-lowlatency"))
    lab.server.set_faults([Fault(path="squashfs$", status=404)])
    run = lab.run()
    assert run.state == "partial"
    assert images() == before


@pytest.mark.parametrize("is_selected", [True, False])
def test_a_stream_that_turned_empty_removes_nothing(lab: Lab, is_selected: bool) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    if not is_selected:
        lab.unselect("noble")
    lab.mirror.publish_next(edit=drop(""))
    run = lab.run()
    assert (run.state, [f.code for f in failures(run)]) == ("failed", ["stream-empty"])
    assert images() == before
    check_region()


def test_a_stream_whose_products_all_fail_the_gate_removes_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()

    def edit(documents: Documents) -> None:
        for document in documents.values():
            products = document["products"]
            for name in list(products):
                products[name.replace(":v3:", ":v9:")] = products.pop(name)

    lab.mirror.publish_next(edit=edit)
    run = lab.run()
    assert [f.code for f in failures(run)] == ["stream-empty"]
    assert images() == before


def test_deselecting_every_image_deletes_them_at_the_next_import(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    assert images()
    lab.unselect("noble")
    run = lab.run()
    assert failures(run) == []
    assert not images()


def test_when_all_that_was_to_come_fails_the_deselected_images_stay(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.unselect("noble")
    lab.select("jammy")
    lab.server.set_faults([Fault(path="jammy/.*squashfs$", status=404)])
    run = lab.run()
    assert [f.code for f in failures(run)] == ["http-status", "import-guard"]
    assert images() == before


def test_uploaded_images_survive_every_import(lab: Lab) -> None:
    mine = factories.boot_resource(os="custom", release="mine", rtype="uploaded", source_id=None)
    lab.select("noble")
    lab.run()
    lab.unselect("noble")
    lab.select("jammy")
    lab.run()
    db.session.expire_all()
    assert mine.current_set_id is not None


def test_a_removed_source_takes_its_images_with_the_next_import(
    make_lab: Callable[..., Lab],
) -> None:
    lab, other = make_lab(), make_lab("other", releases=("jammy",))
    lab.select("noble")
    other.select("jammy")
    lab.run()
    db.session.delete(db.session.get_one(BootSource, lab.source_id))
    db.session.commit()
    other.run()
    assert {image.split(" ")[0] for image in images()} == {"ubuntu/jammy"}
