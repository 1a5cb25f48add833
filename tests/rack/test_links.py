# SPDX-License-Identifier: Apache-2.0
"""The tree of links that another server may serve."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from tests.rack import images
from webapp.rack.links import LinkedNames
from webapp.services.images.published import Located

NAME = "ubuntu,amd64,ga-24.04,noble,stable"
BAD = hashlib.sha256(b"initrd 1").hexdigest()


class Tree:
    """The links, and what they mean."""

    def __init__(self, rack: Flask, folder: Path) -> None:
        self.bad: set[str] = set()
        self.root = folder / "links"
        self._rack = rack
        self.links = self.made()

    def made(self) -> LinkedNames:
        return LinkedNames(self.root, self._is_proved)

    def _is_proved(self, found: Located) -> bool:
        return found.sha256 not in self.bad

    def follow(self) -> None:
        files = self._rack.extensions["slipway.rack"]
        self.links.follow(files.published.names(refresh=True))

    def digests(self, place: str) -> dict[str, str]:
        """Name -> digest in a folder of the tree; nothing where there's none."""
        folder = self.root / place
        return {link.name: link.resolve(strict=True).name[:64] for link in folder.glob("*")}

    def sets(self) -> int:
        return len(list(self.root.glob("set,*")))


@pytest.fixture
def tree(rack: Flask, tmp_path: Path) -> Tree:
    return Tree(rack, tmp_path)


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_every_name_of_an_image_is_a_link_to_its_set(tree: Tree) -> None:
    images.image()
    tree.follow()
    for place in (f"now,{NAME}", f"pinned,{NAME},20260105"):
        assert tree.digests(place) == digests(images.FILES)
        assert tree.digests(place.replace("ga-24.04", "generic")) == digests(images.FILES)
    assert tree.sets() == 1


def test_a_new_set_replaces_the_current_one_and_the_older_stays_pinned(tree: Tree) -> None:
    resource = images.image()
    tree.follow()
    later = {"boot-kernel": b"kernel 2"}
    images.switch(resource, later, version="20260106")
    tree.follow()
    assert tree.digests(f"now,{NAME}") == digests(later)
    assert tree.digests(f"pinned,{NAME},20260106") == digests(later)
    assert tree.digests(f"pinned,{NAME},20260105") == digests(images.FILES)
    assert tree.sets() == 2


def test_a_link_tells_the_facts_of_its_version(tree: Tree) -> None:
    """Also where two versions have the same bytes."""
    at = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
    resource = images.image({"boot-kernel": b"kernel"}, completed_at=at, version="1 é")
    images.switch(resource, {"boot-kernel": b"kernel"}, version="2")
    tree.follow()
    facts = {
        (tree.root / f"pinned,{NAME},{version}" / "boot-kernel").resolve().name
        for version in ("1 é", "2")
    }
    digest = hashlib.sha256(b"kernel").hexdigest()
    assert f"{digest},Mon, 05 Jan 2026 12:30:00 GMT,1%20%C3%A9" in facts
    assert len(facts) == 2


def test_what_is_no_longer_published_has_no_link(tree: Tree) -> None:
    resource = images.image()
    tree.follow()
    resource.current_set_id = None
    images.publish()
    tree.follow()
    assert not (tree.root / f"now,{NAME}").is_symlink()
    assert tree.digests(f"now,{NAME}") == {}


def test_a_set_stays_a_while_for_those_who_are_on_their_way_to_it(tree: Tree) -> None:
    resource = images.image()
    tree.follow()
    was = (tree.root / f"now,{NAME}").resolve()
    resource.current_set_id = None
    images.publish()
    tree.follow()
    assert (was / "squashfs").exists()
    tree.links.recheck()
    assert not was.exists()


@pytest.mark.parametrize("find", [Tree.follow, lambda tree: tree.links.recheck()])
def test_a_file_that_is_not_the_verified_one_has_no_link(
    find: Callable[[Tree], None], tree: Tree
) -> None:
    images.image()
    if find is not Tree.follow:
        tree.follow()
    tree.bad.add(BAD)
    find(tree)
    good = {name: content for name, content in images.FILES.items() if name != "boot-initrd"}
    assert tree.digests(f"now,{NAME}") == digests(good)


def test_files_that_are_there_again_get_their_links_back(tree: Tree) -> None:
    images.image()
    tree.follow()
    tree.bad |= set(digests(images.FILES).values())  # as if a network file system was away
    tree.links.recheck()
    assert tree.digests(f"now,{NAME}") == {}
    tree.bad.clear()
    tree.links.recheck()
    assert tree.digests(f"now,{NAME}") == digests(images.FILES)


def test_a_start_makes_the_tree_anew(tree: Tree) -> None:
    images.image()
    tree.follow()
    (tree.root / "now,old").symlink_to("/nowhere")
    (tree.root / f"now,{NAME}").unlink()
    tree.links = tree.made()
    tree.follow()
    assert not (tree.root / "now,old").is_symlink()
    assert tree.digests(f"now,{NAME}") == digests(images.FILES)


def test_names_that_are_no_path_have_no_link(tree: Tree) -> None:
    images.image(label="..", answers_to=[])
    images.image(release="jammy", subarch="a/../b", answers_to=[])
    images.image(release="jammy", subarch="a,b", answers_to=[])
    images.image(release="x" * 250, answers_to=[])
    tree.follow()
    assert not tree.root.exists()


def test_without_room_there_is_no_link_until_there_is(tree: Tree) -> None:
    images.image()
    tree.root.write_text("in the way")
    with pytest.raises(OSError, match="links"):
        tree.follow()
    tree.root.unlink()
    tree.links.clear()
    tree.follow()
    assert tree.digests(f"now,{NAME}") == digests(images.FILES)
