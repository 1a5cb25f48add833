# SPDX-License-Identifier: Apache-2.0
"""``slipway image``: what is offered, selected and stored."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import bin, output, restrictions, soak, source_changes, versions
from webapp.cli import image_lookup as lookup
from webapp.cli.client import Api, with_api
from webapp.cli.groups import Group, former
from webapp.cli.imports import show_plan, started
from webapp.numbers import counted


@click.group("image", cls=Group)
def image_group() -> None:
    """List, select, delete and roll back images."""


former(image_group, "plan", show_plan)


@image_group.command("list")
@with_api
def list_images(api: Api, as_json: bool) -> None:
    """List stored and selected images with their status.

    \b
    Examples:
      slipway image list
      slipway image list --json | jq -r '.items[] | select(.status != "Synced") | .name'
    """
    found: dict[str, Any] = {"items": [*api.items("/images")], "next": None}
    output.listing(
        found,
        as_json,
        ("Image", "Arch", "Version", "Size", "Status"),
        [
            (i["name"], i["arch"], i["stored_version"] or "-", output.size(i["size"]), _status(i))
            for i in found["items"]
        ],
        empty="No images are stored or selected. Next: slipway image available",
    )


@image_group.command("available")
@click.option("--os", default="", help="Operating system.")
@click.option("--release", default="", help="Release.")
@click.option("--arch", default="", help="Architecture.")
@with_api
def list_available(os: str, release: str, arch: str, api: Api, as_json: bool) -> None:
    """List the images that boot sources offer.

    \b
    Examples:
      slipway image available --os ubuntu --arch amd64
      slipway image available --release noble --json
    """
    found = api.get("/catalogue", os=os, release=release, arch=arch)
    output.listing(
        found,
        as_json,
        ("Image", "Arch", "Title", "Version", "Size", "To download", ""),
        [
            (
                f"{i['os']}/{i['release']}",
                i["arch"],
                i["title"],
                i["version"],
                output.size(i["size"]),
                output.size(i["new_size"]),
                "selected" if i["is_selected"] else "",
            )
            for i in found["items"]
        ],
        empty="No images are available. Next: slipway source list",
    )


@image_group.command("select")
@click.argument("names", nargs=-1, required=True, metavar="OS/RELEASE...")
@click.option(
    "--arch", "arches", multiple=True, help="Architecture, can be repeated.  [default: all]"
)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="Only these kernels, on all architectures; separate names with commas. "
    '"all" for all.  [default: all, or those chosen before]',
)
@click.option("--import", "imports", is_flag=True, help="Start the import now.")
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.option("--yes", is_flag=True, help="Don't ask about kernels.")
@with_api
def select(
    names: tuple[str, ...],
    arches: tuple[str, ...],
    kernels: tuple[str, ...],
    imports: bool,
    dry_run: bool,
    yes: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Select images, and their kernels, for the next import.

    \b
    Examples:
      slipway image select ubuntu/noble ubuntu/jammy --arch amd64 --import
      slipway image select ubuntu/noble --arch amd64 --kernel ga-24.04,hwe-24.04
      slipway image select centos/centos70 --dry-run
    """
    choices = [_choice(name, arch) for name in names for arch in arches or ("*",)]
    if kernels:
        given = [word.strip() for text in kernels for word in text.split(",") if word.strip()]
        chosen = ["*" if word == "all" else word for word in given]
        choices = [choice | {"kernels": chosen} for choice in choices]
    body = {"add": choices, "is_imported": imports}
    if kernels or dry_run:
        preview = api.call("POST", "/catalogue", body | {"is_preview": True})
        for warning in preview["warnings"]:
            output.line(f"Warning: {warning}", err=True)
        if dry_run:
            _print_change(preview, as_json)
            return
        lost = preview["stored_removed"]
        question = f"The next import will move {', '.join(lost)} to the bin. " if lost else ""
        if (lost or preview["warnings"]) and not yes:
            output.confirm(f"{question}Save this choice of kernels?")
    _print_change(api.call("POST", "/catalogue", body), as_json)


@image_group.command("kernels")
@click.argument("name", metavar="OS/RELEASE")
@click.option("--arch", default="", help="Architecture.  [default: all]")
@with_api
def list_kernels(name: str, arch: str, api: Api, as_json: bool) -> None:
    """List the kernels of an image, and the bytes that each adds.

    \b
    Examples:
      slipway image kernels ubuntu/noble
      slipway image kernels ubuntu/noble --arch amd64 --json
    """
    choice = _choice(name, arch)
    found = {"items": list(api.items("/kernels", **choice))}
    output.listing(
        found,
        as_json,
        ("Kernel", "Arch", "Version", "Adds", "To download", ""),
        [
            (
                i["kernel"],
                i["arch"],
                i["version"],
                output.size(i["adds"]),
                output.size(i["new_size"]),
                _chosen(i),
            )
            for i in found["items"]
        ],
        empty=f"No source offers {name}. Next: slipway image available",
    )


