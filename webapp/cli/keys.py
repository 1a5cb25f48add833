# SPDX-License-Identifier: Apache-2.0
"""``slipway key`` and ``slipway token``: API keys and tokens of users."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import output
from webapp.cli.context import app_context
from webapp.cli.groups import Group


@click.group("key", cls=Group)
def key_group() -> None:
    """Manage API keys for MAAS clients."""


@click.group("token", cls=Group)
def token_group() -> None:
    """Manage API tokens."""


@key_group.command("create")
@click.argument("name")
@click.option("--label", default="command line", show_default=True, help="Name of the key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create_key(name: str, label: str, as_json: bool) -> None:
    """Create an API key for a user and print it once.

    A key has three parts: consumer:token:secret.

    \b
    Examples:
      slipway key create ada
      maas login lab http://localhost:5240/MAAS/ "$(slipway key create ada)"
    """
    from webapp.services.accounts import keys, users

    with app_context():
        key = keys.create_api_key(users.user_named(name), label)
    output.result({"key": key}, as_json, key)


@key_group.command("list")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(name: str, as_json: bool) -> None:
    """List a user's API keys, without their secrets.

    \b
    Examples:
      slipway key list ada
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
    output.listing(
        rows,
        as_json,
        ("ID", "Name", "Prefix", "Created", "Last used"),
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
        empty=f"{name} has no API keys. Next: slipway key create {name}",
    )


@key_group.command("revoke")
@click.argument("name")
@click.argument("key_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke_key(name: str, key_id: int, as_json: bool) -> None:
    """Revoke a user's API key; whatever uses it stops working.

    \b
    Examples:
      slipway key revoke ada 3
    """
    from webapp.services.accounts import keys, users

    with app_context():
        keys.revoke_api_key(users.user_named(name), key_id)
    output.result({"revoked": key_id}, as_json, f"Revoked API key {key_id} of {name}.")


@token_group.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read",),
    show_default=True,
    type=click.Choice(["read", "import", "select", "upload", "admin", "accounts", "all"]),
    help="What it can do, within the user's role. Can be repeated.",
)
@click.option("--label", default="command line", show_default=True, help="Name of the token.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=90,
    show_default=True,
    help="Days until it expires.",
)
@click.option("--no-expiry", is_flag=True, help="A token that doesn't expire.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create_token(
    name: str, scopes: tuple[str, ...], label: str, days: int, no_expiry: bool, as_json: bool
) -> None:
    """Create an API token for a user and print it once.

    \b
    Examples:
      slipway token create ada --scope all > token
      slipway token create ci --scope read --scope import --no-expiry
    """
    from webapp.services.accounts import rights, tokens, users

    chosen = list(rights.Scope) if "all" in scopes else list(scopes)
    with app_context():
        end = None if no_expiry else days
        _, token = tokens.create(users.user_named(name), label, chosen, days=end)
    output.result({"token": token, "scopes": [str(scope) for scope in chosen]}, as_json, token)


@token_group.command("list")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_tokens(name: str, as_json: bool) -> None:
    """List a user's API tokens.

    \b
    Examples:
      slipway token list ada
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
    output.listing(
        rows,
        as_json,
        ("ID", "Name", "Prefix", "Scopes", "Expires"),
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
        empty=f"{name} has no tokens. Next: slipway token create {name}",
    )


@token_group.command("revoke")
@click.argument("name")
@click.argument("token_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke_token(name: str, token_id: int, as_json: bool) -> None:
    """Revoke a user's API token; whatever uses it stops working.

    \b
    Examples:
      slipway token revoke ada 3
    """
    from webapp.services.accounts import tokens, users

    with app_context():
        tokens.revoke(users.user_named(name), token_id)
    output.result({"revoked": token_id}, as_json, f"Revoked token {token_id} of {name}.")
