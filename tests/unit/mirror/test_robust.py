# SPDX-License-Identifier: Apache-2.0
"""A pull survives damaged notes, full disks, stops and kill -9."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.mirror.faults import Fault
from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support.partials import stopped_after_the_first_chunk
from tests.support.signed import SigningKey
from tests.unit.mirror.pulling import (
    documents_of,
    files_of,
    make_small,
    pulled,
    squashfs_of,
    tree_of,
)
from webapp.errors import Problem
from webapp.fetch import Limits, Stopped
from webapp.mirror import PullProgress
from webapp.mirror.folder import MirrorFolder
from webapp.mirror.model import MirrorProblem
from webapp.storage.errors import StoreFull
from webapp.storage.filesystem import FilesystemStore


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


def test_a_disk_that_fills_up_is_reported_and_the_rest_continues_later(
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


def test_a_folder_that_cannot_be_made_is_reported(
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


def test_a_stop_is_heard_and_the_next_pull_continues(
    tmp_path: Path, signing_key: SigningKey, folder: Path
) -> None:
    upstream = make_small(tmp_path / "big", signing_key, sizes={"squashfs": 2_000_000}, jitter=0)
    with MirrorServer(upstream) as server:
        server.set_faults([Fault(path="squashfs$", stall=(1_000_000, 600))])
        squashfs = squashfs_of(upstream)
        has_come = threading.Event()

        def check(progress: PullProgress) -> None:
            if progress.path == squashfs and progress.bytes_done > 500_000:
                has_come.set()

        with pytest.raises(Stopped):
            pulled(
                server,
                folder,
                signing_key,
                on_progress=check,
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


def test_a_stop_is_heard_while_what_came_before_is_hashed(
    upstream: Mirror, server: MirrorServer, signing_key: SigningKey, folder: Path
) -> None:
    squashfs = squashfs_of(upstream)
    sha256, size = upstream.sha256[squashfs], upstream.sizes[squashfs]
    server.set_faults([Fault(path="squashfs$", status=404)])
    with pytest.raises(MirrorProblem):
        pulled(server, folder, signing_key)
    server.set_faults()
    with FilesystemStore(folder / ".slipway/store").writer(sha256, size) as writer:
        writer.write(files_of(upstream)[squashfs][:1000])
    stopped = threading.Event()
    with stopped_after_the_first_chunk(stopped.set) as ended, pytest.raises(Stopped):
        pulled(server, folder, signing_key, is_stopped=stopped.is_set)
    assert ended == []
    server.reset()
    pulled(server, folder, signing_key)
    assert [request.range for request in server.requests(squashfs)] == ["bytes=1000-"]
    assert tree_of(folder) == files_of(upstream) | documents_of(upstream)


KILLED = """
import sys
from pathlib import Path
from webapp.mirror import pull
from webapp.trust.keyrings import read_keyring
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
