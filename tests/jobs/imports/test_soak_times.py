# SPDX-License-Identifier: Apache-2.0
"""Soak times in real imports: the bytes of the version that is old enough (rule: soak-time)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.jobs.conftest import Lab, check_region, files, images, only
from tests.mirror.maker import Documents
from webapp.extensions import db
from webapp.models import BootSource, BootSourceCache, utcnow
from webapp.services.sources import soaking
from webapp.services.system import live_settings

pytestmark = [pytest.mark.usefixtures("region"), pytest.mark.both_databases]
TODAY = f"{utcnow():%Y%m%d}"


def renamed(name: str) -> Callable[[Documents], None]:
    """An edit that gives the newest version of each product this name."""

    def edit(documents: Documents) -> None:
        for document in documents.values():
            for product in document["products"].values():
                product["versions"][name] = product["versions"].pop(max(product["versions"]))

    return edit


def named(name: str) -> dict[str, str]:
    """The files of a version of the one kernel in the catalogue, by name."""
    row = db.session.scalars(db.select(BootSourceCache).filter_by(release="noble")).one()
    items = (
        row.items
        if row.version == name
        else next(b for b in row.older if b["version"] == name)["items"]
    )
    return {item["filename"]: item["sha256"] for item in items}


def test_the_older_version_is_fetched_until_the_newest_is_old_enough(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(kernels=1, versions=2, releases=("noble",))
    lab.mirror.publish(after=timedelta(days=1), edit=renamed(TODAY))
    lab.select("noble")
    live_settings.change("import_soak_days", "30", "ann")
    run = lab.run()
    [before] = images().values()
    assert (run.state, before < TODAY) == ("succeeded", True)
    assert files(only(images())) == named(before)
    assert set(files(only(images())).values()).isdisjoint(named(TODAY).values())
    lab.server.reset()
    run = lab.run()
    assert (run.sets_published, lab.fetched()) == (0, {})
    assert run.plan is not None
    [kept] = run.plan["keep"]
    assert kept["due"] == str((utcnow() + timedelta(days=30)).date())
    soaking.set_image("ubuntu/noble", "amd64", 0, "ann")
    lab.run()
    assert list(images().values()) == [TODAY]
    assert files(only(images())) == named(TODAY)
    # A newer version stays, whatever is asked for later.
    soaking.set_image("ubuntu/noble", "amd64", 365, "ann")
    run = lab.run()
    assert (run.sets_published, list(images().values())) == (0, [TODAY])
    check_region()


def test_a_version_without_a_date_is_dated_by_its_first_sight(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(kernels=1, versions=1, releases=("noble",))
    lab.mirror.publish(after=timedelta(days=1), edit=renamed("r2"))
    lab.select("noble")
    soaking.set_source(lab.source, 7, "ann")
    lab.run()
    assert images() == {}
    row = db.session.scalars(db.select(BootSourceCache)).one()
    seen = row.versions["r2"]
    assert seen.startswith(f"{utcnow():%Y-%m-%d}")
    lab.mirror.publish(after=timedelta(days=1), edit=renamed("r2"))  # read again: it keeps its date
    lab.run()
    row = db.session.scalars(db.select(BootSourceCache)).one()
    assert row.versions["r2"] == seen
    earlier = {"r2": (utcnow() - timedelta(days=7)).isoformat()}
    db.session.execute(update(BootSourceCache).values(versions=earlier))
    db.session.commit()
    lab.run()
    assert list(images().values()) == ["r2"]


def test_a_catalogue_of_before_gets_its_versions_though_the_stream_is_the_same(
    lab: Lab,
) -> None:
    lab.run()
    db.session.execute(update(BootSourceCache).values(versions={}, older=[]))
    db.session.commit()
    lab.server.reset()
    lab.run()
    assert all(
        row.version in row.versions for row in db.session.scalars(db.select(BootSourceCache))
    )
    assert [request.path for request in lab.server.log] == [
        "/" + lab.mirror.path + "streams/v1/index.sjson"
    ]
    assert db.session.get_one(BootSource, lab.source_id).error_code == ""
