# SPDX-License-Identifier: Apache-2.0
"""The commands of ``slipway source`` that accept what a publisher changed."""

from __future__ import annotations

import base64
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, with_api


@click.command("key")
@click.argument("source_id", metavar="ID", type=int)
@click.option("--keyring", type=click.File("rb"), help="Local file with the new public key.")
@click.option("--accept", default="", metavar="FINGERPRINT", help="Trust the key instead.")
@with_api
def change_key(source_id: int, keyring: Any, accept: str, api: Api, as_json: bool) -> None:
    """Show or accept the key that signs a boot source now.

    Selections and stored images stay. Without --keyring, the server's keyrings are searched.

    \b
    Examples:
      slipway source key 1
      slipway source key 1 --keyring new.asc --accept 4A3CE3CD565D7EB5C810E2B97FF3F408476CF100
    """
    body = {"accept": accept}
    if keyring is not None:
        body["keyring"] = base64.b64encode(keyring.read()).decode()
    found = api.call("POST", f"/sources/{source_id}/key", body)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("Keys", "Fingerprint", "Owner", "Valid until", "Signs now"),
        [
            (word, key["fingerprint"], ", ".join(key["user_ids"]),
             output.time(key["expires_at"]) if key["expires_at"] else "no expiry",
             "yes" if key["fingerprint"] == found["fingerprint"] else "")
            for word in ("old", "new")
            for key in found[word]
        ],
    )  # fmt: skip
    way = f"To accept it: slipway source key {source_id} --accept {found['fingerprint']}"
    output.line("Accepted. The source is being checked." if found["is_accepted"] else way)


COMMANDS = (change_key,)
