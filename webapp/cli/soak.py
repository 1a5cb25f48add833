# SPDX-License-Identifier: Apache-2.0
"""``slipway source soak`` and ``slipway image soak``: how old versions must be."""

from __future__ import annotations

from typing import Any

import click

from webapp import numbers
from webapp.cli import image_lookup as lookup
from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.errors import Problem

_days = click.option(
    "--days", metavar="N|default", help="Days; default: as the source or the setting has it."
)


@click.command("soak")
@click.argument("source_id", metavar="ID", type=int)
@_days
@with_api
def source_soak(source_id: int, days: str | None, api: Api, as_json: bool) -> None:
    """Import only versions of a boot source of a minimum age.

    Without --days, show the soak time. For all sources:
    slipway setting set import_soak_days 7

    \b
    Examples:
      slipway source soak 1 --days 7
      slipway source soak 1 --days default
    """
    found = _apply(api, f"/sources/{source_id}/soak", days)
    output.result(found, as_json, f"Boot source {source_id}: {_words(found)}")


@click.command("soak")
@click.argument("name", metavar="OS/RELEASE")
@click.option("--arch", default="", help="Architecture.  [default: all]")
@_days
@with_api
def image_soak(name: str, arch: str, days: str | None, api: Api, as_json: bool) -> None:
    """Import only versions of an image of a minimum age.

    Without --days, show the soak time. Stored versions stay, whatever their age.

    \b
    Examples:
      slipway image soak ubuntu/noble --days 14
      slipway image soak ubuntu/noble --arch amd64 --days 0
    """
    os, release = lookup.split(name)
    offered = api.get("/catalogue", os=os, release=release)["items"]
    arches = [one["arch"] for one in offered if arch in ("", one["arch"])]
    if not arches:
        raise Problem(
            f"No boot source offers {name}{' for ' + arch if arch else ''}.",
            next_step="`slipway image available` lists what they offer.",
        )
    found = {}
    for one in arches:
        found[one] = _apply(api, f"/images/{lookup.in_url(os, release, one)}/soak", days)
    if as_json:
        output.print_json(found)
        return
    for one, soak in found.items():
        output.line(f"{name} {one}: {_words(soak)}")


def _apply(api: Api, path: str, days: str | None) -> dict[str, Any]:
    if days is None:
        return dict(api.get(path))
    count = numbers.whole(days)
    if days != "default" and count is None:
        raise click.BadParameter("enter a number of days, or default", param_hint="--days")
    return dict(api.call("PUT", path, {"days": count}))


def _words(found: dict[str, Any]) -> str:
    days = found["days"]
    if days is None:
        return "no soak time of its own"
    return f"versions must be at least {numbers.counted(days, 'day')} old"
