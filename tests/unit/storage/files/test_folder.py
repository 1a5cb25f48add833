# SPDX-License-Identifier: Apache-2.0
"""The store's folder: who may read it, and files in it that aren't ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract import processes
from tests.contract.processes import Process
from tests.contract.stores import Harness, Place, make_blob
from tests.unit.storage.files.paths import BLOB, PART, PATH
from webapp.storage.base import BlobStore
from webapp.storage.errors import StoreProblem, StoreUnusable
from webapp.storage.filesystem import FilesystemStore


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


# -- the folder


def test_the_tree_is_as_layout_says(harness: Harness, root: Path) -> None:
    harness.put(BLOB)
    harness.start(make_blob(50), 7)
    assert set(tree(root)) == {"SLIPWAY-STORE", PATH, f"partial/{make_blob(50).sha256}.part"}
    assert (root / PATH).read_bytes() == BLOB.data


def test_the_group_may_read_and_others_nothing(root: Path) -> None:
    usual = os.umask(0o022)
    try:
        harness = Harness(Place("filesystem", root, "sqlite://"))
        harness.put(BLOB)
    finally:
        os.umask(usual)
    assert (root / PATH).stat().st_mode & 0o777 == 0o640
    for folder in (root, root / "sha256", (root / PATH).parent, root / "partial"):
        assert folder.stat().st_mode & 0o777 == 0o750


def test_preparing_twice_changes_nothing(harness: Harness, root: Path) -> None:
    harness.put(BLOB)
    before = tree(root)
    FilesystemStore(root).prepare(create=True)
    FilesystemStore(root).prepare(create=False)
    assert tree(root) == before


def test_a_start_that_was_cut_is_finished_by_the_next(root: Path) -> None:
    root.mkdir()
    (root / "SLIPWAY-STORE").touch()
    store = FilesystemStore(root)
    store.prepare(create=False)
    store.check()


def test_a_folder_of_another_program_is_refused_and_left_alone(root: Path) -> None:
    (root / "sha256").mkdir(parents=True)
    (root / "sha256" / "theirs").write_text("theirs")
    with pytest.raises(StoreUnusable) as caught:
        FilesystemStore(root).prepare(create=True)
    assert caught.value.code == "store-foreign"
    assert "SLIPWAY-STORE" in caught.value.next_step
    assert tree(root) == {"sha256/theirs": b"theirs"}


def test_an_empty_folder_is_not_taken_for_the_store_once_there_are_blobs(root: Path) -> None:
    root.mkdir()
    with pytest.raises(StoreUnusable) as caught:
        FilesystemStore(root).prepare(create=False)
    assert caught.value.code == "store-missing"
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("make", [lambda root: None, lambda root: root.parent.touch()])
def test_a_folder_that_cannot_be_made_is_a_problem(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    root = tmp_path / "absent" / "store"
    make(root)
    with pytest.raises(StoreUnusable) as caught:
        FilesystemStore(root).prepare(create=True)
    assert str(root) in caught.value.where
    assert caught.value.next_step


def test_a_volume_that_goes_away_is_not_taken_for_missing_blobs(
    harness: Harness, root: Path
) -> None:
    harness.put(BLOB)
    root.rename(root.with_name("unmounted"))
    store, digest = harness.store, BLOB.sha256
    uses: list[Callable[[], Any]] = [
        lambda: store.stat(digest),
        lambda: store.open(digest),
        lambda: store.verify(digest),
        lambda: store.writer(digest, 5),
        lambda: store.delete(digest),
        lambda: store.drop_partial(digest),
        lambda: list(store.digests()),
        lambda: list(store.partials()),
        store.check,
    ]
    for use in uses:
        with pytest.raises(StoreUnusable):
            use()
    assert store.free_bytes() is None
    root.mkdir()  # an empty mount point
    for use in uses:
        with pytest.raises(StoreUnusable):
            use()
    assert list(root.iterdir()) == []


def test_a_user_without_rights_gets_a_problem_that_says_so(root: Path, harness: Harness) -> None:
    harness.put(BLOB)
    if os.geteuid() == 0:
        with Process(processes.check_as_nobody, root) as process:
            problem = process.receive()
    else:
        (root / "partial").chmod(0o500)
        with pytest.raises(StoreUnusable) as caught:
            harness.store.check()
        problem = caught.value.as_dict()
    assert problem["code"] == "store-unusable"
    assert problem["got"] == "Permission denied"
    assert "access" in problem["next_step"]


@pytest.fixture
def mount(root: Path) -> Iterator[Callable[..., None]]:
    """Mount a file system of memory; skips where the user may not."""
    mounted: list[Path] = []

    def run(folder: Path, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount: {done.stderr.strip()}")
        if folder not in mounted:
            mounted.append(folder)

    yield run
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_store_on_a_read_only_volume_is_read(
    root: Path, mount: Callable[[Path, str], None]
) -> None:
    root.mkdir()
    mount(root, "size=64m")
    harness = Harness(Place("filesystem", root, "sqlite://"))
    harness.put(BLOB)
    mount(root, "remount,ro")
    again = Harness(harness.place)
    assert again.get(BLOB) == BLOB.data
    for use in (again.store.check, lambda: again.store.writer(BLOB.sha256, BLOB.size)):
        with pytest.raises(StoreUnusable) as caught:
            use()
        assert caught.value.got == "Read-only file system"
        assert "writing" in caught.value.next_step


def test_a_store_on_two_volumes_is_refused(
    root: Path, store: BlobStore, mount: Callable[[Path, str], None]
) -> None:
    mount(root / "sha256", "size=1m")
    with pytest.raises(StoreUnusable, match="two file systems"):
        store.check()


# -- files of others


def test_foreign_files_are_neither_listed_nor_touched(harness: Harness, root: Path) -> None:
    harness.put(BLOB)
    harness.start(make_blob(50), 7)
    other = "f" * 64
    foreign = [
        "README",
        "lost+found/inode",
        "sha256/lost+found/inode",
        "sha256/ab",
        "sha256/zz/" + "z" * 64,
        f"sha256/{BLOB.sha256[:2]}/notes",
        f"sha256/{BLOB.sha256[:2]}/{other}",
        f"sha256/{BLOB.sha256[:2]}/{BLOB.sha256}.bak",
        "partial/notes.part",
        f"partial/{other}.part.bak",
    ]
    for name in foreign:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    os.symlink("/etc/passwd", root / "partial" / f"{other}.part")
    folder = root / "sha256" / "cd"
    (folder / ("cd" * 32)).mkdir(parents=True)

    store = harness.store
    store.check()
    assert list(store.digests()) == [BLOB.sha256]
    assert [partial.sha256 for partial in store.partials()] == [make_blob(50).sha256]
    assert store.stat("cd" * 32) is None
    store.delete(BLOB.sha256)
    store.drop_partial(make_blob(50).sha256)
    for name in foreign:
        assert (root / name).read_text() == name


def test_links_are_not_followed(harness: Harness, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(BLOB.data)
    (root / PATH).parent.mkdir()
    (root / PATH).symlink_to(outside)
    (root / PART).symlink_to(outside)
    assert harness.store.stat(BLOB.sha256) is None
    assert list(harness.store.digests()) == []
    for use in (
        lambda: harness.store.open(BLOB.sha256),
        lambda: harness.store.writer(BLOB.sha256, BLOB.size),
        lambda: harness.store.drop_partial(BLOB.sha256),
    ):
        with pytest.raises(StoreUnusable):
            use()
    (root / PART).unlink()
    harness.put(BLOB)
    assert not (root / PATH).is_symlink()
    assert outside.read_bytes() == BLOB.data


def test_a_folder_in_place_of_a_file_is_a_problem(harness: Harness, root: Path) -> None:
    (root / PATH).mkdir(parents=True)
    (root / PART).mkdir()
    with pytest.raises(StoreUnusable):
        harness.store.open(BLOB.sha256)
    with pytest.raises(StoreUnusable):
        harness.store.writer(BLOB.sha256, BLOB.size)
    (root / PART).rmdir()
    with harness.store.writer(BLOB.sha256, BLOB.size) as writer:
        writer.write(BLOB.data)
        with pytest.raises(StoreProblem):
            writer.commit()
    assert [partial.received for partial in harness.store.partials()] == [BLOB.size]


def test_a_probe_that_a_killed_check_left_goes_with_the_next(harness: Harness, root: Path) -> None:
    (root / "partial" / "probe").write_bytes(b"x" * 9999)
    harness.store.check()
    assert harness.leftovers() == []
