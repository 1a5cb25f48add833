# SPDX-License-Identifier: Apache-2.0
"""Updating a mirror: the rest stays, and a bad file changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from tests.unit.mirror.pulling import (
    IMPATIENT,
    INDEX,
    LIMITS,
    documents_of,
    files_of,
    make_small,
    pulled,
    squashfs_of,
    tree_of,
)
from webapp.errors import Problem
from webapp.fetch import Fetcher, Limits
from webapp.mirror.folder import MirrorFolder
from webapp.mirror.model import MirrorProblem
from webapp.storage.filesystem import FilesystemStore
from webapp.streams.filters import parse_filter


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

    report = pulled(server, folder, signing_key, prune_after=timedelta(0))
    assert {file.path for file in report.removed} == gone
    assert report.superseded == ()
    assert tree_of(folder) == files_of(upstream) | documents_of(upstream)
    assert pulled(server, folder, signing_key, prune_after=timedelta(0)).removed == ()


def test_pruning_spares_what_others_changed_or_made(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    pulled(server, folder, signing_key)
    changed = folder / squashfs_of(upstream)
    changed.write_bytes(b"my own build")
    (changed.parent / "notes.txt").write_text("mine")
    upstream.publish_next()
    pulled(server, folder, signing_key, prune_after=timedelta(0))
    assert changed.read_bytes() == b"my own build"
    assert (changed.parent / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("prune", [timedelta(0), None])
def test_filters_that_match_nothing_change_nothing(
    upstream: Mirror,
    server: MirrorServer,
    signing_key: SigningKey,
    folder: Path,
    prune: timedelta | None,
) -> None:
    pulled(server, folder, signing_key)
    before = tree_of(folder)
    with pytest.raises(MirrorProblem) as caught:
        pulled(server, folder, signing_key, filters=[parse_filter("os=ubunut")], prune_after=prune)
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
        pulled(server, folder, signing_key, prune_after=timedelta(0))
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


def problem_of_alone(
    root: str, upstream: Mirror, path: str, folder: Path, limits: Limits
) -> Problem:
    """Why one file cannot be had, as an import would say it."""
    store = FilesystemStore(folder / "store")
    store.prepare(create=True)
    size, sha256 = upstream.sizes[path], upstream.sha256[path]
    with Fetcher(limits=limits) as fetcher, pytest.raises(Problem) as caught:
        fetcher.download(root + path, lambda check: store.writer(sha256, size, check), size=size)
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
    limits = IMPATIENT if fault.keys() & {"drip", "stall", "hang"} else LIMITS
    with pytest.raises(Problem) as caught:
        pulled(server, mine, signing_key, limits=limits)
    assert caught.value.code == "mirror-incomplete"
    assert caught.value.where

    had, has = tree_of(before), tree_of(mine)
    assert has.items() >= had.items(), "all that was good is still there"
    good = files_of(upstream)
    assert bad not in has
    assert all(good[path] == has[path] for path in set(has) - set(had))

    alone = problem_of_alone(server.source_url, upstream, bad, tmp_path, limits)
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
    with pytest.raises(Problem, match="files failed") as caught:
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
