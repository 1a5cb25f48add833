# SPDX-License-Identifier: Apache-2.0
"""The command line as people and scripts run it: real processes, their output and exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask import Flask

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from tests.support.live import SLIPWAY, wait_until
from webapp.cli.main import cli
from webapp.config import setting_fields
from webapp.extensions import db
from webapp.models import Role, RunState, utcnow
from webapp.services.accounts import keys, users

PASSWORD = "correct horse battery staple"
Done = subprocess.CompletedProcess[str]


@dataclass
class Shell:
    """Runs ``slipway`` with the variables of one test."""

    env: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __call__(self, *args: str | Path, stdin: str | bytes = "", **env: str) -> Done:
        """Run to the end."""
        text = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [SLIPWAY, *map(str, args)],
            env={**self.env, **env},
            input=text,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def start(self, *args: str | Path) -> subprocess.Popen[bytes]:
        """Start and let run, as a shell with job control does."""
        process = subprocess.Popen(
            [SLIPWAY, *map(str, args)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process


@pytest.fixture
def slipway(environ: dict[str, str]) -> Iterator[Shell]:
    """``slipway`` on a migrated database of this test's own."""
    plain = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    shell = Shell({**plain, **environ, "COLUMNS": "80"})
    yield shell
    for process in shell.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def refused(done: Done) -> str:
    """The one sentence of a command that did not work."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("slipway: ")
    return lines[0].removeprefix("slipway: ")


# -- help


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*names, name)
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)


@pytest.mark.parametrize("words", [(), *commands(cli)], ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        shown = CliRunner().invoke(cli, [*words, flag])
        assert shown.exit_code == 0
        assert "Usage:" in shown.output
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.help
    if command.params and not isinstance(command, click.Group):
        assert re.search(r"Examples?:\n +(\w+=\S+ )?slipway ", shown.output), shown.output
    for param in command.params:
        assert not isinstance(param, click.Option) or param.help, param.name


def test_what_is_typed_wrongly_ends_with_2_and_says_how_to_go_on(slipway: Shell) -> None:
    for words in (("nope",), ("verify",), ("status", "--jso"), ("admin", "create")):
        done = slipway(*words)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "--help" in done.stderr
    assert slipway("--version").stdout.startswith("slipway, version ")


# -- verify


@pytest.fixture
def documents(shared_mirror: Mirror) -> Path:
    return shared_mirror.stream / "streams" / "v1"


def test_verify_prints_what_was_signed_byte_for_byte(
    slipway: Shell, shared_mirror: Mirror, documents: Path
) -> None:
    for keyring in (shared_mirror.keyring, shared_mirror.keyring_armored):
        done = slipway("verify", documents / "index.sjson", "--keyring", keyring)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["format"] == "index:1.0"
    with signed.Home(shared_mirror.key.secret) as home:
        signature = home.run(
            "--detach-sign", "--armor", data=(documents / "index.json").read_bytes()
        )
    detached = documents.parent / "detached.gpg"
    detached.write_bytes(signature)
    done = slipway("verify", documents / "index.json", "--detached", detached, "--keyring", keyring)
    assert done.stdout == (documents / "index.json").read_text()


def test_verify_says_in_one_sentence_why_not_and_prints_nothing(
    slipway: Shell, shared_mirror: Mirror, documents: Path, tmp_path: Path
) -> None:
    altered = tmp_path / "altered.sjson"
    text = (documents / "index.sjson").read_text()
    altered.write_text(text.replace("index:1.0", "index:1.1"))
    other = tmp_path / "other.gpg"
    other.write_bytes(signed.new_key("Somebody else <else@example.test>").public)
    page = tmp_path / "page.html"
    page.write_text("<html>sign in</html>")
    good = shared_mirror.keyring
    for file, keyring, words in (
        (altered, good, "changed after it was signed"),
        (documents / "index.sjson", other, "key"),
        (documents / "index.json", good, "not signed"),
        (page, good, "HTML page"),
        (tmp_path / "nowhere", good, "does not exist"),
        (tmp_path, good, ""),
        (documents / "index.sjson", page, "public key"),
        (documents / "index.sjson", tmp_path / "nowhere", "does not exist"),
    ):
        assert words in refused(slipway("verify", file, "--keyring", keyring))


# -- settings


def test_settings_lists_every_one_with_its_origin_and_masks_secrets(
    slipway: Shell, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    env = {
        "SLIPWAY_DATABASE_URL": "postgresql://slipway:hunter2@db.example.test/slipway?password=p",
        "SLIPWAY_SECRET_KEY_FILE": str(secret),
        "SLIPWAY_WEB_BIND": "[::1]:5240",
        "SLIPWAY_SECRET_KEY": "",
    }
    table = slipway("settings", **env)
    rows = json.loads(slipway("settings", "--json", **env).stdout)
    assert [row["name"] for row in rows] == [f"SLIPWAY_{f.name.upper()}" for f in setting_fields()]
    assert all(set(row) == {"name", "value", "origin", "help"} for row in rows)
    for row in rows:
        line = next(x for x in table.stdout.splitlines() if x.startswith(f"{row['name']} "))
        assert row["value"] in line
        assert row["help"] in line
    shown = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert shown["SLIPWAY_WEB_BIND"] == ("[::1]:5240", "environment")
    assert shown["SLIPWAY_SECRET_KEY"] == ("********", f"file {secret}")
    assert shown["SLIPWAY_DATABASE_URL"][0] == (
        "postgresql://slipway:********@db.example.test/slipway?********"
    )
    for secret_text in ("hunter2", "from a file", "password=p"):
        assert secret_text not in table.stdout + json.dumps(rows)


def test_a_wrong_setting_stops_every_command_with_a_sentence(slipway: Shell) -> None:
    for words in (("settings",), ("run",), ("db", "upgrade")):
        sentence = refused(slipway(*words, SLIPWAY_WEB_BIND="5240"))
        assert "SLIPWAY_WEB_BIND" in sentence
        assert "'5240'" in sentence


def test_a_setting_that_there_is_not_is_pointed_out(slipway: Shell) -> None:
    done = slipway("settings", SLIPWAY_WEBBIND="127.0.0.1:1")
    assert done.returncode == 0
    assert done.stderr == "slipway: there is no setting SLIPWAY_WEBBIND; it is ignored\n"


# -- the database


def test_the_database_goes_up_down_and_up_again(slipway: Shell, empty_database_url: str) -> None:
    slipway.env["SLIPWAY_DATABASE_URL"] = empty_database_url
    assert "slipway db upgrade" in refused(slipway("status"))
    assert slipway("db", "upgrade").returncode == 0
    assert slipway("status").returncode == 0
    assert slipway("db", "downgrade", "base", stdin="n\n").returncode == 130
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
        assert "The database cannot be used." in sentence
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


def test_no_process_starts_on_a_database_of_another_shape(
    slipway: Shell, empty_database_url: str
) -> None:
    for words in ("web", "rack", "worker"):
        done = slipway(words, SLIPWAY_DATABASE_URL=empty_database_url)
        assert "slipway db upgrade" in refused(done)


def test_the_worker_stops_when_it_is_told_to(slipway: Shell) -> None:
    worker = slipway.start("worker")
    wait_until(lambda: "slipway" in Path(f"/proc/{worker.pid}/cmdline").read_text(), "a start")
    # It may be importing its modules yet, where a signal ends it as any program.
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) in (0, -signal.SIGTERM)


# -- users and keys


def test_a_user_is_created_from_standard_input(slipway: Shell, region: Flask) -> None:
    done = slipway("admin", "create", "Ada", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (done.returncode, done.stdout) == (0, "Created administrator ada.\n")
    done = slipway("admin", "create", "bob", "--role", "viewer", "--password-stdin", stdin=PASSWORD)
    assert (done.returncode, done.stdout) == (0, "Created viewer bob.\n")
    assert {u.username: u.role for u in users.list_users()} == {
        "ada": Role.ADMINISTRATOR,
        "bob": Role.VIEWER,
    }


def test_a_user_who_is_there_is_left_as_they_are(slipway: Shell, region: Flask) -> None:
    before = factories.user("ada", role=Role.VIEWER).password_hash
    done = slipway("admin", "create", "ADA", "--password-stdin", stdin=PASSWORD)
    sentence = refused(done)
    assert "There is a user ada already (viewer)." in sentence
    assert "slipway admin apikey ada" in sentence
    db.session.expire_all()
    assert [(u.role, u.password_hash) for u in users.list_users()] == [(Role.VIEWER, before)]


def test_a_name_or_password_that_is_no_good_is_refused(slipway: Shell, region: Flask) -> None:
    for name, password, words in (
        ("ada", "", "password: Use at least 8 characters"),
        ("ada", "password123", "too common"),
        ("ada", b"\xff\xfe long enough to be one", "not UTF-8"),
        ("a b", PASSWORD, "username: Use 1 to 150 letters"),
    ):
        done = slipway("admin", "create", "--password-stdin", "--", name, stdin=password)
        assert words in refused(done)
    assert not users.has_users()


def test_without_a_terminal_the_password_must_come_from_standard_input(slipway: Shell) -> None:
    done = slipway("admin", "create", "ada", stdin=PASSWORD)
    assert done.returncode == 2
    assert "--password-stdin" in done.stderr


class Terminal:
    """A person at a terminal: sees prompts, types answers that are not shown."""

    def __init__(self, env: dict[str, str], *args: str) -> None:
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.execve(SLIPWAY, ["slipway", *args], env)
        self.seen = ""

    def expect(self, words: str) -> None:
        """Read until these words are on the screen, after what was seen before."""
        while words not in self.seen:
            self.seen += self._read()
        self.seen = self.seen.partition(words)[2]

    def type(self, text: str) -> None:
        os.write(self.handle, text.encode())

    def end(self) -> tuple[int, str]:
        """Exit code, and what was on the screen since the last expected words."""
        while text := self._read():
            self.seen += text
        os.close(self.handle)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.seen

    def _read(self) -> str:
        try:
            return os.read(self.handle, 1000).decode()
        except OSError:  # how a pseudo terminal says that nobody is left
            return ""


def test_a_person_is_asked_twice_and_again_when_the_password_is_no_good(
    slipway: Shell, region: Flask
) -> None:
    terminal = Terminal(slipway.env, "admin", "create", "ada")
    for password, again, next_words in (
        ("short", "short", "at least 8 characters"),
        (PASSWORD, "something else", "do not match"),
        (PASSWORD, PASSWORD, "Created administrator ada."),
    ):
        terminal.expect("Password: ")
        terminal.type(f"{password}\n")
        terminal.expect("Repeat for confirmation: ")
        terminal.type(f"{again}\n")
        terminal.expect(next_words)
        assert PASSWORD not in terminal.seen
    assert terminal.end()[0] == 0
    assert [user.username for user in users.list_users()] == ["ada"]


def test_ctrl_c_at_the_prompt_makes_nobody(slipway: Shell, region: Flask) -> None:
    terminal = Terminal(slipway.env, "admin", "create", "ada")
    terminal.expect("Password: ")
    terminal.type("\x03")
    code, seen = terminal.end()
    assert code == 130
    assert "Traceback" not in seen
    assert not users.has_users()


def test_a_key_is_printed_alone_and_works(slipway: Shell, region: Flask) -> None:
    user = factories.user("ada", role=Role.OPERATOR)
    done = slipway("admin", "apikey", "Ada", "--label", "terraform")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[A-Za-z0-9]+:[A-Za-z0-9]+:[A-Za-z0-9]+\n", done.stdout)
    assert keys.check_api_key(*done.stdout.strip().split(":")) == user
    assert "User not found." in refused(slipway("admin", "apikey", "nobody"))
    assert "name:" in refused(slipway("admin", "apikey", "ada", "--label", "x" * 101))


# -- status


SOURCE_KEYS = {
    "id", "url", "name", "priority", "is_enabled", "is_unsigned", "checked_at", "refreshed_at",
    "index_updated_at", "signer", "error",
}  # fmt: skip
IMAGE_KEYS = {
    "name", "arch", "title", "status", "cause", "next_step", "percent", "stored_version", "label",
    "kernels", "size", "source", "is_unsigned", "is_uploaded", "is_bootloader", "completed_at",
}  # fmt: skip
RUN_KEYS = {
    "id", "state", "trigger", "phase", "queued_at", "started_at", "finished_at", "bytes_total",
    "bytes_done", "bytes_per_s", "sets_published", "summary", "failures",
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
        "problems": [],
        "version": report["version"],
    }
    assert report["free_bytes"] > 0
    shown = slipway("status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Import: none so far" in shown.stdout


def test_status_tells_versions_sources_runs_and_problems(slipway: Shell, region: Flask) -> None:
    source = factories.boot_source(
        url="http://[::1]/a:smile:/",
        error_code="http-timeout",
        error_what="The mirror [red]does not[/red] answer.",
        error_next_step="Check that it runs.",
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
        "Import: waits for the worker",
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


def test_ctrl_c_in_mirror_pull_leaves_nothing_half_and_the_next_one_goes_on(
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
    assert err.decode().strip() == "slipway: stopped."
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
    monkeypatch.setattr(sys, "argv", ["slipway", "settings"])
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
NO_JSON = {"run", "web", "rack", "worker", "verify", "completion", "db upgrade", "db downgrade"}


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


def test_keys_and_tokens_are_made_listed_and_revoked(slipway: Shell) -> None:
    made = slipway("admin", "create", "ada", "--password-stdin", "--json", stdin=PASSWORD)
    assert json.loads(made.stdout) == {"id": 1, "username": "ada", "role": "administrator"}
    key = json.loads(slipway("admin", "apikey", "ada", "--json").stdout)["key"]
    token = slipway("admin", "token", "ada", "--scope", "read", "--days", "7").stdout.strip()
    keys = json.loads(slipway("admin", "apikeys", "ada", "--json").stdout)
    tokens = json.loads(slipway("admin", "tokens", "ada", "--json").stdout)
    assert [row["consumer_key"] for row in keys] == [key.split(":")[0]]
    assert [(row["hint"], row["scopes"]) for row in tokens] == [(token[:10], ["read"])]
    assert "Revoked" in slipway("admin", "revoke-apikey", "ada", str(keys[0]["id"])).stdout
    assert "Revoked" in slipway("admin", "revoke-token", "ada", str(tokens[0]["id"])).stdout
    assert "has no API key" in slipway("admin", "apikeys", "ada").stdout
    assert "has no token" in slipway("admin", "tokens", "ada").stdout
    gone = slipway("admin", "revoke-token", "ada", "99")
    assert (gone.returncode, "There is no such token" in gone.stderr) == (1, True)
    changed = slipway("admin", "change", "ada", "--role", "viewer")
    assert "last administrator" in changed.stderr
    assert "ada" in slipway("admin", "users").stdout


def test_a_password_is_changed_on_the_command_line(slipway: Shell, region: Flask) -> None:
    slipway("admin", "create", "ada", "--password-stdin", stdin=PASSWORD)
    short = slipway("admin", "password", "ada", "--password-stdin", stdin="x")
    assert short.returncode == 1
    done = slipway("admin", "password", "ada", "--password-stdin", stdin="another " + PASSWORD)
    assert done.stdout == "Changed the password of ada.\n"
    assert slipway("admin", "password", "bo", "--password-stdin", stdin=PASSWORD).returncode == 1
