# SPDX-License-Identifier: Apache-2.0
"""The commands of ``slipway image`` that say which version machines get, and what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from webapp.cli import image_lookup as lookup
from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.numbers import counted

Command = TypeVar("Command", bound=Callable[..., Any])

_name = click.argument("name")
_arch = click.option("--arch", default="", help="Architecture, e.g. amd64 or amd64/hwe-24.04.")


def _version(default: str) -> Callable[[Command], Command]:
    return click.option("--version", default="", help=f"Version.  [default: {default}]")


@click.command("versions")
@_name
@_arch
@with_api
def list_versions(name: str, arch: str, api: Api, as_json: bool) -> None:
    """List the stored versions of an image, and what each is kept for.

    \b
    Examples:
      slipway image versions ubuntu/noble --arch amd64
    """
    path, kernel = lookup.path_of(api, name, arch)
    found = api.get(f"{path}/versions", **kernel)
    if as_json:
        output.print_json(found)
        return
    states = [word for word in ("pinned", "locked") if found[f"is_{word}"]]
    if states:
        output.line(f"{name} is {' and '.join(states)}.")
    output.print_table(
        ("", "Version", "Size", "Stored", "Last fetched", "Kept"),
        [
            (
                "*" if v["is_current"] else "",
                v["version"],
                output.size(v["size"]),
                output.time(v["completed_at"]),
                output.time(v["fetched_at"]),
                _kept(v),
            )
            for v in found["versions"]
        ],
    )


@click.command("rollback")
@_name
@_arch
@click.option("--version", "--to", default="", help="Version.  [default: previous]")
@with_api
def rollback(name: str, arch: str, version: str, api: Api, as_json: bool) -> None:
    """Switch machines to another stored version, without a download.

    An older version of an image from a boot source is pinned: no import undoes it.

    \b
    Examples:
      slipway image rollback ubuntu/noble --arch amd64
      slipway image rollback web-server --version 20261127.001
    """
    path, kernel = lookup.path_of(api, name, arch)
    done = api.call("PUT", f"{path}/current", {"version": version, **kernel})
    before = ", ".join(sorted(set(done["before"].values())))
    words = f"{name}: version {done['version']} is now current (previously {before})."
    if done["is_pinned"]:
        words += f" It's pinned. To let imports update it: slipway image unpin {name}"
    output.result(done, as_json, words + _stayed(done))


@click.command("pin")
@_name
@_arch
@_version("current")
@with_api
def pin(name: str, arch: str, version: str, api: Api, as_json: bool) -> None:
    """Pin an image to a version, so imports don't replace it.

    One that isn't stored is downloaded by the next import, if a boot source offers it.

    \b
    Examples:
      slipway image pin ubuntu/noble --arch amd64
      slipway image pin ubuntu/noble --arch amd64 --version 20260101
    """
    path, kernel = lookup.path_of(api, name, arch)
    done = api.call("PUT", f"{path}/pin", {"version": version, **kernel})
    words = f"{name} is pinned to {done['version']}."
    if done["coming"]:
        words += f" The next import downloads it for {', '.join(done['coming'])}."
    output.result(done, as_json, words + _stayed(done))


@click.command("unpin")
@_name
@_arch
@with_api
def unpin(name: str, arch: str, api: Api, as_json: bool) -> None:
    """Unpin an image, so the next import can update it.

    \b
    Examples:
      slipway image unpin ubuntu/noble --arch amd64
    """
    path, kernel = lookup.path_of(api, name, arch)
    api.call("DELETE", f"{path}/pin", query=kernel)
    words = f"{name} is no longer pinned. The next import updates it."
    output.result({"is_pinned": False}, as_json, words)


@click.command("priority")
@_name
@click.argument("priority", type=click.Choice(["high", "normal", "low"]))
@_arch
@with_api
def set_priority(name: str, priority: str, arch: str, api: Api, as_json: bool) -> None:
    """Let imports download an image before or after the others.

    \b
    Examples:
      slipway image priority ubuntu/noble high --arch amd64
    """
    path = lookup.wanted(api, name, arch)
    done = api.call("PUT", f"{path}/priority", {"priority": priority})
    output.result(done, as_json, f"{name} has {priority} priority.")


@click.command("lock")
@_name
@_arch
@_version("the image as a whole")
@with_api
def lock(name: str, arch: str, version: str, api: Api, as_json: bool) -> None:
    """Protect an image, or one of its versions, from deletion.

    \b
    Examples:
      slipway image lock ubuntu/noble --arch amd64
      slipway image lock ubuntu/noble --arch amd64 --version 20260101
    """
    path, kernel = lookup.path_of(api, name, arch)
    done = api.call("PUT", f"{path}/lock", {"version": version, **kernel})
    output.result(done, as_json, f"{_what(name, version)} is locked. Nothing removes it.")


@click.command("unlock")
@_name
@_arch
@_version("the image as a whole")
@with_api
def unlock(name: str, arch: str, version: str, api: Api, as_json: bool) -> None:
    """Unlock an image, or one of its versions.

    \b
    Examples:
      slipway image unlock ubuntu/noble --arch amd64 --version 20260101
    """
    path, kernel = lookup.path_of(api, name, arch)
    api.call("DELETE", f"{path}/lock", query={"version": version, **kernel})
    output.result({"is_locked": False}, as_json, f"{_what(name, version)} is no longer locked.")


@click.command("keep")
@_name
@_arch
@click.option(
    "--versions", type=int, default=None, help="Versions to keep.  [default: from the settings]"
)
@click.option(
    "--days",
    type=int,
    default=None,
    help="Days to keep them after a machine fetched them.  [default: from the settings]",
)
@with_api
def keep(
    name: str, arch: str, versions: int | None, days: int | None, api: Api, as_json: bool
) -> None:
    """Set how many versions of an image to keep, and for how long.

    \b
    Examples:
      slipway image keep ubuntu/noble --arch amd64 --versions 4
      slipway image keep ubuntu/noble --arch amd64 --days 30
    """
    path, kernel = lookup.path_of(api, name, arch)
    body = {"keep_versions": versions, "keep_days": days, **kernel}
    done = api.call("PUT", f"{path}/keeping", body)
    words = f"{name}: {counted(len(done['versions']), 'version')} stored. The next clean-up "
    output.result(done, as_json, words + "deletes older ones unless something keeps them.")


@click.command("diff")
@_name
@_arch
@click.option("--from", "before", default="", help="Version.  [default: the one before]")
@click.option("--to", "after", default="", help="Version.  [default: current]")
@with_api
def diff(name: str, arch: str, before: str, after: str, api: Api, as_json: bool) -> None:
    """Show what a version changes: packages, kernel, files and bytes.

    \b
    Examples:
      slipway image diff ubuntu/noble --arch amd64
      slipway image diff ubuntu/noble --arch amd64 --from 20260101 --to 20260201
    """
    path, kernel = lookup.path_of(api, name, arch)
    found = api.get(f"{path}/difference", before=before, after=after, **kernel)
    if as_json:
        output.print_json(found)
        return
    sizes = f"{output.size(found['size_before'])} -> {output.size(found['size_after'])}"
    new = output.size(found["new_bytes"])
    output.line(f"{name}: {found['before']} -> {found['after']}, {sizes}, {new} differ")
    for unknown in found["unknown"]:
        output.line(f"The packages of {unknown} aren't known: its source has no list of them.")
    changes = [
        (what, one)
        for what, key in (("kernel", "kernels"), ("file", "files"), ("package", "packages"))
        for one in found[key] or ()
    ]
    output.print_table(
        ("", "Name", "Before", "After"),
        [(f"{one['kind']} {what}", one["name"], *_sides(what, one)) for what, one in changes],
        empty="Nothing differs.",
    )


COMMANDS = (list_versions, rollback, pin, unpin, set_priority, lock, unlock, keep, diff)


def _what(name: str, version: str) -> str:
    return f"Version {version} of {name}" if version else name


def _sides(what: str, change: dict[str, Any]) -> tuple[str, str]:
    """Before and after; of a digest as much as tells two apart."""
    most = 12 if what == "file" else None
    return change["before"][:most], change["after"][:most]


def _stayed(done: dict[str, Any]) -> str:
    return "".join(
        f" {architecture} has no such version and stays at {version}."
        for architecture, version in done["stayed"].items()
    )


def _kept(version: dict[str, Any]) -> str:
    if not version["kept_because"]:
        return "goes at the next clean-up"
    until = f" until {output.time(version['kept_until'])}" if version["kept_until"] else ""
    return f"{version['kept_because']}{until}"
