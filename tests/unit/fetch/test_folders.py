# SPDX-License-Identifier: Apache-2.0
"""``file:`` URLs: what is below an allowed folder is read as from a server, and nothing else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from webapp.fetch import Fetched, Fetcher, FetchProblem, Folders, NotModified, Route, Stopped
from webapp.storage.base import BlobWriter, Check
from webapp.storage.filesystem import FilesystemStore

DATA = bytes(range(256)) * 2000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed folder with one file, beside one that isn't allowed."""
    folder = tmp_path / "allowed"
    (folder / "streams").mkdir(parents=True)
    (folder / "streams" / "x").write_bytes(DATA)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "x").write_bytes(b"secret")
    return folder


@pytest.fixture
def fetcher(root: Path) -> Fetcher:
    return Fetcher(Route(), files=Folders((root,)))


def refused(fetcher: Fetcher, url: str) -> FetchProblem:
    with pytest.raises(FetchProblem) as caught:
        fetcher.metadata(url)
    return caught.value


def test_a_document_is_read_once_per_state(root: Path, fetcher: Fetcher) -> None:
    url = f"file://{root}/streams/x"
    found = fetcher.metadata(url)
    assert isinstance(found, Fetched)
    assert (found.content, found.url) == (DATA, url)
    assert isinstance(fetcher.metadata(url, etag=found.etag), NotModified)
    (root / "streams" / "x").write_bytes(b"other")
    again = fetcher.metadata(url, etag=found.etag)
    assert isinstance(again, Fetched)
    assert again.content == b"other"


def test_head_and_speed(root: Path, fetcher: Fetcher) -> None:
    assert fetcher.head(f"file://{root}/streams/x").size == len(DATA)
    assert fetcher.head(f"file://{root}/streams/y").status == 404
    assert fetcher.measure(f"file://{root}/streams/x", max_bytes=1000, total_s=5) > 0


def test_a_download_resumes(root: Path, fetcher: Fetcher, tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "store")
    store.prepare(create=True)
    digest = hashlib.sha256(DATA).hexdigest()
    with store.writer(digest, len(DATA)) as writer:
        writer.write(DATA[:100_000])
    seen: list[int] = []

    def open_writer(check: Check) -> BlobWriter:
        return store.writer(digest, len(DATA), check)

    url = f"file://{root}/streams/x"
    fetcher.download(url, open_writer, size=len(DATA), on_bytes=seen.append)
    assert min(seen) > 100_000
    assert store.verify(digest)


def test_wrong_bytes_are_refused(root: Path, fetcher: Fetcher, tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "store")
    store.prepare(create=True)
    url, size = f"file://{root}/streams/x", len(DATA)
    with pytest.raises(FetchProblem) as caught:
        fetcher.download(url, lambda check: store.writer("0" * 64, size, check), size=size)
    assert caught.value.code == "hash-mismatch"
    with pytest.raises(FetchProblem) as caught:
        fetcher.download(url, lambda check: store.writer("0" * 64, size + 1, check), size=size + 1)
    assert caught.value.code == "size-mismatch"


def test_a_stop_is_heard(root: Path) -> None:
    stopped = Fetcher(Route(), files=Folders((root,)), is_stopped=lambda: True)
    with pytest.raises(Stopped):
        stopped.metadata(f"file://{root}/streams/x")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/streams/../../secret",
        "/%2e%2e/secret",
        "/streams/%2e%2e/%2e%2e/secret",
        "-not/x",
        "/out",
        "/outside/secret",
        "/streams/x%00",
    ],
)
def test_nothing_leads_out(path: str, root: Path, fetcher: Fetcher) -> None:
    (root / "out").symlink_to(root.parent / "secret")
    (root / "outside").symlink_to("..")
    problem = refused(fetcher, f"file://{root}{path}")
    assert problem.code == "folder-refused"
    assert str(root) in problem.expected


def test_the_reason_is_said(root: Path, fetcher: Fetcher) -> None:
    (root / "outside").symlink_to("..")
    dots = refused(fetcher, f"file://{root}/%2e%2e/secret")
    assert (dots.got, dots.next_step) == (
        "a path with '.', '..' or a NUL",
        "Enter the path without them.",
    )
    link = refused(fetcher, f"file://{root}/outside/secret")
    assert link.got == f"a link to {root.parent}/secret"
    elsewhere = refused(fetcher, f"file://{root}-not/x")
    assert (elsewhere.got, "SLIPWAY_FILE_SOURCES" in elsewhere.next_step) == ("", True)


def test_names_that_begin_with_dots_are_names(root: Path, fetcher: Fetcher) -> None:
    (root / "..data").mkdir()
    (root / "..data" / "x").write_bytes(DATA)
    found = fetcher.metadata(f"file://{root}/..data/x")
    assert isinstance(found, Fetched)
    assert found.content == DATA


def test_links_that_stay_inside_are_followed(root: Path, fetcher: Fetcher) -> None:
    (root / "current").symlink_to("streams")
    (root.parent / "named").symlink_to(root)
    for path in (root / "current" / "x", root.parent / "named" / "streams" / "x"):
        found = fetcher.metadata(f"file://{path}")
        assert isinstance(found, Fetched)
        assert found.content == DATA


def test_only_regular_files_are_read(root: Path, fetcher: Fetcher) -> None:
    os.mkfifo(root / "pipe")
    for name in ("pipe", "streams", ""):
        problem = refused(fetcher, f"file://{root}/{name}")
        assert (problem.code, problem.expected) == ("folder-unreadable", "a regular file")


def test_what_is_missing_is_said_in_words(root: Path, fetcher: Fetcher) -> None:
    for name in ("nothing", "streams/x/y"):
        problem = refused(fetcher, f"file://{root}/{name}")
        assert (problem.what, problem.status) == ("The file isn't in the folder.", 404)


def test_without_an_allowed_folder_no_file_is_read(root: Path) -> None:
    with Fetcher(Route()) as fetcher:
        problem = refused(fetcher, f"FILE://{root}/streams/x")
    assert (problem.code, problem.expected) == ("folder-refused", "a folder below an allowed one")
    assert "SLIPWAY_FILE_SOURCES" in problem.next_step
