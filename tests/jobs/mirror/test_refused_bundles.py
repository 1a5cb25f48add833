# SPDX-License-Identifier: Apache-2.0
"""Bundles that aren't what was signed are refused, and change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.mirror.bundles import Other, load, make, tree
from tests.support import signed
from webapp.bundle.manifest import BundleProblem
from webapp.services.mirror import loading
from webapp.streams.errors import DocumentProblem
from webapp.trust.errors import SignatureProblem


@pytest.fixture
def carried(held: None, other: Other, tmp_path: Path) -> Path:
    """A copy of a bundle at the other site, which has loaded an earlier one."""
    make(tmp_path / "first", "release=jammy")
    with other():
        load(tmp_path / "first")
    make(tmp_path / "second")
    shutil.copytree(tmp_path / "second", tmp_path / "carried")
    return tmp_path / "carried"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (flip, "bundle-damaged"),
        (cut, "bundle-damaged"),
        (lengthen, "bundle-damaged"),
        (link, "bundle-missing"),
        (replace_by_folder, "bundle-damaged"),
        (Path.unlink, "bundle-missing"),
    ],
)
@pytest.mark.parametrize("piece", [1, 3, 5])
def test_a_harmed_piece_changes_nothing(
    harm: Callable[[Path], None], code: str, piece: int, carried: Path, other: Other
) -> None:
    with other():
        before = tree()
        harm(carried / f"piece-{piece:04}")
        with pytest.raises(BundleProblem) as caught:
            load(carried)
        assert caught.value.code == code
        assert f"piece-{piece:04}" in f"{caught.value.where} {caught.value.got}"
        assert tree() == before


def test_a_changed_manifest_and_a_foreign_key_change_nothing(carried: Path, other: Other) -> None:
    foreign = signed.new_key()
    text = (carried / "bundle.sjson").read_text().replace('"images": 2', '"images": 3')
    with other():
        before = tree()
        with pytest.raises(SignatureProblem):
            load(carried, keyring=foreign.public)
        (carried / "bundle.sjson").write_text(text)
        with pytest.raises(SignatureProblem):
            load(carried)
        assert tree() == before
        assert loading.pinned("site-a") not in (None, foreign.public)


def test_an_older_bundle_is_no_way_back(carried: Path, other: Other, tmp_path: Path) -> None:
    with other():
        load(carried)
        before = tree()
        with pytest.raises(DocumentProblem, match="older"):
            load(tmp_path / "first")
        assert load(carried).images == 2  # once more is no harm
        assert tree() == before


def test_pieces_may_lie_in_several_folders(carried: Path, other: Other, tmp_path: Path) -> None:
    second = tmp_path / "media"
    second.mkdir()
    for number in (2, 4):
        (carried / f"piece-{number:04}").rename(second / f"piece-{number:04}")
    with other():
        assert load(second, carried).images == 2
