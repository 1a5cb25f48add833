# SPDX-License-Identifier: Apache-2.0
"""Whatever people and imports do in whatever order, no image is lost and no name is mixed.

Planning, publishing, steering and clean-up are the real ones, on a real database; only
the bytes and the network are left out. An import is killed or stopped between any two of
its transactions. TORTURE=1 tries more and longer sequences, at other moments each time.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, select, update

from tests.support import factories
from tests.unit.services.imports.planning.region import JAMMY, NOBLE, offer
from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BootResource,
    BootSource,
    BootSourceCache,
    ResourceFile,
    ResourceSet,
    utcnow,
)
from webapp.services.blobs import retention
from webapp.services.images import binning, locks, publishing, steering, versions
from webapp.services.images.keys import Image, PlannedSet, key_of
from webapp.services.images.published import read_names
from webapp.services.images.publishing import Origin
from webapp.services.imports import inventory
from webapp.services.imports.planning import plan
from webapp.services.imports.plans import ImportPlan, SourceState
from webapp.streams.mapping import Offer

LINES = (("noble", "ga-24.04"), ("noble", "hwe-24.04"), ("jammy", "ga-22.04"))
GRACE = timedelta(seconds=1800)
IS_TORTURE = os.environ.get("TORTURE") == "1"
image = st.sampled_from(LINES)
place = st.integers(0, 2)


class Region(RuleBasedStateMachine):
    """A source with three images, and an administrator who can't decide."""

    def __init__(self) -> None:
        super().__init__()
        for model in (ResourceFile, ResourceSet, BootResource, Blob, BootSource):
            db.session.execute(delete(model))
        db.session.commit()
        self.source = factories.boot_source()
        self.version = dict.fromkeys(LINES, 1)
        self.selected = {"noble", "jammy"}
        self.run(())

    # -- what happens

    @rule(selected=st.sets(st.sampled_from(["noble", "jammy"]), min_size=1))
    def select(self, selected: set[str]) -> None:
        """Select releases, and deselect the others."""
        self.selected = set(selected)

    @rule(published=st.lists(image, min_size=1, unique=True))
    def update(self, published: Sequence[tuple[str, str]]) -> None:
        """The source has new versions, and they're imported."""
        self.run(published)

    @rule(published=st.lists(image, max_size=3, unique=True))
    def refresh(self, published: Sequence[tuple[str, str]]) -> None:
        """Read the source, which may have new versions; nothing is imported."""
        for line in published:
            self.version[line] += 1

    @rule(release=st.sampled_from(["noble", "jammy"]))
    def run_alone(self, release: str) -> None:
        """Import one image alone: no other changes, and nothing goes."""
        before = self.images()
        todo = self.planned({Image(f"ubuntu/{release}", "amd64")})
        assert (todo.retire, todo.waiting) == ((), ())
        self.publish(todo.sets)
        after = self.images()
        assert before.keys() <= after.keys()
        assert {n: v for n, v in after.items() if release not in n} == {
            n: v for n, v in before.items() if release not in n
        }

    @rule(published=st.lists(image, max_size=3, unique=True), done=st.integers(0, 3))
    def run_that_is_killed(self, published: Sequence[tuple[str, str]], done: int) -> None:
        """An import that ends after some of its transactions, the next one still open."""
        self.refresh(published)
        before = self.images()
        todo = self.planned()
        self.publish(todo.sets[:done])
        for planned in todo.sets[done : done + 1]:
            self.put({item.sha256: item.size for item in planned.offer.items})
            publishing.publish(planned, Origin(self.source.id, utcnow(), False, ""))
        db.session.rollback()
        assert before.keys() <= self.images().keys()

    @rule(published=st.lists(image, max_size=3, unique=True), done=st.integers(0, 3))
    def run_that_is_stopped(self, published: Sequence[tuple[str, str]], done: int) -> None:
        """An import that ends after some images; what goes, goes at its end."""
        self.refresh(published)
        before = self.images()
        self.publish(self.planned().sets[:done])
        assert before.keys() <= self.images().keys()

    @rule(line=image)
    def pin_to_an_offer(self, line: tuple[str, str]) -> None:
        """Pin to the version that the source offers, stored or not."""
        version = f"2026{self.version[line]:04}"
        row = next((r for r in self.rows() if (r.release, r.subarch) == line), None)
        if row is None or row.current_set_id is None:
            return
        name = f"{row.name}{row.architecture}"
        before = self.images()[name]
        self.catalogue()
        steering.pin([row.id], version, "ann")
        stored = {one.version for one in versions.of(row.id)}
        assert self.images()[name] == (version if version in stored else before)
        assert name in self.pinned()

    @rule(published=st.lists(image, max_size=3, unique=True))
    def run(self, published: Sequence[tuple[str, str]]) -> None:
        """Import as a run does; the source may have new versions."""
        self.refresh(published)
        before, pinned, locked = self.images(), self.pinned(), set(locks.of())
        coming = self.coming()
        todo = self.planned()
        self.publish(todo.sets)
        held = locks.hold([one.resource_id for one in todo.retire])
        retire = [one for one in todo.retire if one.resource_id not in held]
        publishing.retire([(o.resource_id, o.key, o.why) for o in retire], actor="worker")
        db.session.commit()
        after = self.images()
        ids = {row.name + row.architecture: row.id for row in self.rows()}
        for name in before.keys() - after.keys():
            assert not any(f"ubuntu/{release}" in name for release in self.selected)
            assert ids[name] not in locked
        offered = {"".join(key_of(one)): one for one in self.offers()}
        for name in pinned & after.keys():
            is_offered = offered[name].version == coming.get(name)
            is_fetched = is_offered and offered[name].release in self.selected
            assert after[name] == (coming[name] if is_fetched else before[name])
        for name, one in offered.items():
            if one.release in self.selected and name not in pinned:
                assert after[name] == one.version

    @rule(line=image, at=place)
    def roll(self, line: tuple[str, str], at: int) -> None:
        """Switch to one of the stored versions."""
        self.attempt(lambda found, version: steering.roll(found, version, "ann"), line, at)

    @rule(line=image, at=place)
    def pin(self, line: tuple[str, str], at: int) -> None:
        """Pin to one of the stored versions."""
        self.attempt(lambda found, version: steering.pin(found, version, "ann"), line, at)

    @rule(line=image)
    def unpin(self, line: tuple[str, str]) -> None:
        """Unpin."""
        self.attempt(lambda found, version: steering.unpin(found, "ann"), line, 0)

    @rule(line=image, at=place)
    def lock_version(self, line: tuple[str, str], at: int) -> None:
        """Lock one of the stored versions."""
        self.attempt(lambda found, version: steering.lock(found, version, "ann"), line, at)

    @rule(line=image, at=place, is_on=st.booleans())
    def lock_image(self, line: tuple[str, str], at: int, is_on: bool) -> None:
        """Lock or unlock an image; unlocking lifts a lock of a version as well."""
        act = steering.lock if is_on else steering.unlock
        self.attempt(lambda found, _: act(found, "", "ann"), line, at)
        if not is_on:
            self.attempt(lambda found, version: steering.unlock(found, version, "ann"), line, at)

    @rule(line=image, count=st.sampled_from([1, 3, None]))
    def keep(self, line: tuple[str, str], count: int | None) -> None:
        """Keep more or fewer versions."""
        self.attempt(lambda found, version: steering.keep(found, count, None, "ann"), line, 0)

    @rule(line=image, at=place)
    def delete_version(self, line: tuple[str, str], at: int) -> None:
        """Delete one version."""
        self.attempt(lambda found, version: versions.delete(found, version, "ann"), line, at)

    @rule(line=image, is_meant=st.integers(0, 3))
    def delete_image(self, line: tuple[str, str], is_meant: int) -> None:
        """Delete an image; people do that rarely."""
        if not is_meant:
            self.attempt(lambda found, _: retention.delete_resources(found, "ann"), line, 0)

    @rule(line=image)
    def restore(self, line: tuple[str, str]) -> None:
        """Restore an image from the bin, as it was; it's selected again."""
        row = next((r for r in self.rows() if (r.release, r.subarch) == line), None)
        if row is None or row.binned_at is None:
            return
        wanted, was = row.binned_set_id, row.pinned_at
        held = [one.id for one in row.sets if one.is_binned]
        binning.restore([row.id], "ann")
        self.selected.add(line[0])
        db.session.expire_all()
        assert (row.current_set_id, row.pinned_at, row.binned_at) == (wanted, was, None)
        assert all(one.retired_at is None for one in row.sets if one.id in held)

    @rule(is_meant=st.integers(0, 3))
    def empty_bin(self, is_meant: int) -> None:
        """Give up what is in the bin; people do that rarely."""
        images = self.images()
        if not is_meant:
            binning.empty(None, "ann")
        assert self.images() == images

    @rule(is_over=st.booleans())
    def clean_up(self, is_over: bool) -> None:
        """Hours or days pass, and what may go goes; what is in the bin has its own time."""
        images = self.images()
        retention.clean_up()
        if is_over:
            binned = update(BootResource).where(BootResource.binned_at.is_not(None))
            db.session.execute(binned.values(binned_at=utcnow() - timedelta(hours=25)))
        past = utcnow() - timedelta(hours=2)
        for column in (ResourceSet.retired_at, ResourceSet.fetched_at):
            db.session.execute(
                update(ResourceSet).where(column.is_not(None)).values({column.key: past})
            )
        db.session.execute(update(BootResource).values(updated_at=past))
        retention.clean_up()
        assert self.images() == images

    # -- what always holds

    @invariant()
    def every_name_is_whole_and_of_one_version(self) -> None:
        """A machine gets kernel and root of the same version, and both are there."""
        with db.engine.connect() as connection:
            names = read_names(connection, 0, GRACE, utcnow())
        for files in names.folders.values():
            assert {"boot-kernel", "squashfs"} <= set(files)
            assert len({one.set_id for one in files.values()}) == 1
            assert all(one.is_ready for one in files.values())
        for (release, subarch), version in self.lines().items():
            folder = f"ubuntu/amd64/{subarch}/{release}/stable"
            assert names.folders[folder]["squashfs"].version == version
            assert names.folders[f"{folder}/{version}"]["squashfs"].version == version

    @invariant()
    def what_is_in_the_bin_can_be_restored(self) -> None:
        """Whole, with every byte, and machines don't get it by its current name."""
        db.session.expire_all()
        binned = {id for one in binning.read().images for id in one.resource_ids}
        for row in self.rows():
            if row.id in binned:
                assert row.current_set_id is None
                assert row.binned_set_id in {one.id for one in row.sets if one.is_binned}
                assert all(f.blob.state == "ready" for one in row.sets for f in one.files)
            else:
                assert not any(one.is_binned for one in row.sets) or row.binned_at

    @invariant()
    def what_is_locked_is_there(self) -> None:
        """A locked image can be booted, and so can a locked version."""
        db.session.expire_all()
        for row in self.rows():
            kept = [one for one in row.sets if one.locked_at]
            assert all(one.retired_at is None and one.files for one in kept)
            if kept or row.locked_at or (row.pinned_at and not row.binned_at):
                assert row.current_set_id is not None
            assert row.pinned_at or not row.pinned_version

    # -- pieces

    def attempt(self, act: Any, line: tuple[str, str], at: int) -> None:
        """Do something to an image; what is refused changes nothing."""
        row = next((r for r in self.rows() if (r.release, r.subarch) == line), None)
        found = versions.of(row.id) if row is not None else []
        before = self.state()
        try:
            act([row.id if row else 0], found[at % len(found)].version if found else "")
        except Problem:
            db.session.rollback()
            assert self.state() == before

    def offers(self) -> list[Offer]:
        return [offer(*line, version=f"2026{n:04}") for line, n in self.version.items()]

    def planned(self, only: Collection[Image] | None = None) -> ImportPlan:
        """The plan of an import now."""
        wanted = [one for one in (NOBLE, JAMMY) if one.release in self.selected]
        state = SourceState(
            self.source.id, "http://m/", 0, True, True, tuple(self.offers()), tuple(wanted)
        )
        return plan([state], inventory.read(store()), only=only)

    def publish(self, sets: Sequence[PlannedSet]) -> None:
        """Publish these, each in its transaction."""
        for planned in sets:
            self.put({item.sha256: item.size for item in planned.offer.items})
            publishing.publish(planned, Origin(self.source.id, utcnow(), False, ""))
            db.session.commit()

    def catalogue(self) -> None:
        """The rows of what the source offers."""
        db.session.execute(delete(BootSourceCache))
        for one in self.offers():
            db.session.add(BootSourceCache(source_id=self.source.id, **one.as_columns()))
        db.session.commit()

    def coming(self) -> dict[str, str]:
        """The versions that the next import fetches for a pin."""
        return {f"{r.name}{r.architecture}": r.pinned_version for r in self.rows()}

    def put(self, sizes: dict[str, int]) -> None:
        """Bytes that were downloaded."""
        known = set(db.session.scalars(select(Blob.sha256).where(Blob.sha256.in_(sizes))))
        new = (Blob(sha256=d, size=n, state="ready") for d, n in sizes.items() if d not in known)
        db.session.add_all(new)
        db.session.commit()

    def rows(self) -> list[BootResource]:
        return list(db.session.scalars(select(BootResource).order_by(BootResource.id)))

    def lines(self) -> dict[tuple[str, str], str]:
        return {
            (row.release, row.subarch): row.current_set.version
            for row in self.rows()
            if row.current_set is not None
        }

    def images(self) -> dict[str, str]:
        db.session.expire_all()
        return {
            f"{row.name}{row.architecture}": row.current_set.version
            for row in self.rows()
            if row.current_set is not None
        }

    def pinned(self) -> set[str]:
        return {
            f"{row.name}{row.architecture}"
            for row in self.rows()
            if row.pinned_at and row.current_set_id
        }

    def state(self) -> list[Any]:
        db.session.expire_all()
        sets = db.session.scalars(select(ResourceSet).order_by(ResourceSet.id))
        return [self.images(), self.pinned(), [(s.id, s.retired_at, s.locked_at) for s in sets]]


def test_no_sequence_loses_an_image_or_mixes_versions(region: Flask) -> None:
    run_state_machine_as_test(
        Region,
        settings=settings(
            max_examples=60 if IS_TORTURE else 8,
            stateful_step_count=60 if IS_TORTURE else 30,
            derandomize=not IS_TORTURE,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # a failure is short enough, and shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
