# SPDX-License-Identifier: Apache-2.0
"""``slipway source``: where images come from."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, talks

_EMPTY = "No boot source yet. Next: slipway source add URL --keyring FILE"


@click.group("source")
def source_group() -> None:
    """Boot sources: where images come from."""


def _route(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--name", help="A name for people."),
            click.option("--priority", type=int, help="The source with the highest one wins."),
            click.option("--proxy", help="http://host:port to go through."),
            click.option("--ca-file", help="File of CAs on the server to trust for https."),
            click.option("--keyring", type=click.File("rb"), help="File here with the keys."),
            click.option("--keyring-path", help="File on the server with the keys."),
            click.option("--unsigned", is_flag=True, help="Trust it without a signature."),
            click.option("--username", help="User name for basic authentication."),
            click.option(
                "--secret-file",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="File with the password, or the bearer token without --username.",
            ),
            click.option(
                "--secret-in-clear",
                is_flag=True,
                help="Send it over http:// too, where anybody on the way can read it.",
            ),
        )
    ):
        command = option(command)
    return command


def _body(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The options that were given, as the API takes them."""
    body = {k: v for k, v in more.items() if v is not None}
    names = {"name": "name", "priority": "priority", "proxy": "proxy_url", "ca_file": "ca_file"}
    body |= {names[k]: options[k] for k in names if options[k] is not None}
    if options["keyring"] is not None:
        body["keyring"] = base64.b64encode(options["keyring"].read()).decode()
    if options["keyring_path"]:
        body["keyring_filename"] = options["keyring_path"]
    if options["unsigned"]:
        body["is_unsigned"] = True
    if options["secret_file"] is not None:
        body["auth_secret"] = options["secret_file"].read_text().strip()
        body["auth_kind"] = "basic" if options["username"] else "bearer"
    if options["username"]:
        body["auth_username"] = options["username"]
    if options["secret_in_clear"]:
        body["can_auth_in_clear"] = True
    return body


@source_group.command("list")
@talks
def list_sources(api: Api, as_json: bool) -> None:
    """List the boot sources, the one that wins first.

    \b
    Examples:
      slipway source list
      slipway source list --json | jq -r '.items[].url'
    """
    found = api.get("/sources")
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("ID", "URL", "Name", "State", "Last read"),
        [
            (str(s["id"]), s["url"], s["name"], s["state"], output.time(s["refreshed_at"]))
            for s in found["items"]
        ],
        empty=_EMPTY,
    )


@source_group.command("show")
@click.argument("source_id", metavar="ID", type=int)
@talks
def show_source(source_id: int, api: Api, as_json: bool) -> None:
    """Show one boot source and what is selected of it.

    \b
    Example:
      slipway source show 1
    """
    found = api.get(f"/sources/{source_id}")
    found["selections"] = api.get(f"/sources/{source_id}/selections")["items"]
    if as_json:
        output.print_json(found)
        return
    problem = found["problem"] or {}
    output.print_fields(
        [
            ("URL", found["url"]),
            ("Name", found["name"]),
            ("State", found["state"]),
            ("Problem", problem.get("what", "")),
            ("Next", problem.get("next_step", "")),
            ("Priority", str(found["priority"])),
            ("Keys", found["keyring_filename"] or "kept in the database"),
            ("Signed by", found["signer"]),
            ("Signed", output.time(found["signed_at"])),
            ("Index of", output.time(found["index_updated_at"])),
            ("Last read", output.time(found["refreshed_at"])),
            ("Proxy", found["proxy_url"]),
        ]
    )
    output.print_table(
        ("Selected", "Architectures"),
        [(f"{s['os']}/{s['release']}", " ".join(s["arches"])) for s in found["selections"]],
    )


@source_group.command("preview")
@click.argument("address", metavar="URL")
@_route
@talks
def preview_source(address: str, api: Api, as_json: bool, **options: Any) -> None:
    """Read URL as an import would, say who signed it and what it offers; save nothing.

    \b
    Example:
      slipway source preview https://images.maas.io/ephemeral-v3/stable/ \\
        --keyring-path /usr/share/keyrings/ubuntu-cloudimage-keyring.gpg
    """
    found = api.call("POST", "/sources/preview", _body(options, url=address))
    if as_json:
        output.print_json(found)
        return
    output.print_fields(
        [
            ("URL", found["url"]),
            ("Signed by", found["fingerprint"] or "nobody"),
            ("Signed", output.time(found["signed_at"])),
            ("Index of", output.time(found["index_updated_at"])),
        ]
    )
    for warning in found["warnings"]:
        click.echo(f"slipway: warning: {warning['what']} {warning['next_step']}", err=True)
    output.print_table(
        ("Release", "Architectures", "Size"),
        [(o["title"], " ".join(o["arches"]), output.size(o["size"])) for o in found["offers"]],
    )


@source_group.command("add")
@click.argument("address", metavar="URL")
@_route
@talks
def add_source(address: str, api: Api, as_json: bool, **options: Any) -> None:
    """Add a boot source; what it offers is read in the background.

    \b
    Examples:
      slipway source add https://images.maas.io/ephemeral-v3/stable/ \\
        --keyring-path /usr/share/keyrings/ubuntu-cloudimage-keyring.gpg
      slipway source add http://mirror.lab/ --keyring mirror.gpg --name lab
    """
    made = api.call("POST", "/sources", _body(options, url=address))
    output.say(made, as_json, f"Added boot source {made['id']}. Next: slipway images available")


@source_group.command("change")
@click.argument("source_id", metavar="ID", type=int)
@click.option("--new-url", "address", metavar="URL", help="Where its stream is now.")
@click.option("--on/--off", "enabled", default=None, help="Use it, or leave it alone.")
@_route
@talks
def change_source(
    source_id: int,
    address: str | None,
    enabled: bool | None,
    api: Api,
    as_json: bool,
    **options: Any,
) -> None:
    """Change a boot source; what is not named keeps its value, and its selections stay.

    \b
    Examples:
      slipway source change 1 --priority 10
      slipway source change 2 --off
    """
    body = _body(options, url=address, is_enabled=enabled)
    if not body:
        raise click.UsageError("nothing to change: name at least one option")
    changed = api.call("PATCH", f"/sources/{source_id}", body)
    output.say(changed, as_json, f"Changed boot source {source_id}.")


@source_group.command("refresh")
@click.argument("source_id", metavar="ID", type=int)
@talks
def refresh_source(source_id: int, api: Api, as_json: bool) -> None:
    """Read a boot source again, now.

    \b
    Example:
      slipway source refresh 1
    """
    done = api.call("POST", f"/sources/{source_id}/refresh")
    output.say(done, as_json, done["message"])


@source_group.command("remove")
@click.argument("source_id", metavar="ID", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
@talks
def remove_source(source_id: int, yes: bool, api: Api, as_json: bool) -> None:
    """Remove a boot source with its selections; stored images stay until the next import.

    \b
    Example:
      slipway source remove 2
    """
    found = api.get(f"/sources/{source_id}")
    if not yes:
        click.confirm(f"Remove {found['url']} and what is selected of it?", abort=True, err=True)
    api.call("DELETE", f"/sources/{source_id}")
    output.say(found, as_json, f"Removed boot source {source_id}.")
