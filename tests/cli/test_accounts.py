# SPDX-License-Identifier: Apache-2.0
"""Users, keys, tokens and passwords on the command line."""

from __future__ import annotations

import json
import os
import pty
import re

from flask import Flask

from tests.cli.shell import Shell, refused
from tests.support import factories
from tests.support.live import SLIPWAY
from webapp.extensions import db
from webapp.models import Role
from webapp.services.accounts import keys, tokens, users
from webapp.services.accounts.rights import Scope

PASSWORD = "correct horse battery staple"


# -- users and keys


def test_a_user_is_created_from_standard_input(slipway: Shell, region: Flask) -> None:
    done = slipway("user", "create", "Ada", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (done.returncode, done.stdout) == (0, "Created administrator ada.\n")
    done = slipway("user", "create", "bob", "--role", "viewer", "--password-stdin", stdin=PASSWORD)
    assert (done.returncode, done.stdout) == (0, "Created viewer bob.\n")
    assert {u.username: u.role for u in users.list_users()} == {
        "ada": Role.ADMINISTRATOR,
        "bob": Role.VIEWER,
    }


def test_a_user_who_is_there_is_left_as_they_are(slipway: Shell, region: Flask) -> None:
    before = factories.user("ada", role=Role.VIEWER).password_hash
    done = slipway("user", "create", "ADA", "--password-stdin", stdin=PASSWORD)
    sentence = refused(done)
    assert "User ada already exists (viewer)." in sentence
    assert "slipway key create ada" in sentence
    db.session.expire_all()
    assert [(u.role, u.password_hash) for u in users.list_users()] == [(Role.VIEWER, before)]


def test_a_name_or_password_that_is_no_good_is_refused(slipway: Shell, region: Flask) -> None:
    for name, password, words in (
        ("ada", "", "Password: Use at least 8 characters"),
        ("ada", "password123", "too common"),
        ("ada", b"\xff\xfe long enough to be one", "isn't UTF-8 text"),
        ("a b", PASSWORD, "User name: Use 1 to 150 letters"),
    ):
        done = slipway("user", "create", "--password-stdin", "--", name, stdin=password)
        assert words in refused(done)
    assert not users.has_users()


def test_without_a_terminal_the_password_must_come_from_standard_input(slipway: Shell) -> None:
    done = slipway("user", "create", "ada", stdin=PASSWORD)
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
    terminal = Terminal(slipway.env, "user", "create", "ada")
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


def test_ctrl_c_at_the_prompt_makes_no_user(slipway: Shell, region: Flask) -> None:
    terminal = Terminal(slipway.env, "user", "create", "ada")
    terminal.expect("Password: ")
    terminal.type("\x03")
    code, seen = terminal.end()
    assert code == 130
    assert "Traceback" not in seen
    assert not users.has_users()


def test_a_key_is_printed_alone_and_works(slipway: Shell, region: Flask) -> None:
    user = factories.user("ada", role=Role.OPERATOR)
    done = slipway("key", "create", "Ada", "--label", "terraform")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[A-Za-z0-9]+:[A-Za-z0-9]+:[A-Za-z0-9]+\n", done.stdout)
    key = keys.check_api_key(*done.stdout.strip().split(":"))
    assert key
    assert key.user == user
    assert "User not found." in refused(slipway("key", "create", "nobody"))
    assert "Name:" in refused(slipway("key", "create", "ada", "--label", "x" * 101))


# -- what nobody foresaw


def test_keys_and_tokens_are_made_listed_and_revoked(slipway: Shell) -> None:
    made = slipway("user", "create", "ada", "--password-stdin", "--json", stdin=PASSWORD)
    assert json.loads(made.stdout) == {"id": 1, "username": "ada", "role": "administrator"}
    key = json.loads(slipway("key", "create", "ada", "--json").stdout)["key"]
    token = slipway("token", "create", "ada", "--scope", "read", "--days", "7").stdout.strip()
    keys = json.loads(slipway("key", "list", "ada", "--json").stdout)
    tokens = json.loads(slipway("token", "list", "ada", "--json").stdout)
    assert [row["consumer_key"] for row in keys] == [key.split(":")[0]]
    assert [(row["hint"], row["scopes"]) for row in tokens] == [(token[:10], ["read"])]
    assert "Revoked" in slipway("key", "revoke", "ada", str(keys[0]["id"])).stdout
    assert "Revoked" in slipway("token", "revoke", "ada", str(tokens[0]["id"])).stdout
    assert "has no API keys" in slipway("key", "list", "ada").stdout
    assert "has no tokens" in slipway("token", "list", "ada").stdout
    gone = slipway("token", "revoke", "ada", "99")
    assert (gone.returncode, "token" in gone.stderr) == (1, True)
    changed = slipway("user", "change", "ada", "--role", "viewer")
    assert "last administrator" in changed.stderr
    assert "ada" in slipway("user", "list").stdout


def test_a_password_is_changed_on_the_command_line(slipway: Shell, region: Flask) -> None:
    slipway("user", "create", "ada", "--password-stdin", stdin=PASSWORD)
    short = slipway("user", "password", "ada", "--password-stdin", stdin="x")
    assert short.returncode == 1
    done = slipway("user", "password", "ada", "--password-stdin", stdin="another " + PASSWORD)
    assert done.stdout == "Changed the password of ada.\n"
    assert slipway("user", "password", "bo", "--password-stdin", stdin=PASSWORD).returncode == 1


def test_a_new_password_asks_what_becomes_of_keys_and_tokens(slipway: Shell, region: Flask) -> None:
    user = factories.user("ada", role=Role.ADMINISTRATOR)
    keys.create_api_key(user, "x")
    tokens.create(user, "x", ["read"])
    change = ("user", "password", "ada", "--password-stdin")
    asked = slipway(*change, stdin=PASSWORD)
    assert asked.returncode == 2
    assert "ada has 1 API key and 1 API token; use --revoke-access or" in asked.stderr
    assert slipway(*change, "--keep-access", stdin=PASSWORD).returncode == 0
    assert len(keys.of_user(user.id)) == 1
    done = slipway(*change, "--revoke-access", stdin="another " + PASSWORD)
    assert "Revoked 1 API key and 1 API token." in done.stdout
    assert [*keys.of_user(user.id), *tokens.of_user(user.id)] == []
    keys.create_api_key(user, "x")
    terminal = Terminal(slipway.env, "user", "password", "ada")
    for words, answer in (("Password: ", PASSWORD), ("confirmation: ", PASSWORD), ("[Y/n]: ", "")):
        terminal.expect(words)
        terminal.type(f"{answer}\n")
    terminal.expect("Revoked 1 API key.")
    assert terminal.end()[0] == 0
    assert keys.of_user(user.id) == []


def test_the_command_line_keeps_a_user_whom_a_token_created(slipway: Shell, region: Flask) -> None:
    owner = factories.user("ada", role=Role.ADMINISTRATOR)
    row, _ = tokens.create(owner, "ci", list(Scope))
    bo = factories.user("bo", parent_id=row.id)
    assert "--keep" in slipway("user", "change", "bo").stderr
    assert slipway("user", "change", "bo", "--keep").returncode == 0
    db.session.refresh(bo)
    assert bo.parent_id is None


def test_a_user_is_deleted_once_it_was_confirmed(slipway: Shell, region: Flask) -> None:
    factories.user("root", role=Role.ADMINISTRATOR)
    factories.user("bo")
    assert "with --yes" in refused(slipway("user", "delete", "bo"))
    assert users.user_named("bo")
    assert slipway("user", "delete", "bo", "--yes").stdout == "Deleted bo.\n"
    assert [user.username for user in users.list_users()] == ["root"]
