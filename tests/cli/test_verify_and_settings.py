# SPDX-License-Identifier: Apache-2.0
"""Help, verify and settings: real processes, their output and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.cli.shell import Shell, commands, refused
from tests.mirror.maker import Mirror
from tests.support import signed
from webapp.cli.main import cli
from webapp.config import setting_fields

# -- help


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
    for words in (("nope",), ("verify",), ("status", "--jso"), ("user", "create")):
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
        (documents / "index.json", good, "isn't signed"),
        (page, good, "HTML page"),
        (tmp_path / "nowhere", good, "doesn't exist"),
        (tmp_path, good, ""),
        (documents / "index.sjson", page, "public key"),
        (documents / "index.sjson", tmp_path / "nowhere", "doesn't exist"),
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
    table = slipway("setting", **env)
    rows = json.loads(slipway("setting", "--json", **env).stdout)
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
    for words in (("setting",), ("run",), ("db", "upgrade")):
        sentence = refused(slipway(*words, SLIPWAY_WEB_BIND="5240"))
        assert "SLIPWAY_WEB_BIND" in sentence
        assert "'5240'" in sentence


def test_a_setting_that_there_is_not_is_pointed_out(slipway: Shell) -> None:
    done = slipway("setting", SLIPWAY_WEBBIND="127.0.0.1:1")
    assert done.returncode == 0
    assert done.stderr == "slipway: unknown setting SLIPWAY_WEBBIND ignored\n"


def test_a_proxys_password_may_come_from_standard_input_and_is_not_shown(slipway: Shell) -> None:
    for address in ("http://me:canary@p:3128/", "http://me:***@p:3128/"):
        done = slipway("setting", "set", "http_proxy", "-", stdin=f"{address}\n")
        assert (done.returncode, done.stdout) == (0, "http_proxy: http://me:***@p:3128/\n")
    for words in (("setting", "live"), ("setting",), ("doctor",), ("event",), ("status",)):
        done = slipway(*words)
        assert "canary" not in done.stdout + done.stderr
    shown = slipway("setting", "set", "http_proxy", "http://me:***@q:3128/")
    assert "again" in shown.stderr
