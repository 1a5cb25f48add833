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


@click.command("accept")
@click.argument("source_id", metavar="ID", type=int)
@click.option("--state", default="", metavar="DIGEST", help="Accept this state, as it was shown.")
@with_api
def accept_state(source_id: int, state: str, api: Api, as_json: bool) -> None:
    """Show or accept the state of a stream that went back in time.

    Selections and stored images stay. Without --state, nothing is accepted.

    \b
    Examples:
      slipway source accept 1
      slipway source accept 1 --state DIGEST
    """
    found = api.call("POST", f"/sources/{source_id}/state", {"accept": state})
    if as_json:
        output.print_json(found)
        return
    output.print_fields(
        [
            ("Index known", output.time(found["updated_before"])),
            ("Index offered", output.time(found["updated_after"])),
            ("Signed by", found["fingerprint"] or "no one"),
        ]
    )
    output.print_table(
        ("Product", "Change", "Known", "Offered"),
        [(c["product"], c["kind"], c["before"] or "-", c["after"] or "-")
         for c in found["changes"]],
        empty="No image differs.",
    )  # fmt: skip
    way = f"To accept it: slipway source accept {source_id} --state {found['digest']}"
    output.line("Accepted. The next import follows it." if found["is_accepted"] else way)


COMMANDS = (change_key, accept_state)
