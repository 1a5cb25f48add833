# SPDX-License-Identifier: Apache-2.0
"""``slipway admin``: users and their keys, for whoever has a shell on this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from webapp.cli_context import app_context
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
def admin_create(name: str, role: str, password_stdin: bool) -> None:
    """Create a user.

    \b
    Examples:
      slipway admin create ada
      slipway admin create ci --role operator --password-stdin < password.txt
    """
    from webapp.errors import NotFound
    from webapp.models import Role
    from webapp.services import accounts

    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --password-stdin.")
    with app_context():
        try:
            known = accounts.user_named(name)
        except NotFound:
            user = _created(name, Role(role), password_stdin)
            click.echo(f"Created {user.role} {user.username}.")
        else:
            raise Problem(
                f"There is a user {known.username} already ({known.role}).",
                next_step=f"`slipway admin apikey {known.username}` makes a key for it; "
                "its role and password are changed on the Users page.",
            )


def _created(name: str, role: Any, from_stdin: bool) -> Any:
    """Make the user; a person may choose another password when one is no good."""
    from webapp.services import accounts

    tries = 1 if from_stdin else ASKED
    for left in reversed(range(tries)):
        password = _read_password() if from_stdin else _asked_password()
        try:
            return accounts.create_user(name, password, role)
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


@admin.command("apikey")
@click.argument("name")
@click.option("--label", default="command line", show_default=True, help="What the key is for.")
def admin_apikey(name: str, label: str) -> None:
    """Make an API key for a user and print it: consumer:token:secret, shown this once.

    \b
    Examples:
      slipway admin apikey ada
      maas login lab http://localhost:5240/MAAS/ "$(slipway admin apikey ada)"
    """
    from webapp.services import accounts

    with app_context():
        click.echo(accounts.create_api_key(accounts.user_named(name), label))


@admin.command("reset-two-factor")
@click.argument("name")
def admin_reset_two_factor(name: str) -> None:
    """Remove the second factor of a user who lost it; the password alone is enough then.

    \b
    Examples:
      slipway admin reset-two-factor ada
    """
    from webapp.services import accounts, two_factor

    with app_context():
        user = accounts.user_named(name)
        if two_factor.reset(user):
            click.echo(f"Removed the second factor of {user.username}.")
        else:
            click.echo(f"{user.username} had no second factor.")
