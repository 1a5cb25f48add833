# SPDX-License-Identifier: Apache-2.0
"""``slipway images``: what is offered, selected and stored, and the versions of uploads."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, talks
from webapp.errors import Problem


@click.group("images")
def images_group() -> None:
    """Images: select, list, delete, roll back."""


@images_group.command("list")
@talks
def list_images(api: Api, as_json: bool) -> None:
    """List what is stored or selected, with its status.

    \b
    Examples:
      slipway images list
      slipway images list --json | jq -r '.items[] | select(.status != "Synced") | .name'
    """
    found = api.get("/images")
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("Image", "Arch", "Version", "Size", "Status"),
        [
            (i["name"], i["arch"], i["stored_version"] or "-", output.size(i["size"]), _status(i))
            for i in found["items"]
        ],
        empty="Nothing is stored or selected. Next: slipway images available",
    )


@images_group.command("available")
@click.option("--os", default="", help="Only this operating system.")
@click.option("--release", default="", help="Only this release.")
@click.option("--arch", default="", help="Only this architecture.")
@talks
def list_available(os: str, release: str, arch: str, api: Api, as_json: bool) -> None:
    """List what the boot sources offer, with sizes.

    \b
    Examples:
      slipway images available --os ubuntu --arch amd64
      slipway images available --release noble --json
    """
    found = api.get("/catalogue", os=os, release=release, arch=arch)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("Image", "Arch", "Title", "Version", "Size", "To fetch", ""),
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
        empty="Nothing is on offer. Next: slipway source list says why",
    )


@images_group.command("select")
@click.argument("names", nargs=-1, required=True, metavar="OS/RELEASE...")
@click.option("--arch", "arches", multiple=True, help="Architectures; every one when left out.")
@click.option("--import", "imports", is_flag=True, help="Start the import at once.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@talks
def select(
    names: tuple[str, ...],
    arches: tuple[str, ...],
    imports: bool,
    dry_run: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Select images; they come with the next import.

    \b
    Examples:
      slipway images select ubuntu/noble ubuntu/jammy --arch amd64 --import
      slipway images select centos/centos70 --dry-run
    """
    choices = [_choice(name, arch) for name in names for arch in arches or ("*",)]
    body = {"add": choices, "is_imported": imports, "is_preview": dry_run}
    _told(api.call("POST", "/catalogue", body), as_json)


