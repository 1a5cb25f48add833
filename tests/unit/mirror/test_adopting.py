# SPDX-License-Identifier: Apache-2.0
"""A folder that's already there: damaged, another tool's, or not a mirror."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.mirror.maker import Documents, Mirror
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.mirror.pulling import INDEX, documents_of, files_of, pulled, squashfs_of, tree_of
from webapp.errors import Problem

UBUNTU = "com.ubuntu.maas:stable:v3:download"


def test_a_mirror_of_another_tool_is_adopted_without_fetching(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    shutil.copytree(upstream.stream, folder)
    report = pulled(server, folder, signing_key)
    assert (report.fetched, report.bytes_received) == ((), 0)
    assert {file.path for file in report.kept} == set(files_of(upstream))


@pytest.mark.parametrize("how", ["flipped", "shorter", "longer", "gone", "empty"])
def test_a_damaged_file_is_replaced(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path, how: str
) -> None:
    pulled(server, folder, signing_key)
    path = folder / squashfs_of(upstream)
    content = path.read_bytes()
    changed = {
        "flipped": bytes([content[0] ^ 1]) + content[1:],
        "shorter": content[:-1],
        "longer": content + b"x",
        "empty": b"",
    }
    path.unlink()
    if how in changed:
        path.write_bytes(changed[how])
    report = pulled(server, folder, signing_key)
    assert [file.path for file in report.fetched] == [squashfs_of(upstream)]
    assert path.read_bytes() == content


def test_a_damaged_document_is_replaced(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    (folder / INDEX).write_bytes(b"<html>")
    pulled(server, folder, signing_key)
    assert tree_of(folder) == files_of(upstream) | documents_of(upstream)


def test_a_folder_with_other_things_is_refused_and_stays(
    server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    for dry_run in (True, False):
        with pytest.raises(Problem) as caught:
            pulled(server, folder, signing_key, dry_run=dry_run)
        assert caught.value.code == "mirror-foreign"
    assert os.listdir(folder) == ["thesis.tex"]
    assert server.log == []


@pytest.mark.parametrize("place", ["folder", "file", "state", "document"])
def test_a_link_in_the_tree_is_never_followed(
    upstream: Mirror,
    server: MirrorServer,
    signing_key: SigningKey,
    folder: Path,
    tmp_path: Path,
    place: str,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_text("precious")
    (folder / "streams" / "v1").mkdir(parents=True)
    if place == "folder":
        (folder / "noble").symlink_to(outside)
    elif place == "file":
        path = folder / squashfs_of(upstream)
        path.parent.mkdir(parents=True)
        path.symlink_to(victim)
    elif place == "state":
        (folder / ".slipway").symlink_to(outside)
    else:
        (folder / INDEX).symlink_to(victim)
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "mirror-folder"
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"victim": "precious"}


def test_a_file_where_a_folder_belongs_is_reported(
    server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    (folder / "streams").mkdir(parents=True)
    (folder / "noble").write_text("in the way")
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "mirror-folder"
    assert "noble" in caught.value.where


@pytest.mark.parametrize("path", [".slipway/state.json", ".slipway", INDEX])
def test_a_stream_that_wants_our_own_paths_is_refused(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path, path: str
) -> None:
    def edit(documents: Documents) -> None:
        for product in documents[UBUNTU]["products"].values():
            for version in product["versions"].values():
                version["items"]["squashfs"]["path"] = path
                version["items"]["squashfs"] |= {"size": 1, "sha256": "0" * 64}

    upstream.publish(edit=edit)
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "mirror-bad-path"
    assert tree_of(folder) == {}


def test_two_documents_with_different_files_under_one_path_are_refused(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    def edit(documents: Documents) -> None:
        other = json.loads(json.dumps(documents[UBUNTU]).replace(":v3:", ":v2:"))
        for product in other["products"].values():
            for version in product["versions"].values():
                version["items"]["squashfs"]["size"] += 1
        documents["other"] = {**other, "content_id": "other"}

    upstream.publish(edit=edit)
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "mirror-bad-path"
