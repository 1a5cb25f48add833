# SPDX-License-Identifier: Apache-2.0
"""``slipway boot``: what machines boot from the network."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.cli.groups import Group
from webapp.errors import Problem


@click.group("boot", cls=Group)
def boot_group() -> None:
    """Choose what machines boot from the network.

    \b
    Examples:
      slipway boot set default ubuntu/noble --parameters console=ttyS0
      slipway boot set 52:54:00:12:34:56 ubuntu/jammy --kernel hwe-22.04
      slipway boot explain 52:54:00:12:34:56
    """


@boot_group.command("list")
@with_api
def list_command(api: Api, as_json: bool) -> None:
    """List what machines boot, the defaults first.

    \b
    Example:
      slipway boot list --json | jq -r '.items[].machine'
    """
    found = api.get("/boot/entries")
    output.listing(
        found,
        as_json,
        ("Machine", "Image", "Kernel", "Version", "Parameters"),
        [
            (
                row["machine"] if ":" in row["machine"] else f"default for {row['machine']}",
                f"{row['name']} {row['arch']}",
                row["kernel"],
                row["version"] or f"! {row['problem']['what']}",
                row["parameters"] or "-",
            )
            for row in found["items"]
        ],
        empty="No machine has an image yet. Next: slipway boot set default ubuntu/noble",
    )


@boot_group.command("set")
@click.argument("machine", metavar="MAC|default")
@click.argument("name", metavar="OS/RELEASE")
@click.option("--arch", default="amd64", show_default=True, help="Architecture.")
@click.option("--kernel", default="generic", show_default=True, help="Kernel, e.g. hwe-24.04.")
@click.option("--parameters", default="", metavar="TEXT", help="Kernel parameters to add.")
@with_api
def set_command(
    machine: str, name: str, arch: str, kernel: str, parameters: str, api: Api, as_json: bool
) -> None:
    """Set what a machine boots, or the default of an architecture.

    Machines get it the next time they start. The image needn't be stored yet.

    \b
    Examples:
      slipway boot set default ubuntu/noble
      slipway boot set default ubuntu/noble --arch arm64
      slipway boot set 52:54:00:12:34:56 ubuntu/jammy --parameters "console=ttyS0 quiet"
    """
    body = {"name": name, "arch": arch, "kernel": kernel, "parameters": parameters}
    key = arch if machine == "default" else machine
    made = api.call("PUT", f"/boot/entries/{quote(key, safe='')}", body)
    whose = made["machine"] if ":" in made["machine"] else f"Machines on {made['machine']}"
    output.result(made, as_json, f"{whose}: {made['name']} {made['arch']}")
    _warn(made["problem"], as_json)


@boot_group.command("unset")
@click.argument("machine", metavar="MAC|default")
@click.option("--arch", default="amd64", show_default=True, help="Architecture of the default.")
@with_api
def unset_command(machine: str, arch: str, api: Api, as_json: bool) -> None:
    """Remove a machine's entry, or the default of an architecture.

    \b
    Examples:
      slipway boot unset 52:54:00:12:34:56
      slipway boot unset default --arch arm64
    """
    key = arch if machine == "default" else machine
    api.call("DELETE", f"/boot/entries/{quote(key, safe='')}")
    output.result({"machine": key}, as_json, f"Removed the entry of {key}.")


@boot_group.command("explain")
@click.argument("mac", metavar="MAC")
@click.option("--arch", default="amd64", show_default=True, help="Its architecture.")
@click.option("--config", "loader", type=click.Choice(("ipxe", "grub", "pxelinux")),
              help="Print the configuration for this boot loader.")  # fmt: skip
@with_api
def explain_command(mac: str, arch: str, loader: str | None, api: Api, as_json: bool) -> None:
    """Show what a machine would boot now, and why.

    --arch is used only if the machine has no entry.

    \b
    Examples:
      slipway boot explain 52:54:00:12:34:56
      slipway boot explain 52:54:00:12:34:56 --config ipxe
    """
    found = api.get(f"/boot/explain/{quote(mac, safe='')}", arch=arch)
    if as_json:
        output.print_json(found)
        return
    if loader:
        texts = [one["text"] for one in found["configurations"] if one["loader"] == loader]
        if not texts:
            raise Problem(found["why"], next_step=found["problem"]["next_step"])
        output.lines("".join(texts).splitlines())
        return
    output.line(found["why"])
    output.print_fields(_fields(found))
    _warn(found["problem"], as_json)


@boot_group.command("loaders")
@with_api
def loaders_command(api: Api, as_json: bool) -> None:
    """List the boot loaders that machines get from the rack.

    \b
    Example:
      slipway boot loaders --json | jq -r '.items[].names[]'
    """
    found = api.get("/boot/loaders")
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("Firmware", "Architecture", "Version", "Files"),
        [(one["firmware"], one["arch"], one["version"] or "-", _shown(one["names"]))
         for one in found["items"]],
        empty="No boot loaders are stored. Imports get them from boot sources that offer them.",
    )  # fmt: skip
    for one in found["items"]:
        _warn(one["problem"], as_json)


def _shown(names: list[str]) -> str:
    """The names that DHCP servers give, without the modules of PXELINUX."""
    return ", ".join(name for name in names if not name.endswith(".c32")) or "-"


def _fields(found: dict[str, Any]) -> list[tuple[str, str]]:
    fields = {
        "Image": found["image"],
        "Version": found["version"],
        "Kernel": found["kernel"],
        "Initrd": found["initrd"],
        "Root": found["root"],
        "Parameters": found["parameters"],
    }
    return [(name, value) for name, value in fields.items() if value]


def _warn(problem: dict[str, str], as_json: bool) -> None:
    if problem and not as_json:
        output.line(f"! {problem['what']} Next: {problem['next_step']}", color="red")
