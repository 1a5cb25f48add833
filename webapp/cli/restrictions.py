# SPDX-License-Identifier: Apache-2.0
"""``slipway image restrict``: keep an image to networks and machines."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import image_lookup as lookup
from webapp.cli import output
from webapp.cli.client import Api, with_api

SHOWN = 10


@click.command("restrict")
@click.argument("name", required=False)
@click.option("--arch", default="amd64", show_default=True, help="Architecture.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="May be repeated.")
@click.option("--mac", "macs", multiple=True, metavar="MAC", help="May be repeated.")
@click.option("--note", default="", help="For people, e.g. the license.")
@click.option("--lift", "is_lifted", is_flag=True, help="Give the image to everyone again.")
@click.option("--yes", is_flag=True, help="Don't ask before it's taken from machines.")
@with_api
def restrict(
    name: str | None,
    arch: str,
    networks: tuple[str, ...],
    macs: tuple[str, ...],
    note: str,
    is_lifted: bool,
    yes: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Keep an image to networks and machines, e.g. by its license.

    Machines in one of the networks, or with one of the MAC addresses, get it. For all others it
    isn't there. What you name replaces the restriction that there was; the image needn't be
    stored yet. Files go by MAC address only to machines on the rack's own network.

    Without options, show the restriction; without NAME, list all of them.

    \b
    Examples:
      slipway image restrict esxi/8.0.2 --network 192.0.2.0/24 --note "12 hosts"
      slipway image restrict windows/win2022 --mac 52:54:00:12:34:56
      slipway image restrict esxi/8.0.2 --lift
    """
    has_entries = bool(networks or macs)
    if is_lifted and has_entries:
        raise click.UsageError("--lift takes no network and no MAC address.")
    if name is None:
        if has_entries or is_lifted:
            raise click.UsageError("Name the image, e.g. esxi/8.0.2.")
        _list(api, as_json)
        return
    os, _, release = name.removeprefix("custom/").partition("/")
    if not release:
        os, release = "custom", os
    path = f"/images/{lookup.in_url(os, release, arch)}/restriction"
    if is_lifted:
        api.call("DELETE", path)
        output.result({"is_restricted": False}, as_json, f"{name} {arch} is for everyone now.")
        return
    if not has_entries:
        found = api.get(path)
        output.result(found, as_json, f"{name} {arch}: {_words(found)}")
        return
    body = {"networks": list(networks), "macs": list(macs), "note": note}
    before = api.get(path)
    loss = api.call("POST", f"{path}/preview", body)
    if loss["is_narrower"] and not yes:
        output.confirm(_question(f"{name} {arch}", loss))
    found = api.call("PUT", path, body)
    words = f"{name} {arch}: {_words(found)}"
    if not (found["is_stored"] or before["is_stored"]):
        words += "\nNo such image is stored. Check the name: slipway image list"
    output.result(found, as_json, words)


def _list(api: Api, as_json: bool) -> None:
    found = list(api.items("/restrictions"))
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.line("All images are for everyone.")
        return
    output.print_table(
        ("Image", "Architecture", "Networks", "MAC addresses", "Note"),
        [
            (
                one["name"] if one["is_stored"] else f"{one['name']} (not stored)",
                one["arch"],
                ", ".join(one["networks"]),
                ", ".join(one["macs"]),
                one["note"],
            )
            for one in found
        ],
    )


def _words(found: dict[str, Any]) -> str:
    if not found["is_restricted"]:
        return "for everyone"
    words = f"kept to {', '.join([*found['networks'], *found['macs']])}"
    return f"{words} ({found['note']})" if found["note"] else words


def _question(name: str, loss: dict[str, Any]) -> str:
    words = [f"Only these will get {name}."]
    for what, lost in (
        ("Fetched lately from elsewhere", loss["machines"]),
        ("Boot entries that aren't named", loss["entries"]),
    ):
        if lost:
            more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
            words.append(f"{what}: {', '.join(lost[:SHOWN])}{more}.")
    return " ".join([*words, "Restrict it?"])
