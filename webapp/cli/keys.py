# SPDX-License-Identifier: Apache-2.0
"""API keys and tokens of users, made, listed and revoked on the command line."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import output
from webapp.cli.context import app_context


@click.command("apikey")
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
    from webapp.services.accounts import keys, users

    with app_context():
        key = keys.create_api_key(users.user_named(name), label)
    output.say({"key": key}, as_json, key)


@click.command("apikeys")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_apikeys(name: str, as_json: bool) -> None:
    """List the API keys of a user; secrets are not kept, so they are not shown.

    \b
    Examples:
      slipway admin apikeys ada
    """
    from webapp.services.accounts import keys, users

    with app_context():
        rows: list[dict[str, Any]] = [
            {
                "id": key.id,
                "name": key.name,
                "consumer_key": key.consumer_key,
                "created_at": key.created_at.isoformat(),
                "used_at": key.used_at.isoformat() if key.used_at else None,
            }
            for key in keys.of_user(users.user_named(name).id)
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


@click.command("revoke-apikey")
@click.argument("name")
@click.argument("key_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_revoke_apikey(name: str, key_id: int, as_json: bool) -> None:
    """Revoke an API key of a user; what uses it is refused from now on.

    \b
    Examples:
      slipway admin revoke-apikey ada 3
    """
    from webapp.services.accounts import keys, users

    with app_context():
        keys.revoke_api_key(users.user_named(name), key_id)
    output.say({"revoked": key_id}, as_json, f"Revoked API key {key_id} of {name}.")


@click.command("token")
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
    from webapp.services.accounts import tokens, users

    chosen = list(tokens.Scope) if "all" in scopes else list(scopes)
    with app_context():
        _, token = tokens.create(users.user_named(name), label, chosen, days=days)
    output.say({"token": token, "scopes": [str(scope) for scope in chosen]}, as_json, token)


@click.command("tokens")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_tokens(name: str, as_json: bool) -> None:
    """List the bearer tokens of a user.

    \b
    Examples:
      slipway admin tokens ada
    """
    from webapp.services.accounts import tokens, users

    with app_context():
        rows: list[dict[str, Any]] = [
            {
                "id": row.id,
                "name": row.name,
                "hint": row.hint,
                "scopes": row.scopes,
                "expires_at": row.expires_at.isoformat() if row.expires_at else None,
            }
            for row in tokens.of_user(users.user_named(name).id)
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


@click.command("revoke-token")
@click.argument("name")
@click.argument("token_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def admin_revoke_token(name: str, token_id: int, as_json: bool) -> None:
    """Revoke a bearer token of a user; what uses it is refused from now on.

    \b
    Examples:
      slipway admin revoke-token ada 3
    """
    from webapp.services.accounts import tokens, users

    with app_context():
        tokens.revoke(users.user_named(name), token_id)
    output.say({"revoked": token_id}, as_json, f"Revoked token {token_id} of {name}.")


COMMANDS = (
    admin_apikey,
    admin_apikeys,
    admin_revoke_apikey,
    admin_token,
    admin_tokens,
    admin_revoke_token,
)
