# SPDX-License-Identifier: Apache-2.0
"""``slipway admin``: the former spelling of ``slipway user``, ``key`` and ``token``."""

from __future__ import annotations

import click

from webapp.cli import accounts, keys
from webapp.cli.groups import Group, former

FORMER = {
    "create": accounts.create_user,
    "password": accounts.set_password,
    "users": accounts.list_users,
    "change": accounts.change_user,
    "reset-two-factor": accounts.reset_two_factor,
    "apikey": keys.create_key,
    "apikeys": keys.list_keys,
    "revoke-apikey": keys.revoke_key,
    "token": keys.create_token,
    "tokens": keys.list_tokens,
    "revoke-token": keys.revoke_token,
}


@click.group("admin", cls=Group, hidden=True)
def admin_group() -> None:
    """Use `slipway user`, `slipway key` and `slipway token` instead."""


for name, command in FORMER.items():
    former(admin_group, name, command)
