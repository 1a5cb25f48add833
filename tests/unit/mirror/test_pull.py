# SPDX-License-Identifier: Apache-2.0
"""Pulling a stream into a folder: what comes, and what an unchanged one costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.mirror.pulling import documents_of, files_of, pulled, squashfs_of, tree_of
from webapp.cli.mirror import mirror_group
from webapp.errors import Problem
from webapp.mirror import PullProgress
from webapp.mirror.folder import MirrorFolder
from webapp.streams.filters import parse_filter

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
    pulled(mirror_server, folder, signing_key, filters=filters, keeps_loaders=False)
    chosen = mirror.newest(release="noble", arch="amd64")
    assert tree_of(folder) == files_of(mirror, chosen) | documents_of(mirror)

    report = pulled(
        mirror_server, folder, signing_key, filters=filters, keeps_loaders=False, max_versions=0
    )
    chosen = mirror.items(release="noble", arch="amd64")
    assert tree_of(folder) == files_of(mirror, chosen) | documents_of(mirror)
    assert report.kept
    assert not report.is_unchanged


def test_a_dry_run_changes_nothing_and_lists_what_would_come(
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
    seen: list[PullProgress] = []
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
    assert "Would download 1 file " in planned.output
    assert not folder.exists()

    done = run(*args, "--max", "2")
    assert done.exit_code == 0
    assert f"Downloaded {len(upstream.items())} files" in done.output
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
