# SPDX-License-Identifier: Apache-2.0
"""``slipway rack``: this machine's rack server, and racks on other machines."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import output, sizes
from webapp.cli.client import Api, with_api
from webapp.cli.context import loaded_settings
from webapp.cli.groups import Group
from webapp.errors import Problem

_name = click.argument("name", metavar="NAME")


@click.group("rack", cls=Group, default="serve", invoke_without_command=True)
def rack_group() -> None:
    """Run only the server that machines boot from, or manage racks.

    Without a command, it serves machines from this machine's store, on SLIPWAY_RACK_BIND.
    The commands are about racks on other machines.

    \b
    Examples:
      slipway rack
      slipway rack enrol
      slipway rack list
      slipway rack set rack-1 --mode on-demand --max-size 200G
    """


@rack_group.command("serve", hidden=True)
def serve() -> None:
    """Run only the server that machines boot from."""
    from webapp.server import engines

    engines.run_plane("rack", loaded_settings())


@rack_group.command("enrol")
@click.option("--uses", default=1, show_default=True, help="Number of racks it can enrol.")
@click.option("--hours", default=24, show_default=True, help="Hours until it expires.")
@with_api
def enrol_command(uses: int, hours: int, api: Api, as_json: bool) -> None:
    """Print the command to run on a new rack.

    It holds a token that enrols the rack and the fingerprint of the key that signs this
    region's images. It's printed once.

    \b
    Examples:
      slipway rack enrol
      slipway rack enrol --uses 3 --hours 2
    """
    found = api.call("POST", "/racks/tokens", {"uses": uses, "hours": hours})
    output.result(found, as_json, found["command"])


@rack_group.command("list")
@with_api
def list_command(api: Api, as_json: bool) -> None:
    """List racks with what each holds and when it was last seen.

    \b
    Example:
      slipway rack list
    """
    found = api.get("/racks")["items"]
    output.listing(
        found,
        as_json,
        ("Name", "State", "Holds", "Bytes", "Hits", "Speed", "Last seen"),
        [
            (
                one["name"],
                _state(one),
                _held(one),
                output.size(one["bytes"]),
                _hit_rate(one),
                output.speed(one["speed"]),
                output.time(one["seen_at"]),
            )
            for one in found
        ],
        empty="No racks on other machines. Next: slipway rack enrol",
    )


@rack_group.command("show")
@_name
@with_api
def show_command(name: str, api: Api, as_json: bool) -> None:
    """Show a rack with its settings, errors and machines.

    \b
    Example:
      slipway rack show rack-1
    """
    one = _find(api, name)
    if as_json:
        output.print_json(one)
        return
    output.print_fields(_fields(one))
    serving = [
        (each["machine"], each["name"], output.size(each["sent"]), output.size(each["size"]))
        for each in one["serving"]
    ]
    if serving and one["state"] not in ("away", "never-seen"):
        output.print_table(("Machine", "File", "Sent", "Size"), serving)
    for error in one["errors"]:
        output.line(f"! {output.time(error['at'])}: {error['what']}", color="red")


@rack_group.command("set")
@_name
@click.option(
    "--mode",
    type=click.Choice(("everything", "chosen", "on-demand")),
    help="What it copies before a machine asks.",
)
@click.option(
    "--image", "images", multiple=True, metavar="OS/RELEASE/ARCH", help="Chosen image; repeatable."
)
@click.option(
    "--max-size",
    "max_bytes",
    metavar="SIZE|none",
    callback=sizes.parse_limit,
    help="Maximum size of its store.",
)
@click.option(
    "--rate",
    metavar="SIZE|none",
    callback=sizes.parse_limit,
    help="Maximum bytes per second from its upstreams.",
)
@click.option("--upstream", "upstreams", multiple=True, metavar="URL", help="Mirror; repeatable.")
@click.option("--region-only", is_flag=True, help="No upstreams but this region.")
@click.option("--after", metavar="NAME|none", help="Rack that gets new images before this one.")
@with_api
def set_command(
    name: str,
    images: tuple[str, ...],
    upstreams: tuple[str, ...],
    region_only: bool,
    after: str | None,
    api: Api,
    as_json: bool,
    **values: Any,
) -> None:
    """Change what a rack holds, and where it gets it.

    Upstreams are tried in the order given. The rack learns of a change within a second.

    \b
    Examples:
      slipway rack set rack-1 --mode chosen --image ubuntu/noble/amd64
      slipway rack set rack-1 --max-size 200G --rate 50M
      slipway rack set rack-2 --upstream http://rack-1:5248/mirror/ --after rack-1
    """
    if upstreams and region_only:
        raise click.UsageError("Give --upstream or --region-only, not both.")
    one = _find(api, name)
    body = {key: value for key, value in values.items() if value is not None}
    if images:
        body |= {"images": list(images), "mode": values["mode"] or "chosen"}
    if upstreams or region_only:
        body["upstreams"] = list(upstreams)
    if after is not None:
        body["after_rack_id"] = 0 if after == "none" else _find(api, after)["id"]
    if not body:
        raise click.UsageError("Give at least one option.")
    found = api.call("PATCH", f"/racks/{one['id']}", body)
    output.result(found, as_json, f"Changed {name}.")


@rack_group.command("verify")
@_name
@with_api
def verify_command(name: str, api: Api, as_json: bool) -> None:
    """Check every file in a rack's store now.

    \b
    Example:
      slipway rack verify rack-1
    """
    found = api.call("POST", f"/racks/{_find(api, name)['id']}/verification")
    output.result(found, as_json, f"{name} is checking its store. Next: slipway rack show {name}")


@rack_group.command("drain")
@_name
@with_api
def drain_command(name: str, api: Api, as_json: bool) -> None:
    """Drain a rack: it refuses new machines and finishes the others.

    \b
    Example:
      slipway rack drain rack-1
    """
    _drain(api, name, True, as_json, f"{name} is draining.")


@rack_group.command("undrain")
@_name
@with_api
def undrain_command(name: str, api: Api, as_json: bool) -> None:
    """Return a drained rack to service.

    \b
    Example:
      slipway rack undrain rack-1
    """
    _drain(api, name, False, as_json, f"{name} serves machines again.")


@rack_group.command("remove")
@_name
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_api
def remove_command(name: str, yes: bool, api: Api, as_json: bool) -> None:
    """Remove a rack.

    The region deletes its settings and figures. The rack keeps serving what it has until
    you stop it, and needs another token to come back.

    \b
    Example:
      slipway rack remove rack-1
    """
    one = _find(api, name)
    if not yes:
        output.confirm(f"Remove {name}, which holds {output.size(one['bytes'])}?")
    api.call("DELETE", f"/racks/{one['id']}")
    output.result({"removed": one["id"]}, as_json, f"Removed {name}.")


@rack_group.group("token", cls=Group)
def token_group() -> None:
    """List and revoke the tokens that enrol racks."""


@token_group.command("list")
@with_api
def list_tokens(api: Api, as_json: bool) -> None:
    """List the tokens that enrol racks, without their secrets.

    \b
    Example:
      slipway rack token list
    """
    found = api.get("/racks/tokens")["items"]
    output.listing(
        found,
        as_json,
        ("ID", "Created by", "Expires", "Racks left"),
        [
            (
                str(one["id"]),
                one["created_by"],
                output.time(one["expires_at"]),
                f"{one['uses_left']} of {one['uses']}",
            )
            for one in found
        ],
        empty="No tokens. Next: slipway rack enrol",
    )


@token_group.command("revoke")
@click.argument("token_id", metavar="ID", type=int)
@with_api
def revoke_token(token_id: int, api: Api, as_json: bool) -> None:
    """Revoke a token; racks that it enrolled stay.

    \b
    Example:
      slipway rack token revoke 3
    """
    api.call("DELETE", f"/racks/tokens/{token_id}")
    output.result({"revoked": token_id}, as_json, f"Revoked token {token_id}.")


def _drain(api: Api, name: str, is_drained: bool, as_json: bool, words: str) -> None:
    found = api.call("PATCH", f"/racks/{_find(api, name)['id']}", {"is_drained": is_drained})
    output.result(found, as_json, words)


def _find(api: Api, name: str) -> dict[str, Any]:
    for one in api.get("/racks")["items"]:
        if one["name"] == name:
            return dict(one)
    raise Problem(
        f"There's no rack {name}.",
        code="not-found",
        next_step="`slipway rack list` lists the racks.",
    )


def _fields(one: dict[str, Any]) -> list[tuple[str, str]]:
    at = f" at {one['address']}" if one["seen_at"] else ""
    limit = f"maximum {output.size(one['max_bytes'])}" if one["max_bytes"] else "no limit"
    return [
        ("Name", one["name"]),
        ("State", _state(one)),
        ("URL", one["url"]),
        ("Version", one["version"]),
        ("Last seen", output.time(one["seen_at"]) + at),
        ("Holds", _held(one)),
        ("Stored", f"{output.size(one['bytes'])} in {one['files']} files, {limit}"),
        ("Mode", one["mode"]),
        ("Images", ", ".join(one["images"])),
        ("Upstreams", ", ".join(one["upstreams"]) or "this region"),
        ("After", one["after_rack"]),
        ("Rate", output.speed(one["rate"]) if one["rate"] else "no limit"),
        ("Hits", _hit_rate(one)),
        ("Sent", output.size(one["sent_bytes"])),
        ("Fetched", output.size(one["fetched_bytes"])),
        ("Verified", output.time(one["verified_at"])),
    ]


def _state(one: dict[str, Any]) -> str:
    is_extra = one["is_drained"] and one["text"] != "Drained"
    return f"{one['text']}, drained" if is_extra else str(one["text"])


def _held(one: dict[str, Any]) -> str:
    held, published = one["held_serial"], one["published_serial"]
    return f"{held} of {published}" if held != published else str(held)


def _hit_rate(one: dict[str, Any]) -> str:
    return "-" if one["hit_rate"] is None else f"{one['hit_rate']:.0%}"
