# SPDX-License-Identifier: Apache-2.0
"""The table of commands: what each start imports, how help reads, and which spellings work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from webapp.cli.groups import Table, first_sentence
from webapp.cli.main import COMMANDS, FIELDS, cli, sentence
from webapp.config import ROOT
from webapp.errors import InvalidFields

MAX_MODULES_OF_OURS = 7
HEAVY = {
    "alembic", "cryptography", "flask", "gunicorn", "huey", "jinja2", "pydantic", "requests",
    "rich", "sqlalchemy", "structlog", "urllib3", "werkzeug",
}  # fmt: skip
TEXTS = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "templates").rglob("*.html"),
    *(ROOT / "webapp").rglob("*.py"),
]


def imported(*words: str | Path) -> set[str]:
    """The modules in memory after a command ended, in a process of its own."""
    script = (
        "import sys\nfrom webapp.cli.main import main\n"
        f"sys.argv = {['slipway', *map(str, words)]!r}\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "import json; print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stderr))


def shown(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that help lists, with the words that a person types."""
    listed = [row[0] for row in COMMANDS.shown()] if group is cli else group.commands
    for name in listed:
        command = group.commands[name]
        if not command.hidden:
            yield (*names, name), command
        if isinstance(command, click.Group) and not command.hidden:
            yield from shown(command, *names, name)


def find(*words: str) -> click.Command | None:
    """The command of these words, in any spelling."""
    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group) or word not in command.commands:
            return None
        command = command.commands[word]
    return command


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["completion", "bash"]], ids=" ".join)
def test_help_imports_no_library_but_click(words: list[str]) -> None:
    modules = imported(*words)
    assert {name.partition(".")[0] for name in modules} & (HEAVY - {"rich"}) == set()
    if words == ["--help"]:
        assert "rich" not in modules
        assert len([m for m in modules if m.startswith("webapp")]) <= MAX_MODULES_OF_OURS


def test_help_of_a_group_imports_no_library_but_click() -> None:
    for group in ("source", "image", "upload", "mirror", "user"):
        assert {name.partition(".")[0] for name in imported(group, "--help")} & HEAVY == set()


def test_a_mirror_pull_imports_neither_flask_nor_the_database(
    shared_mirror: Mirror, tmp_path: Path
) -> None:
    with MirrorServer(shared_mirror) as server:
        modules = imported(
            "mirror", "pull", server.source_url, tmp_path, "--keyring", shared_mirror.keyring
        )
    found = {name.partition(".")[0] for name in modules}
    assert found & (HEAVY - {"requests", "urllib3"}) == set()
    assert "requests" in found


def test_the_table_has_the_help_of_each_command() -> None:
    assert isinstance(cli.commands, Table)
    for name, words in COMMANDS.shown():
        assert first_sentence(COMMANDS[name]) == words
        assert COMMANDS[name].name == name


def test_help_lines_are_whole_and_short() -> None:
    for words, command in shown(cli):
        line = first_sentence(command)
        assert 0 < len(line) <= 64, (words, line)
        assert "…" not in line + str(command.help), words
        assert not line.endswith("..."), words


def test_every_former_spelling_works_and_help_does_not_list_it() -> None:
    for former, now in (
        ("sources list", "source list"),
        ("images list", "image list"),
        ("images plan", "import plan"),
        ("image plan", "import plan"),
        ("imports start", "import start"),
        ("uploads list", "upload list"),
        ("uploads drop", "upload discard"),
        ("uploads declare", "upload change"),
        ("users create", "user create"),
        ("tokens list", "token list"),
        ("keys list", "key list"),
        ("events list", "event list"),
        ("settings set", "setting set"),
        ("mirrors pull", "mirror pull"),
        ("admin create", "user create"),
        ("admin password", "user password"),
        ("admin users", "user list"),
        ("admin change", "user change"),
        ("admin reset-two-factor", "user reset-two-factor"),
        ("admin apikey", "key create"),
        ("admin apikeys", "key list"),
        ("admin revoke-apikey", "key revoke"),
        ("admin token", "token create"),
        ("admin tokens", "token list"),
        ("admin revoke-token", "token revoke"),
    ):
        old, new = find(*former.split()), find(*now.split())
        assert old is not None, former
        assert new is not None, now
        assert old.callback is new.callback
    listed = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:")[2]
    assert not re.search(r"^ +(sources|images|uploads|admin|events|settings) ", listed, re.M)
    assert "drop" not in CliRunner().invoke(cli, ["upload", "--help"]).output


@pytest.mark.parametrize(
    ("words", "means"),
    [
        (["upload", "web.tgz", "--nonsense"], "upload send"),
        (["upload", "--name", "web"], "upload send"),
        (["uploads", "web.tgz", "--nonsense"], "upload send"),
        (["event", "--limit", "x"], "event list"),
        (["events", "--limit", "x"], "event list"),
        (["settings", "--nonsense"], "setting list"),
    ],
)
def test_a_group_with_one_main_command_needs_no_word_for_it(words: list[str], means: str) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert f"Usage: cli {words[0]} {means.partition(' ')[2]} " in done.output


def test_an_upload_without_words_shows_help() -> None:
    assert "Upload custom images." in CliRunner().invoke(cli, ["upload"]).output


def test_completion_offers_the_visible_commands_without_importing_them() -> None:
    context = click.Context(cli)
    found = {item.value for item in cli.shell_complete(context, "s")}
    assert found == {"status", "source", "setting", "store"}


def test_every_spelling_in_a_text_is_a_command_that_help_lists() -> None:
    """What pages, errors and docs tell people to run exists, in its present spelling."""
    known = {" ".join(words) for words, _ in shown(cli)}
    groups = {" ".join(words) for words, command in shown(cli) if isinstance(command, click.Group)}
    wrong = []
    for path in TEXTS:
        if path == ROOT / "webapp" / "cli" / "admin.py":
            continue
        for found in re.finditer(r"[`> ]slipway ([a-z]+)(?: ([a-z][a-z-]+))?", path.read_text()):
            first, second = found.groups()
            context = path.read_text()[found.start() : found.start() + 1]
            is_code = context == "`" or (path.suffix == ".md" and first in known)
            if not is_code and first not in ("admin", "images", "uploads", "settings", "events"):
                continue
            full = f"{first} {second}" if second else first
            is_default = first in ("upload", "event", "setting")
            if first not in known or (first in groups and full not in known and not is_default):
                wrong.append(f"{path.relative_to(ROOT)}: slipway {full}")
    assert wrong == []


def test_fields_have_the_names_that_a_person_types() -> None:
    problem = InvalidFields({"auth_secret": ["Too long."], "__all__": ["Choose."], "x_y": ["No."]})
    assert sentence(problem) == "--secret-file: Too long. Choose. No."
    assert not [label for label in FIELDS.values() if "_" in label]
