# SPDX-License-Identifier: Apache-2.0
"""``slipway esxi``: what an ESXi host would make of a network configuration."""

from __future__ import annotations

import json
import re
import sys
from typing import BinaryIO

import click

from webapp.errors import Problem

UNREADABLE = 2
_NIC = re.compile(r"(vmnic\d{1,3})=([0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5})")


@click.group("esxi")
def esxi_group() -> None:
    """VMware ESXi: check before a host is lost."""


@esxi_group.command("plan")
@click.argument("config", type=click.File("rb"))
@click.option("--nic", "nics", multiple=True, metavar="vmnic0=MAC", help="A NIC of the host.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "esxcli"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def esxi_plan(config: BinaryIO, nics: tuple[str, ...], form: str) -> None:
    """Plan the network that an ESXi host gets from CONFIG (v1 or netplan v2; - for stdin).

    Exit codes: 0 every command will be taken, 1 there are errors and no commands,
    2 CONFIG cannot be read.

    \b
    Examples:
      slipway esxi plan network.yaml
      slipway esxi plan network.yaml --nic vmnic0=52:54:00:12:34:56 --format json
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
        click.echo(f"slipway: {problem}", err=True)
        sys.exit(UNREADABLE)
    if form == "json":
        click.echo(json.dumps(made.as_dict(), indent=2))
    elif form == "text":
        for finding in made.findings:
            click.echo(f"{finding.grade}: {finding.message} ({finding.place})")
            for more in (finding.happens, finding.fix):
                if more:
                    click.echo(f"  {more}")
    if form != "json":
        click.echo("\n".join(made.commands))
    sys.exit(0 if made.is_promise else 1)
