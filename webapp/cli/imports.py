# SPDX-License-Identifier: Apache-2.0
"""``slipway import``: preview, start, watch, pause and stop imports."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from webapp.cli import image_lookup as lookup
from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.cli.groups import Group
from webapp.errors import Problem
from webapp.numbers import counted

_POLL_S = 0.5
_COMING = ("downloading", "verifying")


@click.group("import", cls=Group)
def import_group() -> None:
    """Preview, start, watch, pause and stop imports."""


@import_group.command("plan")
@click.option("--all", "everything", is_flag=True, help="Include what stays or isn't wanted.")
@with_api
def show_plan(everything: bool, api: Api, as_json: bool) -> None:
    """Preview what the next import would do, and why.

    \b
    Examples:
      slipway import plan
      slipway import plan --all
    """
    found = api.get("/plan", **({"has_unwanted": True} if everything else {}))
    if as_json:
        output.print_json(found)
        return
    rows = [
        (p["kind"], p["name"], p["architecture"], p["version"], output.size(p["size"]), p["why"])
        for p in found["fetch"]
    ]
    groups = [("remove", found["retire"]), ("confirm", found["wait"]), ("later", found["later"])]
    if everything:
        groups += [("keep", found["keep"]), ("out", found["out"])]
    rows += [
        (word, p["name"], p["architecture"], p["version"], "", p["why"])
        for word, images in groups
        for p in images
    ]
    if rows:
        output.print_table(("", "Image", "Architecture", "Version", "Size", "Why"), rows)
    elif not found["keep"]:
        output.line("No images are selected. Next: slipway image available")
    output.lines(_plan_summary(found, everything))
    for problem in found["refuse"]:
        output.error(f"{problem['what']} {problem['next_step']}".rstrip())
    if found["wait"]:
        output.line("To start this plan, removals included: slipway import start --yes")


def _plan_summary(plan: dict[str, Any], everything: bool) -> Iterator[str]:
    if plan["keep"] and not everything:
        yield f"Kept: {counted(len(plan['keep']), 'image')}; --all lists them."
    held = f" ({output.size(plan['bytes_held'])} here already)" if plan["bytes_held"] else ""
    yield f"To download: {output.size(plan['bytes_to_fetch'])}{held}"
    used, peak, final = (output.size(plan[f"bytes_{key}"]) for key in ("used", "peak", "final"))
    free = output.size(plan["bytes_free"]) if plan["bytes_free"] is not None else "unknown"
    yield f"On disk: {used} now, {peak} at most, {final} afterwards; free: {free}"
    if plan["bytes_lacking"]:
        yield f"Not enough room: {output.size(plan['bytes_lacking'])} more are needed."


@import_group.command("start")
@click.argument("name", default="")
@click.option("--arch", default="", help="Architecture of NAME, e.g. amd64.")
@click.option("--wait", is_flag=True, help="Wait until it ends; exit code 1 if it fails.")
@click.option("--yes", is_flag=True, help="Do exactly what the plan says, removals included.")
@click.option("--now", is_flag=True, help="Import even while no import window is open.")
@with_api
def start(name: str, arch: str, wait: bool, yes: bool, now: bool, api: Api, as_json: bool) -> None:
    """Start importing the selected images, or NAME alone.

    If an import is already running, it continues; NAME alone comes after it, unless it's
    included. The worker does the work: keep `slipway run` or `slipway worker` running.

    \b
    Examples:
      slipway import start
      slipway import start ubuntu/noble --arch amd64
      slipway import start --wait && echo imported
      slipway import start --yes
    """
    if name and yes:
        raise click.UsageError("--yes confirms the plan of all images; leave out NAME.")
    if arch and not name:
        raise click.UsageError("--arch needs the NAME of an image.")
    if name:
        run = _begin(api, f"{lookup.wanted(api, name, arch)}/import", {}, is_sure=now)
        words = f"{run['message']} Next: slipway import watch"
    else:
        body = {"plan": api.get("/plan")["digest"]} if yes else {}
        run = _begin(api, "/imports", body, is_sure=now)
        words = started(run)
    if wait:
        _follow(api, run["id"], as_json)
        return
    output.result(run, as_json, words)


def started(run: dict[str, Any]) -> str:
    """Say which import does what was asked for, and whether it was running already."""
    if run["is_new"]:
        return f"Import {run['id']} is {run['state']}. Next: slipway import watch"
    held = " It's paused. Next: slipway import resume" if run["hold"] else ""
    return f"Import {run['id']} is already running.{held or ' Next: slipway import watch'}"


def _begin(api: Api, path: str, body: dict[str, Any], *, is_sure: bool) -> dict[str, Any]:
    """Start an import. While no window is open, ask a person first, and tell a script."""
    if not is_sure and output.is_terminal(sys.stdin):
        try:
            return dict(api.call("POST", path, body | {"can_run_outside_windows": False}))
        except Problem as problem:
            if problem.code != "outside-windows":
                raise
            output.confirm(f"{problem.what} Import now?", "--now")
    run = dict(api.call("POST", path, body))
    if run["is_outside_windows"] and not is_sure:
        output.line("No import window is open. This import starts anyway.", err=True)
    return run


@import_group.command("watch")
@with_api
def watch(api: Api, as_json: bool) -> None:
    """Watch the running import until it ends.

    The exit code is 1 if the import fails. Ctrl-C stops watching; the import continues.

    \b
    Example:
      slipway import watch
    """
    current = api.get("/imports/current")
    if current["run"] is None:
        output.line("No import is running.", err=True)
        return
    _follow(api, current["run"]["id"], as_json)


@import_group.command("stop")
@click.argument("name", default="")
@click.option("--arch", default="", help="Architecture of NAME, e.g. amd64.")
@with_api
def stop(name: str, arch: str, api: Api, as_json: bool) -> None:
    """Stop the running import, or NAME in it alone.

    The next import keeps what was downloaded.

    \b
    Examples:
      slipway import stop
      slipway import stop ubuntu/noble --arch amd64
    """
    if arch and not name:
        raise click.UsageError("--arch needs the NAME of an image.")
    if not name:
        _steer("stop", api, as_json)
        return
    run = api.call("POST", f"{lookup.wanted(api, name, arch)}/import/stop")
    words = f"Stopped {name} in import {run['id']}. The next import takes it up."
    output.result(run, as_json, words)


@import_group.command("pause")
@with_api
def pause(api: Api, as_json: bool) -> None:
    """Pause the running import, also inside a file.

    \b
    Example:
      slipway import pause
    """
    _steer("pause", api, as_json)


@import_group.command("resume")
@with_api
def resume(api: Api, as_json: bool) -> None:
    """Resume a paused import, outside windows as well.

    \b
    Example:
      slipway import resume
    """
    _steer("resume", api, as_json)


def _steer(how: str, api: Api, as_json: bool) -> None:
    done = api.call("POST", f"/imports/{how}")
    output.result(done, as_json, done["message"])


@import_group.command("retry")
@with_api
def retry(api: Api, as_json: bool) -> None:
    """Try again now what failed, or what waits for its next try.

    \b
    Example:
      slipway import retry
    """
    run = api.call("POST", "/imports/retry")
    words = f"Import {run['id']} is {run['state']}. Next: slipway import watch"
    output.result(run, as_json, words)


@import_group.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Maximum number to show.",
)
@with_api
def list_runs(limit: int, api: Api, as_json: bool) -> None:
    """List imports, newest first.

    \b
    Example:
      slipway import list
    """
    found = api.get("/imports", limit=limit)
    output.listing(
        found,
        as_json,
        ("ID", "State", "Started by", "Started", "Downloaded", "Speed", "Summary"),
        [
            (
                str(run["id"]),
                run["state"],
                run["requested_by"] or run["trigger"],
                output.time(run["started_at"]),
                output.size(run["bytes_done"]),
                output.speed(run["average_bytes_per_s"] or run["bytes_per_s"]),
                run["summary"],
            )
            for run in found["items"]
        ],
        empty="No imports yet. Next: slipway import start",
    )


@import_group.command("show")
@click.argument("run_id", metavar="ID", type=int)
@with_api
def show(run_id: int, api: Api, as_json: bool) -> None:
    """Show an import with its files and failures.

    \b
    Example:
      slipway import show 3
    """
    run = api.get(f"/imports/{run_id}")
    if as_json:
        output.print_json(run)
        return
    output.line(f"Import {run['id']}: {run['state']}. {run['summary']}".rstrip())
    output.lines(_plan_words(run))
    output.print_table(
        ("Image", "Version", "File", "Size", "State", "Speed", "From"),
        [
            (image["title"], image["version"], file["filename"], output.size(file["size"]),
             file["state"], output.speed(file["average_bytes_per_s"] or file["bytes_per_s"]),
             file["mirror"])
            for image in run["images"]
            for file in image["files"]
        ],
    )  # fmt: skip
    _print_troubles(run)
    _print_failures(run)


def _plan_words(run: dict[str, Any]) -> Iterator[str]:
    """Who started it, and what it was to do."""
    yield f"Started by {run['requested_by'] or run['trigger']}, {output.time(run['started_at'])}"
    for one in run["only_images"] or ():
        yield f"Only {one['name']} {one['arch']}"
    for one in run["stopped_images"]:
        yield f"Stopped {one['name']} {one['arch']}{' by ' + one['by'] if one['by'] else ''}"
    plan = run["plan"]
    if plan is None:
        return
    approved = " (approved)" if run["is_approved"] else ""
    size = output.size(plan["bytes_to_fetch"])
    yield f"Plan{approved}: {counted(len(plan['actions']), 'image')} to fetch, {size}"
    for word, images in (("remove", plan["retire"]), ("unconfirmed", plan["wait"])):
        for one in images:
            yield f"  {word}: {one['name']} {one['architecture']}: {one['why']}"
    for change in plan["changes"]:
        yield f"  changed in the meantime: {change}"


def _follow(api: Api, run_id: int, as_json: bool) -> None:
    run = api.get(f"/imports/{run_id}")
    left = f"Import {run_id} continues; to stop it: slipway import stop"
    with output.interruptible(left), output.progress("Import", run["bytes_total"]) as advance:
        while run["is_active"]:
            advance(run["bytes_done"], run["bytes_total"] or None, _activity(run))
            time.sleep(_POLL_S)
            run = api.get(f"/imports/{run_id}")
    if as_json:
        output.print_json(run)
    else:
        output.line(f"Import {run['id']}: {run['state']}. {run['summary']}".rstrip())
        _print_failures(run)
    if run["state"] != "succeeded":
        sys.exit(1)


def _activity(run: dict[str, Any]) -> str:
    """What an import is doing: its phase, how many files are there, and one that is coming."""
    if hold := run.get("hold"):
        return "Paused until a window opens" if hold == "window" else "Paused"
    if not run["phase"]:
        return "Queued"
    files = [file for image in run["images"] for file in image["files"]]
    coming = [file["filename"] for file in files if file["state"] in _COMING]
    done = sum(file["state"] == "done" for file in files)
    words = [str(run["phase"]).capitalize()]
    if files:
        words.append(f"{done}/{len(files)} files")
    return " ".join(words + coming[:1])


def _print_troubles(run: dict[str, Any]) -> None:
    """Files that are tried again, with the reason and the time to wait."""
    for image in run["images"]:
        for file in image["files"]:
            if file["cause"] and file["state"] in _COMING:
                wait = f"next try in {file['retry_s']} s" if file["retry_s"] else "trying again"
                words = (f"{file['filename']}: {file['cause']}", f"({wait})", file["next_step"])
                output.error(" ".join(filter(None, words)))


def _print_failures(run: dict[str, Any]) -> None:
    for failure in run["failures"]:
        words = " ".join(filter(None, (failure["title"], failure["what"], failure["next_step"])))
        output.error(words)
