# SPDX-License-Identifier: Apache-2.0
"""Pulling a stream into a folder: whole and verified, or as it was before."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.mirror.faults import Fault
from tests.mirror.maker import Documents, Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from webapp.cli.mirror import mirror_group
from webapp.errors import Problem
from webapp.fetch import Fetcher, Limits, Stopped
from webapp.mirror import Progress, PullReport, pull
from webapp.mirror.folder import MirrorFolder
from webapp.mirror.model import MirrorProblem
from webapp.storage.errors import StoreFull
from webapp.storage.filesystem import FilesystemStore
from webapp.streams.filters import parse_filter
from webapp.trust.keyrings import Keyring, load_keyring

UBUNTU = "com.ubuntu.maas:stable:v3:download"
INDEX = "streams/v1/index.sjson"
LIMITS = Limits(
    connect_s=2, read_s=0.3, total_metadata_s=5, retries=1, backoff_s=0.01, speed_window_s=0.3
)


def make_small(folder: Path, key: SigningKey, **options: Any) -> Mirror:
    """One kernel on amd64 with two builds, and the notice."""
    recipe: dict[str, Any] = {"arches": ["amd64"], "kernels": 1, "releases": ["noble"]}
    return make_mirror(folder, key, **{**recipe, "loaders": False, "centos": False, **options})


@pytest.fixture
def upstream(tmp_path: Path, signing_key: SigningKey) -> Mirror:
    return make_small(tmp_path / "upstream", signing_key)


@pytest.fixture
def server(upstream: Mirror) -> Iterator[MirrorServer]:
    with MirrorServer(upstream) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "local"


@functools.cache
def keyring_of(key: SigningKey) -> Keyring:
    return load_keyring(key.public)


def pulled(server: MirrorServer, folder: Path, key: SigningKey, **options: Any) -> PullReport:
    with Fetcher(limits=options.pop("limits", LIMITS)) as fetcher:
        return pull(server.source_url, folder, keyring_of(key), fetcher=fetcher, **options)


def tree_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but our own ones."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".slipway" not in path.parts
    }


def files_of(mirror: Mirror, items: Any = None) -> dict[str, bytes]:
    """What upstream has of these items, the newest ones when left out."""
    chosen = mirror.newest() if items is None else items
    return {item.path: (mirror.stream / item.path).read_bytes() for item in chosen}


def documents_of(mirror: Mirror) -> dict[str, bytes]:
    names = ["index", *mirror.documents]
    return {
        f"streams/v1/{name}.sjson": (mirror.stream / f"streams/v1/{name}.sjson").read_bytes()
        for name in names
    }


def squashfs_of(mirror: Mirror) -> str:
    return next(item.path for item in mirror.newest() if item.ftype == "squashfs")


# -- what goes right


def test_a_stream_comes_whole_in_its_own_layout(
    shared_mirror: Mirror, signing_key: SigningKey, folder: Path
) -> None:
    with MirrorServer(shared_mirror) as server:
        report = pulled(server, folder, signing_key)
        paths = [request.path.removeprefix(f"/{shared_mirror.path}") for request in server.log]
    assert tree_of(folder) == files_of(shared_mirror) | documents_of(shared_mirror)
    assert len(paths) == len(set(paths)), "nothing is fetched twice"
    assert {file.path for file in report.fetched} == set(files_of(shared_mirror))
    distinct = {item.sha256: item.size for item in shared_mirror.newest()}
    assert report.bytes_received == sum(distinct.values())
    assert report.fingerprint == signing_key.fingerprint
    assert (report.kept, report.superseded, report.warnings) == ((), (), ())
    for path in folder.rglob("*"):
        if ".slipway" not in path.parts:
            assert path.stat().st_mode & 0o444 == 0o444, "a web server can read it"


def test_a_pulled_mirror_is_a_source_itself(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path, tmp_path: Path
) -> None:
    pulled(server, folder, signing_key)
    with MirrorServer(folder) as second:
        pulled(second, tmp_path / "copy", signing_key)
        assert all(".slipway" not in request.path for request in second.log)
    assert tree_of(tmp_path / "copy") == tree_of(folder)


def test_an_unchanged_mirror_costs_one_request_and_no_reading(
    server: MirrorServer,
    signing_key: SigningKey,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulled(server, folder, signing_key)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != "lock"}
    server.reset()

    def reads(self: object, path: str) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(MirrorFolder, "sha256", reads)
    report = pulled(server, folder, signing_key)
    assert report.is_unchanged
    assert report.bytes_received == 0
    assert [request.status for request in server.log] == [304]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != "lock"} == before


def test_filters_and_versions_choose_files(
    mirror: Mirror, mirror_server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    filters = [parse_filter("arch=amd64"), parse_filter("release~(noble)")]
    pulled(mirror_server, folder, signing_key, filters=filters)
    chosen = mirror.newest(release="noble", arch="amd64")
    assert tree_of(folder) == files_of(mirror, chosen) | documents_of(mirror)

    report = pulled(mirror_server, folder, signing_key, filters=filters, max_versions=0)
    chosen = mirror.items(release="noble", arch="amd64")
    assert tree_of(folder) == files_of(mirror, chosen) | documents_of(mirror)
    assert report.kept
    assert not report.is_unchanged


def test_a_dry_run_changes_nothing_and_tells_what_would_come(
    server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    planned = pulled(server, folder, signing_key, dry_run=True)
    assert not folder.exists()
    done = pulled(server, folder, signing_key)
    assert planned.fetched == done.fetched

    (folder / done.fetched[0].path).unlink()
    before = tree_of(folder)
    server.reset()
    planned = pulled(server, folder, signing_key, dry_run=True)
    assert planned.is_dry_run
    assert [file.path for file in planned.fetched] == [done.fetched[0].path]
    assert tree_of(folder) == before
    assert len(server.log) == 1


def test_progress_rises_to_the_end(
    server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    seen: list[Progress] = []
    report = pulled(server, folder, signing_key, on_progress=seen.append)
    done = [(step.files_done, step.bytes_done) for step in seen]
    assert done == sorted(done)
    assert seen[-1].files_done == seen[-1].files_total == len(report.fetched)
    assert seen[-1].bytes_done == seen[-1].bytes_total == report.bytes_received


def test_bytes_that_are_here_under_another_path_are_not_fetched(
    mirror: Mirror, mirror_server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(mirror_server, folder, signing_key)
    mirror_server.reset()
    report = pulled(mirror_server, folder, signing_key, max_versions=0)
    assert report.reused, "arm64 kernels stay the same over two builds"
    asked = {request.path.removeprefix(f"/{mirror.path}") for request in mirror_server.log}
    assert not asked & {file.path for file in report.reused}
    assert tree_of(folder) == files_of(mirror, mirror.items()) | documents_of(mirror)


# -- a folder that is there already


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


def test_a_file_where_a_folder_belongs_is_said(
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


# -- updates


def test_an_update_fetches_what_is_new_and_keeps_the_rest(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    old = files_of(upstream)
    upstream.publish_next()
    report = pulled(server, folder, signing_key)
    assert tree_of(folder) == old | files_of(upstream) | documents_of(upstream)
    gone = set(old) - set(files_of(upstream))
    assert {file.path for file in report.superseded} == gone

    report = pulled(server, folder, signing_key, prune=True)
    assert report.is_pruned
    assert {file.path for file in report.superseded} == gone
    assert tree_of(folder) == files_of(upstream) | documents_of(upstream)
    assert pulled(server, folder, signing_key, prune=True).superseded == ()


def test_pruning_spares_what_somebody_else_changed_or_made(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    changed = folder / squashfs_of(upstream)
    changed.write_bytes(b"my own build")
    (changed.parent / "notes.txt").write_text("mine")
    upstream.publish_next()
    pulled(server, folder, signing_key, prune=True)
    assert changed.read_bytes() == b"my own build"
    assert (changed.parent / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("prune", [True, False])
def test_filters_that_match_nothing_change_nothing(
    upstream: Mirror,
    server: MirrorServer,
    signing_key: SigningKey,
    folder: Path,
    prune: bool,
) -> None:
    pulled(server, folder, signing_key)
    before = tree_of(folder)
    with pytest.raises(MirrorProblem) as caught:
        pulled(server, folder, signing_key, filters=[parse_filter("os=ubunut")], prune=prune)
    assert caught.value.code == "mirror-nothing-wanted"
    assert tree_of(folder) == before


def test_a_stream_that_turned_empty_prunes_nothing(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    before = tree_of(folder)

    def empty(documents: dict[str, Any]) -> None:
        for document in documents.values():
            document["products"] = {}

    upstream.publish(after=timedelta(days=1), edit=empty)
    with pytest.raises(MirrorProblem):
        pulled(server, folder, signing_key, prune=True)
    assert tree_of(folder) == before


def test_the_index_comes_last(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pulled(server, folder, signing_key)
    upstream.publish_next()
    placed: list[str] = []
    real = MirrorFolder._move

    def spy(self: MirrorFolder, temporary: Path, path: str) -> Any:
        placed.append(path)
        return real(self, temporary, path)

    monkeypatch.setattr(MirrorFolder, "_move", spy)
    pulled(server, folder, signing_key)
    documents = [path for path in placed if path.startswith("streams/")]
    assert placed[-len(documents) :] == documents
    assert placed[-1] == INDEX


ITEM_FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("one byte more", {"extra": 1}, "size-mismatch"),
    ("one byte less", {"truncate": 1000}, "size-mismatch"),
    ("bit flip", {"flip": 1000}, "hash-mismatch"),
    ("other bytes", {"repeat": ["x", 0]}, "hash-mismatch"),
    ("endless", {"repeat": ["x", 1 << 40]}, "size-mismatch"),
    ("endless chunked", {"repeat": ["x", 1 << 40], "is_chunked": True}, "size-mismatch"),
    ("endless until close", {"repeat": ["x", 1 << 40], "no_length": True}, "size-mismatch"),
    ("drip", {"drip": [1, 0.05]}, "http-slow"),
    ("stall", {"stall": [3000, 60]}, "http-timeout"),
    ("hang", {"hang": 60}, "http-timeout"),
    ("length too long", {"length": 1 << 30}, "size-mismatch"),
    ("length too short", {"length": 10}, "size-mismatch"),
    ("gzip", {"is_gzipped": True}, "http-encoding"),
    ("gzip bomb", {"gzip_bomb": 1 << 40}, "size-mismatch"),
    ("circle", {"redirect": "{base}{path}"}, "http-redirect"),
    ("to a file", {"redirect": "file:///etc/passwd"}, "http-redirect"),
    ("to the cloud's metadata", {"redirect": "http://169.254.169.254/"}, "address-refused"),
    ("to another host's page", {"redirect": "{canary}x"}, "http-short"),
    ("404", {"status": 404}, "http-status"),
    ("403", {"status": 403}, "http-status"),
    ("429", {"status": 429}, "http-status"),
    ("500", {"status": 500}, "http-status"),
    ("503", {"status": 503}, "http-status"),
    ("login page", {"body": "<html>", "headers": {"Content-Type": "text/html"}}, "http-html"),
    ("not http", {"raw": "220 smtp ready\r\n"}, "http-invalid"),
    ("reset", {"reset": 100}, "http-connection"),
    ("cut", {"cut": 100}, "http-short"),
]


@pytest.fixture(scope="module")
def steady(
    tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey
) -> Iterator[tuple[Mirror, MirrorServer, Path]]:
    """A mirror one update behind its upstream, all made once; copies of it are pulled into."""
    base = tmp_path_factory.mktemp("steady")
    upstream = make_small(base / "upstream", signing_key)
    with MirrorServer(upstream) as server:
        pulled(server, base / "before", signing_key)
        upstream.publish_next()
        yield upstream, server, base / "before"


def problem_of_alone(root: str, upstream: Mirror, path: str, folder: Path) -> Problem:
    """Why one file cannot be had, as an import would say it."""
    store = FilesystemStore(folder / "store")
    store.prepare(create=True)
    size, sha256 = upstream.sizes[path], upstream.sha256[path]
    with Fetcher(limits=LIMITS) as fetcher, pytest.raises(Problem) as caught:
        fetcher.download(root + path, lambda: store.writer(sha256, size), size=size)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "code"), [pytest.param(fault, code, id=name) for name, fault, code in ITEM_FAULTS]
)
def test_a_bad_file_leaves_the_mirror_as_it_was(
    steady: tuple[Mirror, MirrorServer, Path],
    signing_key: SigningKey,
    tmp_path: Path,
    fault: dict[str, Any],
    code: str,
) -> None:
    upstream, server, before = steady
    mine = tmp_path / "mirror"
    shutil.copytree(before, mine, copy_function=shutil.copy2)
    bad = squashfs_of(upstream)
    if fault.get("repeat") == ["x", 0]:
        fault = {"repeat": ["x", upstream.sizes[bad]]}
    server.set_faults([{"path": f"{bad}$", **fault}])
    server.reset()
    with pytest.raises(Problem) as caught:
        pulled(server, mine, signing_key)
    assert caught.value.code == "mirror-incomplete"
    assert caught.value.where

    had, has = tree_of(before), tree_of(mine)
    assert has.items() >= had.items(), "all that was good is still there"
    good = files_of(upstream)
    assert bad not in has
    assert all(good[path] == has[path] for path in set(has) - set(had))

    alone = problem_of_alone(server.source_url, upstream, bad, tmp_path)
    assert alone.code == code
    assert caught.value.what.endswith(alone.what)

    server.set_faults()
    server.reset()
    report = pulled(server, mine, signing_key)
    assert tree_of(mine) == had | good | documents_of(upstream)
    asked = [r.path.removeprefix(f"/{upstream.path}") for r in server.log]
    # Once, or once more when what came first had poisoned the partial.
    assert {path for path in asked if not path.startswith("streams/")} == {bad}
    assert [file.path for file in report.fetched] == [bad]


def test_many_failures_end_the_pull_early(
    mirror: Mirror, mirror_server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    mirror_server.set_faults([Fault(path="^ephemeral-v3/stable/(?!streams)", status=404)])
    with pytest.raises(Problem, match="files did not come") as caught:
        pulled(mirror_server, folder, signing_key)
    assert caught.value.code == "mirror-incomplete"
    assert tree_of(folder) == {}
    missed = [request for request in mirror_server.log if request.status == 404]
    assert 10 <= len(missed) <= 12
    assert len(missed) < len(files_of(mirror))


def test_an_older_index_is_refused_and_the_mirror_stays(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(upstream.stream / "streams", tmp_path / "old")
    upstream.publish_next()
    pulled(server, folder, signing_key)
    before = tree_of(folder)
    shutil.copytree(tmp_path / "old", upstream.stream / "streams", dirs_exist_ok=True)
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "stream-rollback"
    assert tree_of(folder) == before

    # Another mirror of the same stream that lags behind is no way back either.
    with MirrorServer(upstream) as other, pytest.raises(Problem) as caught:
        pulled(other, folder, signing_key)
    assert caught.value.code == "stream-rollback"


def test_another_mirror_of_the_same_stream_is_not_asked_with_foreign_validators(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    with MirrorServer(upstream) as other:
        report = pulled(other, folder, signing_key)
        assert "if-none-match" not in other.log[0].headers
    assert (report.fetched, report.is_unchanged) == ((), True)


def test_a_document_by_another_key_changes_nothing(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    before = tree_of(folder)
    upstream.key = signed.new_key("Somebody else <else@example.test>")
    upstream.publish_next()
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "signature-unknown-key"
    assert tree_of(folder) == before


# -- our own memory, locks and disks


@pytest.mark.parametrize("damage", ["cut", "no json", "other version", "document", "no document"])
def test_a_damaged_memory_is_never_passed_over(
    server: MirrorServer, signing_key: SigningKey, folder: Path, damage: str
) -> None:
    pulled(server, folder, signing_key)
    state = folder / ".slipway" / "state.json"
    document = next((folder / ".slipway").glob("document-*"))
    if damage == "cut":
        state.write_bytes(state.read_bytes()[:100])
    elif damage == "no json":
        state.write_text("[]")
    elif damage == "other version":
        state.write_text(state.read_text().replace('"version": 1', '"version": 2', 1))
    elif damage == "document":
        document.write_bytes(document.read_bytes() + b"x")
    else:
        document.unlink()
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "mirror-state"
    shutil.rmtree(folder / ".slipway")
    assert pulled(server, folder, signing_key).fetched == ()


def test_two_pulls_into_one_folder_do_not_mix(
    server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    with MirrorFolder(folder) as tree, tree.locked(), pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    assert caught.value.code == "mirror-busy"
    pulled(server, folder, signing_key)


def test_what_cannot_fit_is_refused_before_the_first_byte(
    upstream: Mirror,
    server: MirrorServer,
    signing_key: SigningKey,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MirrorFolder, "free_bytes", lambda self: 1000)
    with pytest.raises(Problem) as caught:
        pulled(server, folder, signing_key)
    needed = sum({i.sha256: i.size for i in upstream.newest()}.values())
    assert caught.value.code == "mirror-full"
    assert (caught.value.expected, caught.value.got) == (f"{needed} bytes", "1000 bytes free")
    assert all(request.path.endswith(".sjson") for request in server.log)


def test_a_disk_that_fills_up_is_said_and_the_rest_goes_on_later(
    upstream: Mirror,
    server: MirrorServer,
    signing_key: SigningKey,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: object, data: object) -> None:
        raise StoreFull("disk", needed=77, free=5)

    with monkeypatch.context() as patched:
        patched.setattr("webapp.storage.files.FileWriter.write", full)
        with pytest.raises(Problem) as caught:
            pulled(server, folder, signing_key)
    assert (caught.value.code, caught.value.got) == ("mirror-full", "5 bytes free")
    assert tree_of(folder) == {}
    pulled(server, folder, signing_key)
    assert tree_of(folder) == files_of(upstream) | documents_of(upstream)


def test_a_folder_that_cannot_be_made_is_said(
    server: MirrorServer, signing_key: SigningKey, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem) as caught:
        pulled(server, tmp_path / "file" / "mirror", signing_key)
    assert caught.value.code == "mirror-folder"


def test_where_files_cannot_have_two_names_they_are_copied(
    mirror: Mirror,
    mirror_server: MirrorServer,
    signing_key: SigningKey,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    pulled(mirror_server, folder, signing_key)
    assert tree_of(folder) == files_of(mirror) | documents_of(mirror)


def test_a_stop_is_heard_and_the_next_pull_goes_on(
    tmp_path: Path, signing_key: SigningKey, folder: Path
) -> None:
    upstream = make_small(tmp_path / "big", signing_key, sizes={"squashfs": 2_000_000}, jitter=0)
    with MirrorServer(upstream) as server:
        server.set_faults([Fault(path="squashfs$", stall=(1_000_000, 600))])
        squashfs = squashfs_of(upstream)
        has_come = threading.Event()

        def look(progress: Progress) -> None:
            if progress.path == squashfs and progress.bytes_done > 500_000:
                has_come.set()

        with pytest.raises(Stopped):
            pulled(
                server,
                folder,
                signing_key,
                on_progress=look,
                is_stopped=has_come.is_set,
                limits=Limits(read_s=600),
            )
        assert squashfs not in tree_of(folder)
        server.set_faults()
        server.reset()
        pulled(server, folder, signing_key)
        assert tree_of(folder) == files_of(upstream) | documents_of(upstream)
        [request] = server.requests(squashfs)
        assert request.status == 206
        assert request.sent < 1_500_000


KILLED = """
import sys
from pathlib import Path
from webapp.mirror import pull
from webapp.streams.keyrings import read_keyring
pull(sys.argv[1], Path(sys.argv[2]), read_keyring(sys.argv[3]))
"""


def test_kill_9_loses_nothing_that_came(
    tmp_path: Path, signing_key: SigningKey, folder: Path
) -> None:
    sizes = {"squashfs": 3_000_000}
    upstream = make_small(tmp_path / "big", signing_key, sizes=sizes, jitter=0)
    squashfs = squashfs_of(upstream)
    with MirrorServer(upstream) as server:
        server.set_faults([Fault(path="squashfs$", stall=(2_000_000, 600), first=1)])
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, server.source_url, str(folder), str(upstream.keyring)]
        )
        partial = folder / ".slipway/store/partial" / f"{upstream.sha256[squashfs]}.part"
        for _ in range(600):
            if partial.exists() and partial.stat().st_size > 1_500_000:
                break
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        had = partial.stat().st_size
        server.reset()
        pulled(server, folder, signing_key)
        assert tree_of(folder) == files_of(upstream) | documents_of(upstream)
        assert sum(r.sent for r in server.requests(squashfs)) == 3_000_000 - had
    assert not list((folder / ".slipway").glob("new-*"))
    assert hashlib.sha256((folder / squashfs).read_bytes()).hexdigest() == upstream.sha256[squashfs]


# -- the command


def run(*args: str) -> Any:
    return CliRunner().invoke(mirror_group, ["pull", *args])


def test_the_command_pulls_and_says_what_it_did(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    args = [server.source_url, str(folder), "--keyring", str(upstream.keyring)]
    planned = run(*args, "--dry-run", "--filter", "ftype=squashfs")
    assert planned.exit_code == 0
    assert squashfs_of(upstream) in planned.output
    assert "Would fetch 1 file " in planned.output
    assert not folder.exists()

    done = run(*args, "--max", "2")
    assert done.exit_code == 0
    assert f"Fetched {len(upstream.items())} files" in done.output
    assert signing_key.fingerprint in done.output

    again = run(*args, "--max", "2")
    assert "Unchanged" in again.output

    fewer = run(*args, "--filter", "ftype=squashfs")
    assert "--prune removes them" in fewer.output
    pruned = run(*args, "--filter", "ftype=squashfs", "--prune")
    assert "Removed" in pruned.output
    assert set(tree_of(folder)) == {squashfs_of(upstream), *documents_of(upstream)}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"--filter": "nonsense"}, "filter-invalid"),
        ({"--keyring": "/nowhere/keyring.gpg"}, None),
        ({"--proxy": "socks5://127.0.0.1:1"}, "http-proxy"),
        ({"--ca-file": "/nowhere/ca.pem"}, "http-tls"),
    ],
)
def test_the_command_ends_in_a_problem_that_main_prints(
    upstream: Mirror,
    server: MirrorServer,
    folder: Path,
    changes: dict[str, str],
    code: str | None,
) -> None:
    options = {"--keyring": str(upstream.keyring), **changes}
    args = [part for pair in options.items() for part in pair]
    result = run(server.source_url, str(folder), *args)
    assert isinstance(result.exception, Problem)
    assert code in (None, result.exception.code)
    assert not folder.exists()