@image_group.command("unselect")
@click.argument("names", nargs=-1, required=True, metavar="OS/RELEASE...")
@click.option(
    "--arch", "arches", multiple=True, help="Architecture, can be repeated.  [default: all]"
)
@click.option("--commission", default="", help="Release to commission machines with instead.")
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.option("--yes", is_flag=True, help="Don't ask about stored images.")
@with_api
def unselect(
    names: tuple[str, ...],
    arches: tuple[str, ...],
    commission: str,
    dry_run: bool,
    yes: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Deselect images; the next import moves stored ones to the bin.

    \b
    Examples:
      slipway image unselect ubuntu/focal
      slipway image unselect ubuntu/noble --arch arm64 --yes
      slipway image unselect ubuntu/jammy --commission noble
    """
    choices = [_choice(name, arch) for name in names for arch in arches or ("*",)]
    preview = api.call("POST", "/catalogue", {"remove": choices, "is_preview": True})
    if dry_run:
        _print_change(preview, as_json)
        return
    if preview["stored_removed"] and not yes:
        stored = ", ".join(preview["stored_removed"])
        output.confirm(f"The next import will move {stored} to the bin. Deselect?")
    lost, others = preview["loses_commissioning"], preview["replacements"]
    if lost and others and not commission and not yes:
        question = f"Machines are commissioned with {lost}. Use {others[0]} instead?"
        output.confirm(question, f"--commission {others[0]}")
        commission = others[0]
    body = {"remove": choices, "commission": commission}
    _print_change(api.call("POST", "/catalogue", body), as_json)


@image_group.command("show")
@click.argument("name")
@click.option("--arch", default="", help="Architecture, e.g. amd64 or amd64/generic.")
@with_api
def show(name: str, arch: str, api: Api, as_json: bool) -> None:
    """Show an image with its versions and files.

    \b
    Examples:
      slipway image show ubuntu/noble --arch amd64
      slipway image show web-server --json
    """
    found = [api.get(f"/resources/{r['id']}") for r in lookup.resources(api, name, arch)]
    if as_json:
        output.print_json({"items": found})
        return
    for resource in found:
        output.line(f"{resource['name']} {resource['architecture']}  {resource['title']}".rstrip())
        output.print_table(
            ("", "Version", "File", "Size", "SHA-256"),
            [
                (
                    "*" if version["is_current"] else "",
                    version["version"],
                    file["filename"],
                    output.size(file["size"]),
                    file["sha256"],
                )
                for version in resource["versions"]
                for file in version["files"]
            ],
            empty="Not downloaded yet.",
        )


@image_group.command("delete")
@click.argument("name")
@click.option("--arch", default="", help="Architecture.  [default: all]")
@click.option("--version", default="", help="Only this version, if it isn't the current one.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_api
def delete(name: str, arch: str, version: str, yes: bool, api: Api, as_json: bool) -> None:
    """Delete an image. `slipway image restore` brings it back for a while.

    \b
    Examples:
      slipway image delete web-server
      slipway image delete web-server --version 20261127
    """
    found = [lookup.one(api, name, arch)] if version else lookup.resources(api, name, arch)
    if not yes:
        output.confirm(_question(api, found, version))
    for resource in found:
        path = f"/resources/{resource['id']}"
        api.call("DELETE", f"{path}/versions/{version}" if version else path)
    names = ", ".join(f"{r['name']} {r['architecture']}" for r in found)
    words = f"Deleted {names}{' version ' + version if version else ''}."
    output.result({"deleted": found}, as_json, words)


def _question(api: Api, found: list[dict[str, Any]], version: str) -> str:
    names = ", ".join(f"{r['name']} {r['architecture']}" for r in found)
    if version:
        return f"Delete version {version} of {names}?"
    effects = [api.get(f"/resources/{r['id']}/deletion") for r in found]
    words = f"Delete {names}? This frees {output.size(sum(e['frees'] for e in effects))}."
    machines = max(e["used_by"] for e in effects)
    if machines:
        words += f" {counted(machines, 'machine')} booted it in the last week."
    if any(e["comes_back"] for e in effects):
        words += " It's still selected, so the next import downloads it again."
    return words


def _choice(name: str, arch: str) -> dict[str, Any]:
    os, release = lookup.split(name)
    return {"os": os, "release": release, "arch": arch}


def _chosen(kernel: dict[str, Any]) -> str:
    words = ["generic"] if kernel["is_generic"] else []
    if kernel["is_selected"]:
        words.append("selected" if kernel["is_chosen"] else "left out")
    return ", ".join(words)


def _status(image: dict[str, Any]) -> str:
    words = str(image["status"])
    if image["percent"] is not None:
        words += f" {image['percent']} %"
    return f"{words} ({image['cause']})" if image["cause"] else words


def _print_change(changed: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(changed)
        return
    lines = [
        f"{sign} {name}"
        for sign, keys in (("+", ("added", "kernels_added")), ("-", ("removed", "kernels_removed")))
        for key in keys
        for name in changed[key]
    ]
    for line in lines:
        output.line(line)
    if not lines:
        output.line("No changes.")
    else:
        fetch, free = output.size(changed["new_bytes"]), output.size(changed["freed_bytes"])
        verb = "Saved" if changed["is_done"] else "Dry run"
        output.line(f"{verb}: {fetch} to download, {free} to free.")
    if changed.get("run"):
        output.line(started(changed["run"]))


_more = (soak.image_soak, restrictions.restrict)
for command in (*versions.COMMANDS, *bin.COMMANDS, *source_changes.COMMANDS, *_more):
    image_group.add_command(command)
