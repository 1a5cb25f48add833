# SPDX-License-Identifier: Apache-2.0
"""One image of a running import is stopped alone; the others go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from tests.jobs.conftest import Lab, carry_out, check_region, failures, images, transfers
from tests.mirror.faults import Fault
from tests.mirror.maker import MirrorItem
from tests.support.live import wait_until
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.models import Event, FileTransfer, ImportRun
from webapp.services.images.keys import Image
from webapp.services.imports import runs, single, stopping
from webapp.services.imports.single import Outcome

pytestmark = pytest.mark.usefixtures("region")
ONE, OTHER = Image("ubuntu/noble", "amd64"), Image("ubuntu/jammy", "amd64")


@pytest.fixture
def both(make_lab: Callable[..., Lab]) -> Lab:
    """Noble and jammy are stored, new versions are offered, and noble's largest file is slow."""
    lab = make_lab(kernels=1, sizes={"squashfs": 1 << 20})
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    lab.mirror.publish_next()
    lab.server.reset()
    file = largest(lab)
    lab.server.set_faults([Fault(path=file.path + "$", stall=(200_000, 100))])
    return lab


def largest(lab: Lab) -> MirrorItem:
    """Noble's largest file in its newest build."""
    found = [one for one in lab.mirror.newest(release="noble") if one.ftype == "squashfs"]
    return max(found, key=lambda one: one.size)


def once_it_comes(sha256: str, action: Callable[[], object]) -> Callable[[], None]:
    """Do something when a part of a file is there."""

    def act() -> None:
        def has_begun() -> bool:
            db.session.rollback()
            done = select(func.max(FileTransfer.bytes_done)).where(FileTransfer.sha256 == sha256)
            return bool(db.session.scalar(done))

        wait_until(has_begun, "a part of it")
        action()

    return act


def releases(found: dict[str, str], name: str) -> dict[str, str]:
    return {key: version for key, version in found.items() if name in key}


@pytest.mark.both_databases
def test_the_others_go_on_and_the_next_import_takes_it_up(both: Lab) -> None:
    before, file = images(), largest(both)
    asked: list[tuple[int, Outcome]] = []

    def stop() -> None:
        run = stopping.stop(ONE, "ann")
        stopping.stop(ONE, "bob")  # who is second changes nothing
        done = single.start(ONE, "cay")  # it isn't this import's any longer
        asked.append((run.id, done.outcome))

    with both.during_download(once_it_comes(file.sha256, stop)):
        run = both.run()
    assert asked == [(run.id, Outcome.QUEUED)]
    assert run.state == "succeeded"
    assert run.summary == "1 image published. 1 image stopped by user."
    assert run.stopped_images == [{**ONE._asdict(), "by": "ann"}]
    assert failures(run) == []
    assert run.bytes_done == run.bytes_total
    now = images()
    assert releases(now, "noble") == releases(before, "noble")
    assert releases(now, "jammy").keys() == releases(before, "jammy").keys()
    assert not releases(now, "jammy").items() & releases(before, "jammy").items()
    states = {(row.image, row.state) for row in transfers(run)}
    assert ("ubuntu/noble", "stopped") in states
    assert not {"waiting", "downloading", "failed"} & {state for _, state in states}
    kinds = select(func.count()).where(Event.kind == "run.image_stopped", Event.actor == "ann")
    assert db.session.scalar(kinds) == 1
    both.server.set_faults()
    both.server.reset()
    queued = runs.current()
    assert queued is not None
    assert queued.only_images == [ONE._asdict()]
    again = carry_out(queued)
    assert (again.state, again.stopped_images) == ("succeeded", [])
    assert not releases(images(), "noble").items() & releases(before, "noble").items()
    resumed = [one for one in both.server.log if one.path.endswith(file.path)]
    assert [one.range[:6] for one in resumed] == ["bytes="]
    check_region()


def test_the_only_image_of_an_import_is_the_import(both: Lab) -> None:
    queued = single.start(ONE, "ann").run
    act = once_it_comes(largest(both).sha256, lambda: stopping.stop(ONE, "ann"))
    with both.during_download(act):
        run = carry_out(queued)
    assert (run.state, run.summary) == ("stopped", "Stopped by user.")
    assert runs.current() is None
    check_region()


def test_a_worker_that_takes_the_run_over_leaves_it_out_too(both: Lab) -> None:
    is_leaving = []

    def stop_and_leave() -> None:
        stopping.stop(ONE, "ann")
        is_leaving.append(True)

    both.server.set_faults([Fault(path="squashfs$", stall=(200_000, 100))])
    with both.during_download(once_it_comes(largest(both).sha256, stop_and_leave)):
        run = both.run(lambda: bool(is_leaving))
    assert run.state == "running"
    both.server.set_faults()
    before = releases(images(), "noble")
    run = carry_out(run)
    assert run.summary == "1 image published. 1 image stopped by user."
    assert releases(images(), "noble") == before


def test_what_an_import_does_not_download_cannot_be_stopped(both: Lab) -> None:
    with pytest.raises(NotFound, match="No import is running"):
        stopping.stop(ONE, "ann")
    found: list[str] = []

    def refuse() -> None:
        for image in (Image("ubuntu/focal", "amd64"), OTHER):
            with pytest.raises(Conflict) as problem:
                stopping.stop(image, "ann")
            found.append(problem.value.what)
        stopping.stop(ONE, "ann")

    queued = single.start(ONE, "ann").run
    with both.during_download(once_it_comes(largest(both).sha256, refuse)):
        run = carry_out(queued)
    assert found == [f"Import {run.id} has nothing left to download for this image."] * 2
    early = runs.queue("manual", "ann")
    db.session.get_one(ImportRun, early.id).state = "running"
    db.session.commit()
    with pytest.raises(Conflict, match="hasn't planned"):
        stopping.stop(ONE, "ann")
