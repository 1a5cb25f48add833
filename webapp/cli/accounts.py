# SPDX-License-Identifier: Apache-2.0
"""``slipway user``: manage users; no password is needed on the machine itself."""

from __future__ import annotations

import sys
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.cli.context import app_context
from webapp.cli.groups import Group
from webapp.errors import InvalidFields, Problem

MAX_TRIES = 3  # for a person to choose an acceptable password
_NO_TERMINAL = "There's no terminal for the password prompt. Use --password-stdin."


@click.group("user", cls=Group)
def user_group() -> None:
    """Manage users."""


@user_group.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["administrator", "operator", "viewer"]),
    default="administrator",
    show_default=True,
    help="Viewers read; operators also select and import images; administrators do everything.",
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create_user(name: str, role: str, password_stdin: bool, as_json: bool) -> None:
    """Create a user.

    \b
    Examples:
      slipway user create ada
      slipway user create ci --role operator --password-stdin < password.txt
    """
    from webapp.errors import NotFound
    from webapp.models import Role
    from webapp.services.accounts import users

    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError(_NO_TERMINAL)
    with app_context():
        try:
            known = users.user_named(name)
        except NotFound:
            user = _created(name, Role(role), password_stdin)
            made = {"id": user.id, "username": user.username, "role": str(user.role)}
            output.result(made, as_json, f"Created {user.role} {user.username}.")
        else:
            raise Problem(
                f"User {known.username} already exists ({known.role}).",
                next_step="To change the role or password, use `slipway user change` or "
                f"`slipway user password`; `slipway key create {known.username}` "
                "creates an API key.",
            )


def _user_named(api: Api, name: str) -> dict[str, Any]:
    for user in api.get("/users")["items"]:
        if user["username"] == name.lower():
            return dict(user)
    raise Problem(f"There's no user {name}.", next_step="`slipway user list` lists them.")


def _created(name: str, role: Any, from_stdin: bool) -> Any:
    """Create the user; a person can choose another password if one is refused."""
    from webapp.services.accounts import users

    tries = 1 if from_stdin else MAX_TRIES
    for left in reversed(range(tries)):
        password = _read_password() if from_stdin else output.ask_password()
        try:
            return users.create_user(name, password, role)
        except InvalidFields as problem:
            if not left or set(problem.fields) != {"password"}:
                raise
            output.line(" ".join(problem.fields["password"]), err=True)
    raise AssertionError("the last try returned or raised")


def _read_password() -> str:
    line = sys.stdin.buffer.readline()
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Problem("The password on standard input isn't UTF-8 text.") from None


@user_group.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--revoke-access/--keep-access",
    "is_revoked",
    default=None,
    help="Also revoke API keys and tokens, or keep them. Asks by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def set_password(name: str, password_stdin: bool, is_revoked: bool | None, as_json: bool) -> None:
    """Change a user's password and sign them out everywhere.

    \b
    Examples:
      slipway user password ada
      slipway user password ci --password-stdin --revoke-access < password.txt
    """
    from webapp.services.accounts import credentials, users

    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError(_NO_TERMINAL)
    with app_context():
        user = users.user_named(name)
        access = credentials.in_words(user.id)
        if access and is_revoked is None and password_stdin:
            raise click.UsageError(
                f"{user.username} has {access}; use --revoke-access or --keep-access"
            )
        password = _read_password() if password_stdin else output.ask_password()
        if access and is_revoked is None:
            is_revoked = output.ask(f"Also revoke {access}?")
        revoked = users.set_password(user, password, is_access_revoked=bool(is_revoked))
        words = f"Changed the password of {user.username}."
        if revoked:
            words += f" Revoked {access}."
        output.result({"username": user.username, "revoked": revoked}, as_json, words)


@user_group.command("list")
@with_api
def list_users(api: Api, as_json: bool) -> None:
    """List users.

    \b
    Examples:
      slipway user list
    """
    found = api.get("/users")
    output.listing(
        found,
        as_json,
        ("ID", "User", "Role", "State", "Last sign-in"),
        [
            (
                str(u["id"]),
                u["username"],
                u["role"],
                "active" if u["is_active"] else "disabled",
                output.time(u["last_login_at"]),
            )
            for u in found["items"]
        ],
        empty="No users yet. Next: slipway user create NAME",
    )


@user_group.command("change")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["administrator", "operator", "viewer"]),
    help="New role.",
)
@click.option("--on/--off", "is_active", default=None, help="Enable or disable the user.")
@click.option(
    "--keep",
    "is_kept",
    is_flag=True,
    default=None,
    help="Keep a user whom a token created, even when the token ends. Only on this machine.",
)
@click.option("--code", default="", help="Your second factor's code, with --url.")
@with_api
def change_user(
    name: str,
    role: str | None,
    is_active: bool | None,
    is_kept: bool | None,
    code: str,
    api: Api,
    as_json: bool,
) -> None:
    """Change a user's role, or enable, disable or keep the user.

    \b
    Examples:
      slipway user change bo --role operator
      slipway user change bo --off
    """
    sent = {"role": role, "is_active": is_active, "is_kept": is_kept}
    body = {name: value for name, value in sent.items() if value is not None}
    if not body:
        raise click.UsageError("nothing to change; use --role, --on, --off or --keep")
    user_id = _user_named(api, name)["id"]
    headers = {"Slipway-Code": code} if code else {}
    changed = api.call("PATCH", f"/users/{user_id}", body, headers=headers)
    if as_json:
        output.print_json(changed)
    else:
        state = "enabled" if changed["is_active"] else "disabled"
        output.line(f"{changed['username']}: {changed['role']}, {state}.")


@user_group.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--code", default="", help="Your second factor's code, with --url.")
@with_api
def delete_user(name: str, yes: bool, code: str, api: Api, as_json: bool) -> None:
    """Delete a user with their sessions, API keys and tokens.

    \b
    Examples:
      slipway user delete bo
    """
    found = _user_named(api, name)
    if not yes:
        output.confirm(f"Delete {found['username']}? This can't be undone.")
    headers = {"Slipway-Code": code} if code else {}
    api.call("DELETE", f"/users/{found['id']}", headers=headers)
    output.result({"deleted": found["username"]}, as_json, f"Deleted {found['username']}.")


@user_group.command("reset-two-factor")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reset_two_factor(name: str, as_json: bool) -> None:
    """Remove a lost second factor, so the password alone is enough.

    \b
    Examples:
      slipway user reset-two-factor ada
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
    output.result({"removed": is_removed}, as_json, words)
