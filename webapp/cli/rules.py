# SPDX-License-Identifier: Apache-2.0
"""``slipway rule``: rules that select images at each refresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from webapp import numbers
from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.cli.groups import Group
from webapp.cli.imports import started

KINDS = ("newest-lts", "supported-lts", "newest", "every", "pattern")
FIELDS = ("kind", "os", "count", "pattern", "arches", "kernels", "source_id")


@click.group("rule", cls=Group)
def rule_group() -> None:
    """Select images by rule, at each refresh of a boot source."""


def _source(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> int | str | None:
    if text is None or text == "all":
        return text
    found = numbers.whole(text, digits=9)
    if found is None:
        raise click.BadParameter(f"{text!r} isn't the ID of a boot source. Give a number, or all.")
    return found


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a rule; those that are left out are None or empty."""
    for option in reversed(
        (
            click.option("--os", default=None, help="Operating system, for newest and every."),
            click.option("--count", type=int, help="How many, for newest-lts and newest."),
            click.option(
                "--pattern", help="Regular expression for whole names, e.g. 'ubuntu/(noble|jammy)'."
            ),
            click.option("--arch", "arches", multiple=True, help="Architecture, can be repeated."),
            click.option(
                "--kernel",
                "kernels",
                multiple=True,
                help="Kernel or family, e.g. ga or hwe-24.04; can be repeated.",
            ),
            click.option(
                "--source",
                "source_id",
                metavar="ID",
                callback=_source,
                help='Only this boot source; "all" for all.',
            ),
        )
    ):
        command = option(command)
    return command


@rule_group.command("list")
@with_api
def list_rules(api: Api, as_json: bool) -> None:
    """List the rules with the images that they select.

    \b
    Examples:
      slipway rule list
      slipway rule list --json | jq '.items[].matches'
    """
    found = api.get("/rules")
    output.listing(
        found,
        as_json,
        ("Id", "Rule", "Source", "Selects", "Last evaluated"),
        [
            (
                str(rule["id"]),
                rule["title"],
                str(rule["source_id"] or "all"),
                rule["warning"] or ", ".join(_images(rule["matches"])),
                output.time(rule["evaluated_at"]),
            )
            for rule in found["items"]
        ],
        empty="No rules yet. Next: slipway rule preview newest-lts --count 2",
    )


@rule_group.command("preview")
@click.argument("kind", type=click.Choice(KINDS))
@rule_options
@with_api
def preview(kind: str, api: Api, as_json: bool, **values: Any) -> None:
    """Show what a rule would select, fetch and remove; save nothing.

    \b
    Examples:
      slipway rule preview newest-lts --count 2 --arch amd64
      slipway rule preview pattern --pattern 'centos/.*' --json
    """
    found = api.call("POST", "/rules/preview", _given(kind, values))
    if as_json:
        output.print_json(found)
        return
    for match in found["matches"]:
        output.line(f"{match['os']}/{match['release']} {match['arch']}: {match['why']}")
    _show(found)


@rule_group.command("add")
@click.argument("kind", type=click.Choice(KINDS))
@rule_options
@click.option("--import", "imports", is_flag=True, help="Start the import now.")
@with_api
def add(kind: str, imports: bool, api: Api, as_json: bool, **values: Any) -> None:
    """Add a rule; `slipway rule preview` shows what it would do.

    \b
    Examples:
      slipway rule add newest-lts --count 2 --arch amd64 --kernel ga --import
      slipway rule add every --os centos
    """
    body = _given(kind, values)
    if not as_json:
        _show(api.call("POST", "/rules/preview", body))
    made = api.call("POST", "/rules", body | {"is_imported": imports})
    output.result(made, as_json, _saved(f"Added rule {made['id']}", made))


@rule_group.command("change")
@click.argument("id", type=int)
@click.option("--kind", type=click.Choice(KINDS), help="What it selects.")
@rule_options
@click.option("--import", "imports", is_flag=True, help="Start the import now.")
@click.option("--yes", is_flag=True, help="Don't ask about stored images.")
@with_api
def change(
    id: int, kind: str | None, imports: bool, yes: bool, api: Api, as_json: bool, **values: Any
) -> None:
    """Change a rule; options that are left out stay as they are.

    \b
    Examples:
      slipway rule change 1 --count 3
      slipway rule change 1 --arch amd64 --arch arm64 --yes
    """
    known = api.get(f"/rules/{id}")
    body = {name: known[name] for name in FIELDS} | _given(kind, values)
    found = api.call("POST", "/rules/preview", body | {"replaces": id})
    if not as_json:
        _show(found)
    if found["drops"] and not yes:
        output.confirm(f"The next import will move {_dropped(found)} to the bin. Change the rule?")
    made = api.call("PUT", f"/rules/{id}", body | {"is_imported": imports})
    output.result(made, as_json, _saved(f"Changed rule {id}", made))


@rule_group.command("remove")
@click.argument("id", type=int)
@click.option("--yes", is_flag=True, help="Don't ask about stored images.")
@with_api
def remove(id: int, yes: bool, api: Api, as_json: bool) -> None:
    """Remove a rule; what nothing else selects goes to the bin.

    \b
    Example:
      slipway rule remove 1
    """
    found = api.get(f"/rules/{id}/removal")
    if found["drops"] and not yes:
        output.confirm(f"The next import will move {_dropped(found)} to the bin. Remove the rule?")
    api.call("DELETE", f"/rules/{id}")
    output.result({"removed": id}, as_json, f"Removed rule {id}: {found['title']}.")


def _saved(done: str, made: dict[str, Any]) -> str:
    return f"{done}: {made['title']}." + (f"\n{started(made['run'])}" if made["run"] else "")


def _given(kind: str | None, values: dict[str, Any]) -> dict[str, Any]:
    body = {"kind": kind, **values}
    given = {name: value for name, value in body.items() if value not in (None, ())}
    return given | ({"source_id": None} if given.get("source_id") == "all" else {})


def _images(matches: list[dict[str, Any]]) -> list[str]:
    wanted = (one for one in matches if one["state"] != "dropped")
    return list(dict.fromkeys(f"{one['os']}/{one['release']} {one['arch']}" for one in wanted))


def _dropped(found: dict[str, Any]) -> str:
    return ", ".join(f"{one['name']} {one['architecture']}" for one in found["drops"])


def _show(found: dict[str, Any]) -> None:
    for one in found["adds"]:
        output.line(f"+ {one['name']} {one['architecture']}  {output.size(one['bytes'])}")
    for one in found["drops"]:
        output.line(f"- {one['name']} {one['architecture']}: {one['why']}")
    if found["warning"]:
        output.line(f"Warning: {found['warning']}", err=True)
    output.line(f"{output.size(found['bytes_to_fetch'])} to download.")
