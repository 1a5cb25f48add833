# SPDX-License-Identifier: Apache-2.0
"""``slipway source``: the boot sources that images come from."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import output, soak, source_changes, source_trust
from webapp.cli.client import Api, with_api
from webapp.cli.groups import Group
from webapp.cli.source_options import body_of, source_options

_EMPTY = "No boot sources yet. Next: slipway source add URL --keyring FILE"


@click.group("source", cls=Group)
def source_group() -> None:
    """Manage boot sources."""


@source_group.command("list")
@with_api
def list_sources(api: Api, as_json: bool) -> None:
    """List boot sources, highest priority first.

    \b
    Examples:
      slipway source list
      slipway source list --json | jq -r '.items[].url'
    """
    found = api.get("/sources")
    output.listing(
        found,
        as_json,
        ("ID", "URL", "Name", "State", "Last checked"),
        [
            (str(s["id"]), s["url"], s["name"], s["state"], output.time(s["refreshed_at"]))
            for s in found["items"]
        ],
        empty=_EMPTY,
    )


@source_group.command("show")
@click.argument("source_id", metavar="ID", type=int)
@with_api
def show_source(source_id: int, api: Api, as_json: bool) -> None:
    """Show a boot source and its selections.

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
            ("Keyring", found["keyring_filename"] or "stored in the database"),
            ("Signed by", found["signer"]),
            ("Signed on", output.time(found["signed_at"])),
            ("Index published", output.time(found["index_updated_at"])),
            ("Last checked", output.time(found["refreshed_at"])),
            ("Schedule", found["schedule"]),
            ("Reached", found["route"]),
            ("Client certificate", _client_cert(found["client_certificate"])),
        ]
    )
    if found["mirrors"]:
        speeds = {
            one["url"]: one["problem"] or f"{output.size(one['bytes_per_s'])}/s"
            for one in found["mirror_speeds"]
        }
        urls = (found["url"], *found["mirrors"])
        rows = [(url, speeds.get(url, "not measured yet")) for url in urls]
        output.print_table(("Mirror", "Speed"), rows)
    _print_warnings(found)
    for notice in found["notices"]:
        output.line(f"Announced: MAAS {notice['maas_version']}: {notice['message']}")
    _print_left_out(found)
    if found["differences"]:
        output.print_table(
            ("Differs", "Only in"),
            [
                (d["product"], "index" if d["is_listed"] else "document")
                for d in found["differences"]
            ],
        )
    output.print_table(
        ("Selected", "Architectures"),
        [(f"{s['os']}/{s['release']}", " ".join(s["arches"])) for s in found["selections"]],
    )


def _client_cert(found: Any) -> str:
    return f"{found['subject']}, expires {output.time(found['expires_at'])}" if found else ""


def _print_warnings(found: dict[str, Any]) -> None:
    for one in found["warnings"]:
        where = f" Where: {one['where']}." if one["where"] else ""
        output.error(f"warning: {one['what']}{where} {one['next_step']}".rstrip())


def _print_left_out(found: Any) -> None:
    if found["left_out"]:
        output.print_table(
            ("Left out", "Version", "Reason"),
            [(one["product"], one["version"], one["reason"]) for one in found["left_out"]],
        )


@source_group.command("offers")
@click.option("--all", "everything", is_flag=True, help="Include images that aren't selected.")
@with_api
def compare_offers(everything: bool, api: Api, as_json: bool) -> None:
    """Show which boot source provides each image, and why.

    \b
    Example:
      slipway source offers --all
    """
    found = {"items": list(api.items("/offers", is_all=everything))}
    output.listing(
        found,
        as_json,
        ("Image", "Architecture", "Source", "Version", "Size", "Used", "Why"),
        [
            (image["name"], image["architecture"], one["source_name"], one["version"],
             output.size(one["size"]), "yes" if one["is_winner"] else "no", one["why"])
            for image in found["items"]
            for one in image["sources"]
        ],
        empty="Nothing is selected, and no image has several sources. --all lists everything.",
    )  # fmt: skip


@source_group.command("preview")
@click.argument("address", metavar="URL")
@source_options
@with_api
def preview_source(address: str, api: Api, as_json: bool, **options: Any) -> None:
    """Check URL and show who signed it and what it offers.

    Nothing is saved.

    \b
    Example:
      slipway source preview https://images.maas.io/ephemeral-v3/stable/ \\
        --keyring-path /usr/share/keyrings/ubuntu-cloudimage-keyring.gpg
    """
    found = api.call("POST", "/sources/preview", body_of(options, url=address))
    if as_json:
        output.print_json(found)
        return
    output.print_fields(
        [
            ("URL", found["url"]),
            ("Signed by", found["fingerprint"] or "no one"),
            ("Signed on", output.time(found["signed_at"])),
            ("Index published", output.time(found["index_updated_at"])),
        ]
    )
    _print_left_out(found)
    _print_warnings(found)
    output.print_table(
        ("Release", "Architectures", "Size"),
        [(o["title"], " ".join(o["arches"]), output.size(o["size"])) for o in found["offers"]],
    )


