# SPDX-License-Identifier: Apache-2.0
"""What a change of sources does to images, printed before it's made; bindings, and undo."""

from __future__ import annotations

import sys
from typing import Any

import click

from webapp.cli import image_lookup as lookup
from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.errors import Problem

dry_run = click.option("--dry-run", is_flag=True, help="Only show which images would move.")
yes = click.option("--yes", is_flag=True, help="Don't ask.")


def print_moves(found: Any) -> None:
    """The images that a change moves, and the bytes."""
    output.print_table(
        ("Image", "Architecture", "Now", "Then", "To download", "Why"),
        [
            (
                one["name"],
                one["architecture"],
                _version(one["version_before"], one["source_before"]),
                _version(one["version"], one["source"]) if one["version"] else one["kind"],
                output.size(one["bytes_to_fetch"]),
                one["why"],
            )
            for one in found["moves"]
        ],
        empty="No image changes.",
    )
    if found["bytes_to_fetch"]:
        output.line(f"To download: {output.size(found['bytes_to_fetch'])}")


def is_asked(is_sure: bool) -> bool:
    """Whether to ask first: a person is, a script goes ahead."""
    return not is_sure and output.is_terminal(sys.stdin)


def ask(found: Any, question: str, as_json: bool) -> None:
    """Show what moves, if anything does, and ask."""
    if found["moves"]:
        if not as_json:
            print_moves(found)
        output.confirm(question)


@click.command("bind")
@click.argument("name")
@click.option("--arch", required=True, help="Architecture, e.g. amd64.")
@click.option("--source", "source", required=True, metavar="ID", help="ID, name or URL.")
@dry_run
@yes
@with_api
def bind(
    name: str, arch: str, source: str, dry_run: bool, yes: bool, api: Api, as_json: bool
) -> None:
    """Bind an image to one boot source, whatever the priorities.

    If that source can't provide it, the stored image stays; no other source takes over.

    \b
    Examples:
      slipway image bind ubuntu/noble --arch amd64 --source 2 --dry-run
      slipway image bind ubuntu/noble --arch amd64 --source lab
    """
    _bind(api, _path(name, arch), _source_id(api, source), dry_run, yes, as_json,
          f"{name} {arch} is bound to boot source {source}.")  # fmt: skip


@click.command("unbind")
@click.argument("name")
@click.option("--arch", required=True, help="Architecture, e.g. amd64.")
@dry_run
@yes
@with_api
def unbind(name: str, arch: str, dry_run: bool, yes: bool, api: Api, as_json: bool) -> None:
    """Let priorities decide again where an image comes from.

    \b
    Example:
      slipway image unbind ubuntu/noble --arch amd64
    """
    words = f"{name} {arch} is no longer bound."
    _bind(api, _path(name, arch), None, dry_run, yes, as_json, words)


@click.command("bindings")
@with_api
def list_bindings(api: Api, as_json: bool) -> None:
    """List the images that are bound to a boot source.

    \b
    Example:
      slipway image bindings
    """
    found = api.get("/bindings")
    output.listing(
        found,
        as_json,
        ("Image", "Arch", "Source", "Trouble"),
        [
            (f"{one['os']}/{one['release']}", one["arch"], one["source"], one["trouble"])
            for one in found["items"]
        ],
        empty="No image is bound to a boot source.",
    )


@click.command("undo")
@dry_run
@yes
@with_api
def undo(dry_run: bool, yes: bool, api: Api, as_json: bool) -> None:
    """Undo the last change of priorities, switches and bindings.

    \b
    Examples:
      slipway source undo --dry-run
      slipway source undo
    """
    change = api.get("/source-changes/last")["change"]
    if change is None:
        raise Problem("There's no change to undo.", next_step="Change the boot source instead.")
    body = {"id": change["id"], "is_preview": True}
    found = api.call("POST", "/source-changes/undo", body)
    if dry_run:
        show(found, as_json)
        return
    if is_asked(yes):
        ask(found, f"Undo “{change['summary']}”?", as_json)
    done = api.call("POST", "/source-changes/undo", {"id": change["id"]})
    output.result(done, as_json, f"Undone: {change['summary']}.")


COMMANDS = (bind, unbind, list_bindings)


def preview(api: Api, source_id: int, body: dict[str, Any]) -> Any:
    """What a change of a source would do."""
    return api.call("POST", f"/sources/{source_id}/preview", body)


def _bind(
    api: Api, path: str, source_id: int | None, dry_run: bool, yes: bool, as_json: bool, words: str
) -> None:
    body = {"source_id": source_id}
    found = api.call("PUT", path, {**body, "is_preview": True})
    if dry_run:
        show(found, as_json)
        return
    if is_asked(yes):
        ask(found, "Make this change?", as_json)
    done = api.call("PUT", path, body)
    output.result(done, as_json, f"{words} The next import carries it out.")


def show(found: Any, as_json: bool) -> None:
    """What ``--dry-run`` prints."""
    if as_json:
        output.print_json(found)
    else:
        print_moves(found)


def _path(name: str, arch: str) -> str:
    return f"/bindings/{lookup.in_url(*lookup.split(name), arch)}"


def _source_id(api: Api, text: str) -> int:
    rows = api.get("/sources")["items"]
    found = [r["id"] for r in rows if text in (str(r["id"]), r["name"], r["url"])]
    if len(found) != 1:
        raise Problem(
            f"{'Several boot sources are' if found else 'No boot source is'} called {text}.",
            next_step="`slipway source list` lists them with their IDs.",
        )
    return int(found[0])


def _version(version: str, source: str) -> str:
    return f"{version} ({source})" if source else version
