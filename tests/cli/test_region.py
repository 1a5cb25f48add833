# SPDX-License-Identifier: Apache-2.0
"""The database, processes, status and mirror commands."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from pathlib import Path

import click
import pytest
from flask import Flask

from tests.cli.shell import Shell, commands, refused
from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from tests.support.live import wait_until
from webapp.cli.main import cli
from webapp.extensions import db
from webapp.models import RunState, utcnow

# -- the database


def test_the_database_goes_up_down_and_up_again(slipway: Shell, empty_database_url: str) -> None:
    slipway.env["SLIPWAY_DATABASE_URL"] = empty_database_url
    assert "slipway db upgrade" in refused(slipway("status"))
    assert slipway("db", "upgrade").returncode == 0
    assert slipway("status").returncode == 0
    assert slipway.answered("n\n", "db", "downgrade", "base")[0] == 130
    assert "again with --yes" in refused(slipway("db", "downgrade", "base", stdin="y\n"))
    assert slipway("db", "downgrade", "base", "--yes").returncode == 0
    assert "slipway db upgrade" in refused(slipway("status"))
    assert "revision" in refused(slipway("db", "upgrade", "nonsense"))
    assert slipway("db", "upgrade").returncode == 0


def test_a_database_that_does_not_answer_is_a_sentence_without_its_password(
    slipway: Shell,
) -> None:
    url = "postgresql://slipway:hunter2@127.0.0.1:1/slipway"
    for words in (("status",), ("run",), ("worker",)):
        sentence = refused(slipway(*words, SLIPWAY_DATABASE_URL=url))
        assert "The database can't be used." in sentence
        assert "hunter2" not in sentence


def test_a_folder_that_cannot_be_written_is_a_sentence(slipway: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = refused(slipway("status", SLIPWAY_DATA_DIR=str(tmp_path / "file" / "data")))
    assert "data folder" in sentence


# -- processes


def test_a_plane_on_a_port_in_use_is_a_sentence(slipway: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "SLIPWAY_WEB_BIND" in refused(slipway("web", SLIPWAY_WEB_BIND=bind))
        assert "SLIPWAY_RACK_BIND" in refused(slipway("rack", SLIPWAY_RACK_BIND=bind))


def test_no_process_starts_on_a_database_with_another_schema(
    slipway: Shell, empty_database_url: str
) -> None:
    for words in ("web", "rack", "worker"):
        done = slipway(words, SLIPWAY_DATABASE_URL=empty_database_url)
        assert "slipway db upgrade" in refused(done)


def test_the_worker_stops_on_request(slipway: Shell) -> None:
    worker = slipway.start("worker")
    wait_until(lambda: "slipway" in Path(f"/proc/{worker.pid}/cmdline").read_text(), "a start")
    # It may be importing its modules yet, where a signal ends it as any program.
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) in (0, -signal.SIGTERM)


# -- status
SOURCE_KEYS = {
    "id", "url", "name", "priority", "is_enabled", "is_unsigned", "checked_at", "refreshed_at",
    "index_updated_at", "signer", "state", "error",
}  # fmt: skip
IMAGE_KEYS = {
    "name", "arch", "title", "status", "cause", "next_step", "percent", "stored_version", "label",
    "kernels", "size", "source", "is_unsigned", "is_uploaded", "is_bootloader", "completed_at",
    "is_pinned", "is_locked", "update", "priority", "pinned_version",
}  # fmt: skip
RUN_KEYS = {
    "id", "state", "trigger", "phase", "hold", "queued_at", "started_at", "finished_at",
    "bytes_total", "bytes_done", "bytes_per_s", "sets_published", "summary", "failures",
}  # fmt: skip


def test_status_of_an_empty_region(slipway: Shell) -> None:
    report = json.loads(slipway("status", "--json").stdout)
    assert report == {
        "sources": [],
        "images": [],
        "run": None,
        "last_run": None,
        "is_importing": False,
        "stored_bytes": 0,
        "free_bytes": report["free_bytes"],
        "problems": report["problems"],
        "version": report["version"],
    }
    assert report["free_bytes"] > 0
    assert [one["code"] for one in report["problems"]] == ["images-missing"]
    shown = slipway("status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Import: none yet" in shown.stdout
    assert "! No images are stored yet" in shown.stdout
    warned = slipway("doctor").stdout
    assert "warn  images: No images are stored yet" in warned
    assert "Next: Add a boot source" in warned


def test_status_tells_versions_sources_runs_and_problems(slipway: Shell, region: Flask) -> None:
    source = factories.boot_source(
        url="http://[::1]/a:smile:/",
        error_code="http-timeout",
        error_what="The mirror [red]does not[/red] answer.",
        error_next_step="Check that it runs.",
        checked_at=utcnow(),
        refreshed_at=utcnow(),
    )
    factories.selection(source, arches=["amd64", "arm64"])
    factories.cache_entry(source, version="20260106")
    factories.cache_entry(source, version="20260106", arch="arm64")
    factories.boot_resource({"squashfs": b"x" * 1000}, source_id=source.id)
    factories.import_run(state=RunState.PARTIAL, summary="1 image is stored.")
    factories.import_run(state=RunState.QUEUED, finished_at=None)

    report = json.loads(slipway("status", "--json").stdout)
    assert {key for row in report["sources"] for key in row} == SOURCE_KEYS
    assert {key for row in report["images"] for key in row} == IMAGE_KEYS
    assert set(report["run"]) == set(report["last_run"]) == RUN_KEYS
    versions = {row["arch"]: row["stored_version"] for row in report["images"]}
    assert versions == {"amd64": "20260105", "arm64": None}
    assert report["is_importing"] is True
    assert report["stored_bytes"] == 1000
    assert [p["what"] for p in report["problems"]] == ["The mirror [red]does not[/red] answer."]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*", report["sources"][0]["refreshed_at"])

    shown = slipway("status").stdout
    for words in (
        "! The mirror [red]does not[/red] answer.",
        "Check that it runs.",
        "http://[::1]/a:smile:/",
        "http-timeout",
        "20260105",
        "Import: queued",
    ):
        assert words in shown


# -- mirror


def test_mirror_pull_brings_a_stream_whole_and_verified(
    slipway: Shell, mirror: Mirror, mirror_server: MirrorServer, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    words = ("mirror", "pull", mirror_server.source_url, folder, "--keyring", mirror.keyring)
    planned = slipway(*words, "--dry-run")
    assert planned.returncode == 0
    assert not folder.exists() or not list(folder.rglob("*.sjson"))
    done = slipway(*words)
    assert (done.returncode, done.stderr) == (0, "")
    index = "streams/v1/index.sjson"
    assert (folder / index).read_bytes() == (mirror.stream / index).read_bytes()
    for item in mirror.newest():
        assert (folder / item.path).stat().st_size == item.size
    assert slipway("verify", folder / index, "--keyring", mirror.keyring).returncode == 0


def test_mirror_pull_with_another_key_stores_nothing(
    slipway: Shell, mirror: Mirror, mirror_server: MirrorServer, tmp_path: Path
) -> None:
    other = tmp_path / "other.gpg"
    other.write_bytes(signed.new_key("Somebody else <else@example.test>").public)
    folder = tmp_path / "copy"
    done = slipway("mirror", "pull", mirror_server.source_url, folder, "--keyring", other)
    assert "key" in refused(done)
    assert not [path for path in folder.rglob("*") if path.suffix in (".sjson", ".json")]


def test_ctrl_c_in_mirror_pull_leaves_nothing_half_and_the_next_one_continues(
    slipway: Shell, mirror: Mirror, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    with MirrorServer(mirror, rate=12_000) as slow:
        words = ("mirror", "pull", slow.source_url, folder, "--keyring", mirror.keyring)
        pull = slipway.start(*words)
        wait_until(
            lambda: any("/streams/" not in request.path for request in slow.log_now()),
            "the pull downloads",
            alive=lambda: pull.poll() is None,
        )
        pull.send_signal(signal.SIGINT)
        out, err = pull.communicate(timeout=30)
    assert pull.returncode == 130, err.decode()
    assert err.decode() == "slipway: interrupted. Run the same command again to resume.\n"
    assert out == b""
    assert not (folder / "streams/v1/index.sjson").exists()
    with MirrorServer(mirror) as server:
        done = slipway("mirror", "pull", server.source_url, folder, "--keyring", mirror.keyring)
    assert (done.returncode, done.stderr) == (0, "")
    for item in mirror.newest():
        assert (folder / item.path).stat().st_size == item.size


# -- what nobody foresaw


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.cli import main as module
    from webapp.cli import system

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(system, "loaded_settings", fail)
    monkeypatch.setattr(sys, "argv", ["slipway", "setting"])
    with pytest.raises(ZeroDivisionError):
        module.main()


def test_a_misspelt_data_folder_does_not_become_a_second_system(
    slipway: Shell, tmp_path: Path
) -> None:
    typo = tmp_path / "typo"
    env = {"SLIPWAY_DATA_DIR": str(typo), "SLIPWAY_DATABASE_URL": f"sqlite:///{typo}/slipway.db"}
    done = slipway("status", **env)
    assert done.returncode == 1
    assert "SLIPWAY_DATA_DIR" in done.stderr
    assert not typo.exists()


# What prints bytes of its own kind, or has nothing to tell a program.
NO_JSON = {
    "run",
    "web",
    "rack",
    "rack serve",
    "racks serve",
    "worker",
    "verify",
    "completion",
    "db upgrade",
    "db downgrade",
}


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_every_command_speaks_json(words: tuple[str, ...]) -> None:
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    if isinstance(command, click.Group) or " ".join(words) in NO_JSON:
        return
    options = {name for param in command.params for name in param.opts}
    assert options & {"--json", "--format"}


def test_products_that_are_confirmed_later_join_those_of_before(
    slipway: Shell, region: Flask
) -> None:
    source = factories.boot_source(url="http://mirror.example/", is_unsigned=True)
    source.differences = [{"product": "c:3", "is_listed": True}]
    source.error_code = "stream-mixed"
    db.session.commit()
    for words in (("--confirm", "a:1", "--confirm", "b:2"), ("--confirm", "c:3")):
        done = slipway("source", "change", str(source.id), *words)
        assert done.returncode == 0, done.stderr
    db.session.refresh(source)
    assert source.confirmed_products == ["a:1", "b:2", "c:3"]
    assert re.search(r"c:3 +index", slipway("source", "show", str(source.id)).stdout)