@source_group.command("add")
@click.argument("address", metavar="URL")
@source_options
@with_api
def add_source(address: str, api: Api, as_json: bool, **options: Any) -> None:
    """Add a boot source.

    Slipway reads what it offers in the background.

    \b
    Examples:
      slipway source add https://images.maas.io/ephemeral-v3/stable/ \\
        --keyring-path /usr/share/keyrings/ubuntu-cloudimage-keyring.gpg
      slipway source add http://mirror.lab/ --keyring mirror.gpg --name lab
    """
    made = api.call("POST", "/sources", body_of(options, url=address))
    output.result(made, as_json, f"Added boot source {made['id']}. Next: slipway image available")


@source_group.command("change")
@click.argument("source_id", metavar="ID", type=int)
@click.option("--new-url", "address", metavar="URL", help="New URL.")
@click.option("--on/--off", "enabled", default=None, help="Enable or disable it.")
@source_options
@source_changes.dry_run
@source_changes.yes
@with_api
def change_source(
    source_id: int,
    address: str | None,
    enabled: bool | None,
    dry_run: bool,
    yes: bool,
    api: Api,
    as_json: bool,
    **options: Any,
) -> None:
    """Change a boot source.

    Options that you leave out keep their values. Selections are kept.

    \b
    Examples:
      slipway source change 1 --priority 10 --dry-run
      slipway source change 2 --off
    """
    body = body_of(options, url=address, is_enabled=enabled)
    if not body:
        raise click.UsageError("nothing to change; use at least one option")
    if "confirmed_products" in body:  # those of before stay confirmed, as on the page
        before = api.get(f"/sources/{source_id}")["confirmed_products"]
        body["confirmed_products"] = list(dict.fromkeys([*before, *body["confirmed_products"]]))
    if dry_run:
        source_changes.show(source_changes.preview(api, source_id, body), as_json)
        return
    ranks: dict[str, Any] = {
        name: body[name] for name in ("priority", "is_enabled") if name in body
    }
    if ranks and source_changes.is_asked(yes):
        moves = source_changes.preview(api, source_id, ranks)
        source_changes.ask(moves, "Make this change?", as_json)
    changed = api.call("PATCH", f"/sources/{source_id}", body)
    output.result(changed, as_json, f"Changed boot source {source_id}.")


@source_group.command("refresh")
@click.argument("source_id", metavar="ID", type=int)
@with_api
def refresh_source(source_id: int, api: Api, as_json: bool) -> None:
    """Check a boot source again now.

    \b
    Example:
      slipway source refresh 1
    """
    done = api.call("POST", f"/sources/{source_id}/refresh")
    output.result(done, as_json, done["message"])


@source_group.command("dismiss")
@click.argument("source_id", metavar="ID", type=int)
@with_api
def dismiss_notices(source_id: int, api: Api, as_json: bool) -> None:
    """Hide what a boot source's publisher announces.

    It's hidden from you alone, for two weeks. `slipway source show` lists what is announced.

    \b
    Example:
      slipway source dismiss 1
    """
    done = api.call("POST", f"/sources/{source_id}/notices/dismiss")
    output.result(done, as_json, done["message"])


@source_group.command("remove")
@click.argument("source_id", metavar="ID", type=int)
@source_changes.dry_run
@source_changes.yes
@with_api
def remove_source(source_id: int, dry_run: bool, yes: bool, api: Api, as_json: bool) -> None:
    """Remove a boot source and its selections.

    The next import removes its images.

    \b
    Examples:
      slipway source remove 2 --dry-run
      slipway source remove 2
    """
    found = api.get(f"/sources/{source_id}")
    if dry_run or not yes:
        moves = source_changes.preview(api, source_id, {"is_removed": True})
        if dry_run:
            source_changes.show(moves, as_json)
            return
        if not as_json:
            source_changes.print_moves(moves)
        output.confirm(f"Remove {found['url']} and its selections?")
    api.call("DELETE", f"/sources/{source_id}")
    output.result(found, as_json, f"Removed boot source {source_id}.")


for more in (*source_trust.COMMANDS, source_changes.undo, soak.source_soak):
    source_group.add_command(more)
