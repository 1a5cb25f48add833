# SPDX-License-Identifier: Apache-2.0
"""``slipway admin``: users and their keys, for whoever has a shell on this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, talks
from webapp.cli.context import app_context
from webapp.cli.keys import COMMANDS
from webapp.errors import InvalidFields, Problem

ASKED = 3  # how often a person may choose another password


@click.group("admin")
def admin() -> None:
    """Users and their keys."""


@admin.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["administrator", "operator", "viewer"]),
    default="administrator",
    show_default=True,
    help="A viewer sees; an operator also imports; an administrator does all.",
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_create(name: str, role: str, password_stdin: bool, as_json: bool) -> None:
    """Create a user.

    \b
    Examples:
      slipway admin create ada
      slipway admin create ci --role operator --password-stdin < password.txt
    """
    from webapp.errors import NotFound
    from webapp.models import Role
    from webapp.services.accounts import users

    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --password-stdin.")
    with app_context():
        try:
            known = users.user_named(name)
        except NotFound:
            user = _created(name, Role(role), password_stdin)
            made = {"id": user.id, "username": user.username, "role": str(user.role)}
            output.say(made, as_json, f"Created {user.role} {user.username}.")
        else:
            raise Problem(
                f"There is a user {known.username} already ({known.role}).",
                next_step=f"`slipway admin apikey {known.username}` makes a key for it; "
                "its role and password are changed on the Users page.",
            )


def _created(name: str, role: Any, from_stdin: bool) -> Any:
    """Make the user; a person may choose another password when one is no good."""
    from webapp.services.accounts import users

    tries = 1 if from_stdin else ASKED
    for left in reversed(range(tries)):
        password = _read_password() if from_stdin else _asked_password()
        try:
            return users.create_user(name, password, role)
        except InvalidFields as problem:
            if not left or set(problem.fields) != {"password"}:
                raise
            click.echo(" ".join(problem.fields["password"]), err=True)
    raise AssertionError("the last try returned or raised")


def _read_password() -> str:
    line = sys.stdin.buffer.readline()
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Problem("The password on standard input is not UTF-8 text.") from None


def _asked_password() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@admin.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_password(name: str, password_stdin: bool, as_json: bool) -> None:
    """Give a user another password; all of the user's sessions end.

    \b
    Examples:
      slipway admin password ada
      slipway admin password ci --password-stdin < password.txt
    """
    from webapp.services.accounts import users

    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --password-stdin.")
    with app_context():
        user = users.user_named(name)
        password = _read_password() if password_stdin else _asked_password()
        users.set_password(user, password)
        words = f"Changed the password of {user.username}."
        output.say({"username": user.username}, as_json, words)


@admin.command("users")
@talks
def admin_users(api: Api, as_json: bool) -> None:
    """List the users.

    \b
    Examples:
      slipway admin users
    """
    found = api.get("/users")
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("ID", "User", "Role", "State", "Last sign-in"),
        [
            (
                str(u["id"]),
                u["username"],
                u["role"],
                "active" if u["is_active"] else "off",
                output.time(u["last_login_at"]),
            )
            for u in found["items"]
        ],
        empty="No user yet. Next: slipway admin create NAME",
    )


@admin.command("change")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["administrator", "operator", "viewer"]),
    help="What the user may do from now on.",
)
@click.option("--on/--off", "is_active", default=None, help="Let the user in, or keep them out.")
@talks
def admin_change(
    name: str, role: str | None, is_active: bool | None, api: Api, as_json: bool
) -> None:
    """Change a user's role, or keep the user out.

    \b
    Examples:
      slipway admin change bo --role operator
      slipway admin change bo --off
    """
    body = {k: v for k, v in (("role", role), ("is_active", is_active)) if v is not None}
    if not body:
        raise click.UsageError("nothing to change: give --role, --on or --off")
    found = [u for u in api.get("/users")["items"] if u["username"] == name.lower()]
    if not found:
        raise Problem(f"There is no user {name}.", next_step="`slipway admin users` lists all.")
    changed = api.call("PATCH", f"/users/{found[0]['id']}", body)
    if as_json:
        output.print_json(changed)
    else:
        click.echo(f"{changed['username']} is {changed['role']} now"
                   f"{'' if changed['is_active'] else ', and kept out'}.")  # fmt: skip


@admin.command("reset-two-factor")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_reset_two_factor(name: str, as_json: bool) -> None:
    """Remove the second factor of a user who lost it; the password alone is enough then.

    \b
    Examples:
      slipway admin reset-two-factor ada
    """
    from webapp.services.accounts import two_factor, users

    with app_context():
        user = users.user_named(name)
        is_removed = two_factor.reset(user)
        words = (
            f"Removed the second factor of {user.username}."
            if is_removed
            else f"{user.username} had no second factor."
        )
    output.say({"removed": is_removed}, as_json, words)


for command in COMMANDS:
    admin.add_command(command)