@images_group.command("unselect")
@click.argument("names", nargs=-1, required=True, metavar="OS/RELEASE...")
@click.option("--arch", "arches", multiple=True, help="Architectures; every one when left out.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask about images that are stored.")
@talks
def unselect(
    names: tuple[str, ...],
    arches: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Unselect images; those that are stored go with the next import.

    \b
    Examples:
      slipway images unselect ubuntu/focal
      slipway images unselect ubuntu/noble --arch arm64 --yes
    """
    choices = [_choice(name, arch) for name in names for arch in arches or ("*",)]
    preview = api.call("POST", "/catalogue", {"remove": choices, "is_preview": True})
    if dry_run:
        _told(preview, as_json)
        return
    if preview["stored_removed"] and not yes:
        stored = ", ".join(preview["stored_removed"])
        click.confirm(f"Machines boot from {stored}. Unselect?", abort=True, err=True)
    _told(api.call("POST", "/catalogue", {"remove": choices}), as_json)


@images_group.command("plan")
@talks
def show_plan(api: Api, as_json: bool) -> None:
    """Say what the next import would do, and why, before it does it.

    \b
    Example:
      slipway images plan
    """
    found = api.get("/plan")
    if as_json:
        output.print_json(found)
        return
    rows = [
        ("fetch", p["name"], p["architecture"], p["version"], output.size(p["size"]), p["why"])
        for p in found["fetch"]
    ]
    for word, key in (("remove", "retire"), ("keep", "keep")):
        rows += [(word, p["name"], p["architecture"], "", "", p["why"]) for p in found[key]]
    output.print_table(
        ("", "Image", "Architecture", "Version", "Size", "Why"),
        rows,
        empty="Nothing to do: select something first. Next: slipway images available",
    )
    click.echo(f"To fetch: {output.size(found['bytes_to_fetch'])}")
    for problem in found["refuse"]:
        click.echo(f"slipway: {problem['what']} {problem['next_step']}", err=True)


@images_group.command("show")
@click.argument("name")
@click.option("--arch", default="", help="Architecture, such as amd64 or amd64/generic.")
@talks
def show(name: str, arch: str, api: Api, as_json: bool) -> None:
    """Show an image with its versions and files.

    \b
    Examples:
      slipway images show ubuntu/noble --arch amd64
      slipway images show web-server --json
    """
    found = [api.get(f"/resources/{r['id']}") for r in _resources(api, name, arch)]
    if as_json:
        output.print_json({"items": found})
        return
    for resource in found:
        click.echo(f"{resource['name']} {resource['architecture']}  {resource['title']}".rstrip())
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
            empty="Nothing has come of it yet.",
        )


@images_group.command("rollback")
@click.argument("name")
@click.option("--arch", default="", help="Architecture, such as amd64 or amd64/generic.")
@click.option("--to", "version", default="", help="The version; the one before when left out.")
@talks
def rollback(name: str, arch: str, version: str, api: Api, as_json: bool) -> None:
    """Let machines get another version of an uploaded image from now on.

    \b
    Examples:
      slipway images rollback web-server
      slipway images rollback web-server --to 20261127.001
    """
    resource = api.get(f"/resources/{_one(api, name, arch)['id']}")
    if not version:
        older = [v["version"] for v in resource["versions"] if v["version"] < resource["version"]]
        if not older:
            raise Problem(
                f"There is no older version of {name}.",
                next_step=f"`slipway images show {name}` lists its versions.",
            )
        version = max(older)
    done = api.call("PUT", f"/resources/{resource['id']}/current", {"version": version})
    if as_json:
        output.print_json(done)
    else:
        click.echo(f"Machines get version {version} of {name} now (before: {resource['version']}).")


@images_group.command("delete")
@click.argument("name")
@click.option("--arch", default="", help="Architecture; every one when left out.")
@click.option("--version", default="", help="Only this version, which machines do not get.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@talks
def delete(name: str, arch: str, version: str, yes: bool, api: Api, as_json: bool) -> None:
    """Delete an image: machines do not get it any more.

    \b
    Examples:
      slipway images delete web-server
      slipway images delete web-server --version 20261127
    """
    found = [_one(api, name, arch)] if version else _resources(api, name, arch)
    if not yes:
        click.confirm(_question(api, found, version), abort=True, err=True)
    for resource in found:
        path = f"/resources/{resource['id']}"
        api.call("DELETE", f"{path}/versions/{version}" if version else path)
    if as_json:
        output.print_json({"deleted": found})
    else:
        names = ", ".join(f"{r['name']} {r['architecture']}" for r in found)
        click.echo(f"Deleted {names}{' version ' + version if version else ''}.")


def _question(api: Api, found: list[dict[str, Any]], version: str) -> str:
    names = ", ".join(f"{r['name']} {r['architecture']}" for r in found)
    if version:
        return f"Delete version {version} of {names}?"
    told = [api.get(f"/resources/{r['id']}/deletion") for r in found]
    words = f"Delete {names}? It frees {output.size(sum(t['frees'] for t in told))}."
    machines = max(t["used_by"] for t in told)
    if machines:
        words += f" {machines} machines fetched it within a week."
    if any(t["comes_back"] for t in told):
        words += " It is still selected and comes back with the next import."
    return words


def _choice(name: str, arch: str) -> dict[str, str]:
    os, slash, release = name.partition("/")
    if not slash or not release:
        raise click.UsageError(f"{name}: expected OS/RELEASE, such as ubuntu/noble")
    return {"os": os, "release": release, "arch": arch}


def _resources(api: Api, name: str, arch: str) -> list[dict[str, Any]]:
    name = name.removeprefix("custom/")
    found = [
        resource
        for resource in api.items("/resources", name=name)
        if arch in ("", resource["architecture"], resource["architecture"].partition("/")[0])
    ]
    if not found:
        raise Problem(
            f"There is no image {name}{' for ' + arch if arch else ''}.",
            next_step="`slipway images list` shows all.",
        )
    return found


def _one(api: Api, name: str, arch: str) -> dict[str, Any]:
    found = _resources(api, name, arch)
    if len(found) > 1:
        arches = ", ".join(r["architecture"] for r in found)
        raise click.UsageError(f"{name} is several images; say --arch: {arches}")
    return found[0]


def _status(image: dict[str, Any]) -> str:
    words = str(image["status"])
    if image["percent"] is not None:
        words += f" {image['percent']} %"
    return f"{words} ({image['cause']})" if image["cause"] else words


def _told(changed: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(changed)
        return
    for word, key in (("+", "added"), ("-", "removed")):
        for name in changed[key]:
            click.echo(f"{word} {name}")
    if not changed["added"] and not changed["removed"]:
        click.echo("Nothing changes.")
        return
    fetch, free = output.size(changed["new_bytes"]), output.size(changed["freed_bytes"])
    verb = "Done" if changed["is_done"] else "Would change"
    click.echo(f"{verb}: {fetch} to fetch, {free} to free.")
