# SPDX-License-Identifier: Apache-2.0
"""``slipway admin``: users and their keys, for whoever has a shell on this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from webapp.cli_context import app_context
from webapp.commands import output
from webapp.commands.client import Api, talks
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
    from webapp.services import accounts

    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --password-stdin.")
    with app_context():
        try:
            known = accounts.user_named(name)
        except NotFound:
            user = _created(name, Role(role), password_stdin)
            made = {"id": user.id, "username": user.username, "role": str(user.role)}
            _say(made, as_json, f"Created {user.role} {user.username}.")
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
    from webapp.services import accounts

    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --password-stdin.")
    with app_context():
        user = accounts.user_named(name)
        password = _read_password() if password_stdin else _asked_password()
        accounts.set_password(user, password)
        words = f"Changed the password of {user.username}."
        _say({"username": user.username}, as_json, words)


@admin.command("apikey")
@click.argument("name")
@click.option("--label", default="command line", show_default=True, help="What the key is for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_apikey(name: str, label: str, as_json: bool) -> None:
    """Make an API key for a user and print it: consumer:token:secret, shown this once.

    \b
    Examples:
      slipway admin apikey ada
      maas login lab http://localhost:5240/MAAS/ "$(slipway admin apikey ada)"
    """
    from webapp.services import accounts

    with app_context():
        key = accounts.create_api_key(accounts.user_named(name), label)
    _say({"key": key}, as_json, key)


@admin.command("apikeys")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_apikeys(name: str, as_json: bool) -> None:
    """List the API keys of a user; secrets are not kept, so they are not shown.

    \b
    Examples:
      slipway admin apikeys ada
    """
    from webapp.services import accounts, api_keys

    with app_context():
        rows: list[dict[str, Any]] = [
            {
                "id": key.id,
                "name": key.name,
                "consumer_key": key.consumer_key,
                "created_at": key.created_at.isoformat(),
                "used_at": key.used_at.isoformat() if key.used_at else None,
            }
            for key in api_keys.of_user(accounts.user_named(name).id)
        ]
    if as_json:
        output.print_json(rows)
        return
    output.print_table(
        ("ID", "What for", "Begins with", "Made", "Used"),
        [
            (
                str(row["id"]),
                row["name"],
                row["consumer_key"],
                output.time(row["created_at"]),
                output.time(row["used_at"]),
            )
            for row in rows
        ],
        empty=f"{name} has no API key. Next: slipway admin apikey {name}",
    )


@admin.command("revoke-apikey")
@click.argument("name")
@click.argument("key_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_revoke_apikey(name: str, key_id: int, as_json: bool) -> None:
    """Revoke an API key of a user; what uses it is refused from now on.

    \b
    Examples:
      slipway admin revoke-apikey ada 3
    """
    from webapp.services import accounts

    with app_context():
        accounts.revoke_api_key(accounts.user_named(name), key_id)
    _say({"revoked": key_id}, as_json, f"Revoked API key {key_id} of {name}.")


@admin.command("token")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read",),
    show_default=True,
    type=click.Choice(["read", "import", "upload", "admin", "all"]),
    help="What it may do, at most what the user may; can be given several times.",
)
@click.option("--label", default="command line", show_default=True, help="What it is for.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it ends by itself.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_token(
    name: str, scopes: tuple[str, ...], label: str, days: int | None, as_json: bool
) -> None:
    """Make a bearer token of /api/v1 for a user and print it, this once.

    \b
    Examples:
      slipway admin token ada --scope all > token
      slipway admin token ci --scope read --scope import --days 90
    """
    from webapp.services import accounts, api_tokens

    chosen = list(api_tokens.Scope) if "all" in scopes else list(scopes)
    with app_context():
        _, token = api_tokens.create(accounts.user_named(name), label, chosen, days=days)
    _say({"token": token, "scopes": [str(scope) for scope in chosen]}, as_json, token)


@admin.command("tokens")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_tokens(name: str, as_json: bool) -> None:
    """List the bearer tokens of a user.

    \b
    Examples:
      slipway admin tokens ada
    """
    from webapp.services import accounts, api_tokens

    with app_context():
        rows: list[dict[str, Any]] = [
            {
                "id": row.id,
                "name": row.name,
                "hint": row.hint,
                "scopes": row.scopes,
                "expires_at": row.expires_at.isoformat() if row.expires_at else None,
            }
            for row in api_tokens.of_user(accounts.user_named(name).id)
        ]
    if as_json:
        output.print_json(rows)
        return
    output.print_table(
        ("ID", "What for", "Begins with", "Scopes", "Ends"),
        [
            (
                str(row["id"]),
                row["name"],
                row["hint"],
                " ".join(row["scopes"]),
                output.time(row["expires_at"]) if row["expires_at"] else "never",
            )
            for row in rows
        ],
        empty=f"{name} has no token. Next: slipway admin token {name}",
    )


@admin.command("revoke-token")
@click.argument("name")
@click.argument("token_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_revoke_token(name: str, token_id: int, as_json: bool) -> None:
    """Revoke a bearer token of a user; what uses it is refused from now on.

    \b
    Examples:
      slipway admin revoke-token ada 3
    """
    from webapp.services import accounts, api_tokens

    with app_context():
        api_tokens.revoke(accounts.user_named(name), token_id)
    _say({"revoked": token_id}, as_json, f"Revoked token {token_id} of {name}.")


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
    from webapp.services import accounts, two_factor

    with app_context():
        user = accounts.user_named(name)
        is_removed = two_factor.reset(user)
        words = (
            f"Removed the second factor of {user.username}."
            if is_removed
            else f"{user.username} had no second factor."
        )
    _say({"removed": is_removed}, as_json, words)


def _say(value: Any, as_json: bool, words: str) -> None:
    if as_json:
        output.print_json(value)
    else:
        click.echo(words)
