# SPDX-License-Identifier: Apache-2.0
"""Bundles: made, continued, carried, refused when they aren't what was signed, and loaded."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.jobs.mirror.bundles import ROOT, Other, digests, load, make, manifest_of, tree
from tests.rack import images
from tests.support.databases import Databases
from tests.support.full_disk import MIB, fill, small_disk
from webapp import create_app
from webapp.bundle import manifest, reading
from webapp.bundle.manifest import BundleProblem
from webapp.config import Settings
from webapp.errors import Problem
from webapp.extensions import db, settings, store
from webapp.mirror import PullProgress
from webapp.models import Blob, BootSource, BootSourceCache, Event, Setting, utcnow
from webapp.services.images import restricting
from webapp.services.mirror import bundling, keys, loading

# -- making one


@pytest.mark.both_databases
def test_a_bundle_is_loaded_as_a_boot_source(held: None, other: Other, tmp_path: Path) -> None:
    made = make(tmp_path / "out")
    assert (made.images, made.pieces, made.left_out) == (2, 5, 0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "bundle.sjson",
        "gpg.key",
        *(f"piece-{n:04}" for n in range(1, 6)),
    ]
    assert {piece.size for piece in manifest_of(tmp_path / "out").pieces[:-1]} == {64_000}
    with other():
        done = load(tmp_path / "out")
        assert (done.images, done.is_first, done.is_importing) == (2, True, False)
        found = tree()
        assert digests(b"kernel", b"initrd", ROOT, b"old root") < set(found.values())
        [source] = db.session.scalars(select(BootSource))
        assert (source.name, source.url.startswith("file://")) == ("site-a", True)
        assert source.error_code == ""
        assert len(db.session.scalars(select(BootSourceCache)).all()) == 2
        assert len(loading.held().sha256) == 0  # nothing was imported yet
    assert db.session.scalar(select(Event.kind).where(Event.kind == "mirror.bundled"))


def test_each_bundle_is_dated_later_even_if_the_clock_is_not(held: None, tmp_path: Path) -> None:
    make(tmp_path / "first")
    make(tmp_path / "second")
    dates = [manifest_of(tmp_path / name).made_at for name in ("first", "second")]
    assert dates[0] < dates[1]
    ahead = (utcnow() + timedelta(hours=3)).replace(microsecond=0)
    db.session.merge(Setting(key="mirror_bundled", value=ahead.isoformat()))
    db.session.commit()
    make(tmp_path / "third")
    assert manifest_of(tmp_path / "third").made_at == ahead + timedelta(seconds=1)


def test_a_filter_gives_whole_images_and_their_loaders(held: None, tmp_path: Path) -> None:
    images.image(
        {"bootx64.efi": b"loader"}, name="grub-efi/uefi", os="grub-efi", release="uefi",
        subarch="generic", bootloader_type="uefi",
    )  # fmt: skip
    assert make(tmp_path / "out", "release=jammy").images == 1
    found = {member.sha256 for member in manifest_of(tmp_path / "out").members}
    assert digests(b"old root", b"loader") < found
    assert not found & digests(ROOT)
    with pytest.raises(BundleProblem) as caught:
        make(tmp_path / "none", "release=focal")
    assert caught.value.code == "bundle-empty"


def test_a_bundle_is_continued_piece_by_piece(
    held: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    make(whole)

    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done > 150_000:
            raise Killed

    out, wanted = tmp_path / "out", []
    with pytest.raises(Killed):
        bundling.make(out, filters=[], held=frozenset(), split=64_000, advance=kill)
    before = {path: path.stat().st_mtime_ns for path in out.glob("piece-*")}
    assert len(before) == 2
    with pytest.raises(BundleProblem, match="isn't finished"):
        reading.key_of([out])
    (out / ".work" / "part").write_bytes(b"torn")
    make(out)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in out.glob("piece-*")}.items()
    assert not (out / ".work").exists()
    for piece in manifest_of(out).pieces:
        wanted.append(piece.sha256)
    written = sorted(out.glob("piece-*"))
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in written] == wanted


def test_what_is_no_more_stored_is_planned_again(held: None, tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        bundling.make(out, filters=[], held=frozenset(), split=64_000, advance=kill)
    blob = db.session.scalars(select(Blob).where(Blob.size == len(b"old root"))).one()
    blob.state = "bad"
    db.session.commit()
    assert make(out).images == 1


def keep_noble() -> None:
    kept = restricting.read(["192.0.2.0/24"], [])
    restricting.restrict("ada", "ubuntu", "noble", "amd64", kept)


def test_a_bundle_is_not_continued_with_an_image_that_is_kept_by_then(
    held: None, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done > 150_000:
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        bundling.make(out, filters=[], held=frozenset(), split=64_000, advance=kill)
    keep_noble()
    make(out)
    assert digests(ROOT).isdisjoint(one.sha256 for one in manifest_of(out).members)


def test_a_bundle_is_not_finished_with_an_image_that_was_kept_meanwhile(
    held: None, tmp_path: Path
) -> None:
    def keep(done: int, total: int) -> None:
        if restricting.of("ubuntu", "noble", "amd64") is None:
            keep_noble()

    out = tmp_path / "out"
    with pytest.raises(BundleProblem) as caught:
        bundling.make(out, filters=[], held=frozenset(), split=64_000, advance=keep)
    assert caught.value.code == "changed-meanwhile"
    with pytest.raises(BundleProblem, match="isn't finished"):
        reading.key_of([out])
    make(out)
    assert digests(ROOT).isdisjoint(one.sha256 for one in manifest_of(out).members)


def test_a_full_disk_stops_it_and_room_lets_it_continue(held: None) -> None:
    with small_disk(MIB) as disk:
        (disk / "filling").write_bytes(bytes(900 << 10))
        with pytest.raises(BundleProblem) as caught:
            make(disk / "out")
        assert caught.value.code == "bundle-full"
        (disk / "filling").unlink()
        filling: list[Path] = []

        def fill_up(done: int, total: int) -> None:
            if done > 100_000 and not filling:
                filling.append(fill(disk))

        with pytest.raises(BundleProblem) as caught:
            bundling.make(disk / "out", filters=[], held=frozenset(), split=64_000, advance=fill_up)
        assert caught.value.code == "bundle-full"
        filling[0].unlink()
        assert make(disk / "out").pieces == 5


def test_a_damaged_stored_file_is_not_bundled(held: None, tmp_path: Path) -> None:
    path = store().relative_path(hashlib.sha256(ROOT).hexdigest())
    assert path is not None
    file = settings().store_dir / path
    file.chmod(0o600)
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleProblem) as caught:
        make(tmp_path / "out")
    assert caught.value.code == "bundle-damaged"
    assert not (tmp_path / "out" / "bundle.sjson").exists()


def test_a_folder_with_other_things_is_left_alone(held: None, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    for expected in ("bundle-folder", "bundle-exists"):
        with pytest.raises(BundleProblem) as caught:
            make(tmp_path / "out")
        assert caught.value.code == expected
        shutil.rmtree(tmp_path / "out")
        make(tmp_path / "out")


def test_memory_stays_flat(region: Flask, other: Other, tmp_path: Path) -> None:
    images.image({"squashfs": random.Random(1).randbytes(24 * MIB)})
    tracemalloc.start()
    try:
        make(tmp_path / "out", split=10 * MIB)
        with other():
            load(tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 14 * MIB
    finally:
        tracemalloc.stop()


# -- deltas


@pytest.mark.parametrize("by", ["bundle", "statement"])
def test_a_delta_has_only_what_the_other_side_lacks(
    by: str, held: None, other: Other, tmp_path: Path
) -> None:
    make(tmp_path / "first")
    with other():
        load(tmp_path / "first")
        for content in (b"kernel", b"initrd", ROOT, b"old root"):
            images.stored(content)  # as if it was imported
        statement = {"format": "slipway-held:1", "sha256": loading.held().sha256}
        (tmp_path / "held.json").write_text(json.dumps(statement))
    images.image({"squashfs": b"newest"}, name="ubuntu/focal", release="focal")
    since = tmp_path / ("held.json" if by == "statement" else "first")
    delta = make(tmp_path / "delta", held=manifest.held_at(since))
    assert (delta.images, delta.pieces, delta.left_out) == (3, 1, 4)
    keys.request_rotation("ada")  # the next one is published, and doesn't sign yet
    with other():
        if by == "statement":  # its folder was lost; what is left out comes from the store
            shutil.rmtree(settings().data_dir / "loaded")
        assert not load(tmp_path / "delta").is_first
        assert digests(ROOT, b"newest") < set(tree().values())
        assert db.session.scalars(select(BootSource)).one().name == "site-a"


def test_a_delta_without_its_base_is_refused(held: None, other: Other, tmp_path: Path) -> None:
    make(tmp_path / "first")
    images.image({"squashfs": b"newest"}, name="ubuntu/focal", release="focal")
    make(tmp_path / "delta", held=manifest.held_at(tmp_path / "first"))
    with other():
        with pytest.raises(BundleProblem) as caught:
            load(tmp_path / "delta")
        assert (caught.value.code, caught.value.got) == ("bundle-incomplete", "4 missing files")
        assert tree() == {}


def test_loading_is_continued_where_it_was_killed(held: None, other: Other, tmp_path: Path) -> None:
    make(tmp_path / "out")

    class Killed(BaseException):
        pass

    def kill(progress: PullProgress) -> None:
        if progress.files_done == 2:
            raise Killed

    with other():
        with pytest.raises(Killed):
            loading.load(
                [tmp_path / "out"],
                "site-a",
                (tmp_path / "out" / "gpg.key").read_bytes(),
                actor="ada",
                on_check=lambda done, total: None,
                on_progress=kill,
            )
        assert "streams/v1/index.sjson" not in tree()
        assert loading.pinned("site-a") is None
        assert db.session.scalars(select(BootSource)).all() == []
        assert load(tmp_path / "out").is_first
        assert digests(b"kernel", b"initrd", ROOT, b"old root") < set(tree().values())


def test_loading_is_continued_on_a_disk_that_was_full(
    held: None, environ: dict[str, str], engine_databases: Databases, tmp_path: Path
) -> None:
    make(tmp_path / "out")
    with small_disk(48 * MIB) as disk:
        values = {**environ, "SLIPWAY_DATA_DIR": str(disk / "data")}
        values["SLIPWAY_DATABASE_URL"] = engine_databases.migrated()
        with create_app(Settings.load(values), plane="none").app_context():
            filling = fill(disk)
            with pytest.raises(Problem):
                load(tmp_path / "out")
            filling.unlink()
            assert load(tmp_path / "out").is_first
            assert digests(ROOT) < set(tree().values())
            db.session.remove()
            db.engine.dispose()
        engine_databases.drop(values["SLIPWAY_DATABASE_URL"])
