# SPDX-License-Identifier: Apache-2.0
"""``slipway esxi``: check the network and storage of an ESXi host before it is deployed."""

from __future__ import annotations

import re
import sys
from typing import BinaryIO

import click

from webapp.cli import output
from webapp.cli.groups import Group
from webapp.errors import Problem

UNREADABLE = 2
_NIC = re.compile(r"(vmnic\d{1,3})=([0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5})")


@click.group("esxi", cls=Group)
def esxi_group() -> None:
    """Check the network and storage of an ESXi host."""


@esxi_group.command("plan")
@click.argument("config", type=click.File("rb"))
@click.option(
    "--nic", "nics", multiple=True, metavar="vmnic0=MAC", help="A NIC of the host; can be repeated."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "esxcli", "svg"]),
    default="text",
    show_default=True,
    help="Output format.",
)
def esxi_plan(config: BinaryIO, nics: tuple[str, ...], form: str) -> None:
    """Preview the esxcli commands that an ESXi host would run.

    CONFIG is network configuration v1 or netplan v2; use - for standard input.
    Exit codes: 0 all commands are valid, 1 errors and no commands, 2 CONFIG can't be read.

    \b
    Examples:
      slipway esxi plan network.yaml
      slipway esxi plan network.yaml --nic vmnic0=52:54:00:12:34:56 --format json
      slipway esxi plan network.yaml --format svg > network.svg
    """
    from webapp.vmware.plan import plan
    from webapp.vmware.reading import MAX_BYTES

    known = {}
    for nic in nics:
        match = _NIC.fullmatch(nic)
        if match is None:
            raise click.UsageError(f"--nic {nic}: expected vmnic0=52:54:00:12:34:56")
        known[match[1]] = match[2].lower().replace("-", ":")
    try:
        made = plan(config.read(MAX_BYTES + 1), known or None)
    except Problem as problem:
        output.error(str(problem))
        sys.exit(UNREADABLE)
    if form == "json":
        output.print_json(made.as_dict())
    elif form == "svg":
        from webapp.vmware.picture import draw

        output.lines(draw(made).splitlines())
    elif form == "text":
        for finding in made.findings:
            output.line(f"{finding.severity.word}: {finding.message} ({finding.place})")
            for more in (finding.happens, finding.fix):
                if more:
                    output.line(f"  {more}")
    if form in ("text", "esxcli"):
        output.lines(made.commands)
    if form == "text" and made.management:
        output.line(f"# reachable at {made.management}")
    sys.exit(0 if made.is_promise else 1)


@esxi_group.command("storage")
@click.option("--version", "release", required=True, help="ESXi version: 6.7, 7, 8 or 9.")
@click.option(
    "--disk-gib",
    type=click.FloatRange(0, 1 << 20),
    required=True,
    help="Size of the boot disk in GiB.",
)
@click.option(
    "--layout",
    type=click.Choice(["default", "vmfs6", "vmfs7", "linux"]),
    default="default",
    show_default=True,
    help="Storage layout of the machine.",
)
@click.option("--datastores", type=click.IntRange(0, 1000), help="Number of datastores.")
@click.option("--no-serial", is_flag=True, help="The disk has no serial number.")
@click.option("--nvme", is_flag=True, help="The disk is an NVMe disk.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def esxi_storage(
    release: str,
    disk_gib: float,
    layout: str,
    datastores: int | None,
    no_serial: bool,
    nvme: bool,
    as_json: bool,
) -> None:
    """Check whether a disk is large enough for an ESXi version.

    The exit code is 1 if it isn't.

    \b
    Example:
      slipway esxi storage --version 8 --disk-gib 480 --layout vmfs7 --datastores 1
    """
    from webapp.vmware.storage import Target, check

    found = check(
        Target(release, int(disk_gib * (1 << 30)), layout, datastores, not no_serial, is_nvme=nvme)
    )
    if as_json:
        output.print_json(found.as_dict())
    else:
        for remark in found.remarks:
            output.line(f"{remark.severity.word}: {remark.message}")
            if remark.fix:
                output.line(f"  {remark.fix}")
        numbers = ", ".join(map(str, found.reserved))
        output.line(
            f"Reserved by ESXi: partitions {numbers}. Available to you: {found.changeable}."
        )
        output.line(f"Available for datastore1: {found.datastore / (1 << 30):.0f} GiB.")
    sys.exit(0 if found.is_fine else 1)
