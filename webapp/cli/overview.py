# SPDX-License-Identifier: Apache-2.0
"""``slipway status`` and ``doctor``: what is stored, running and wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, with_api


@click.command()
@with_api
def status(api: Api, as_json: bool) -> None:
    """Show what is stored, running and wrong.

    \b
    Examples:
      slipway status
      slipway status --json | jq -r '.images[] | [.name, .arch, .stored_version] | @tsv'
      slipway status --url http://lab:5240/ --token-file token
    """
    report = api.get("/status")
    if as_json:
        output.print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    """Print the overview; problems first, with their next steps."""
    for problem in report["problems"]:
        output.line(f"! {problem['what']}", color="red")
        if problem["next_step"]:
            output.line(f"  {problem['next_step']}")
    output.print_table(
        ("Boot source", "State", "Last checked"),
        ((row["url"], _state(row), output.time(row["refreshed_at"])) for row in report["sources"]),
    )
    output.print_table(
        ("Image", "Arch", "Version", "Size", "Status"),
        (
            (
                row["name"],
                row["arch"],
                row["stored_version"] or "-",
                output.size(row["size"]),
                row["status"],
            )
            for row in report["images"]
        ),
    )
    free = report["free_bytes"]
    words = "" if free is None else f", {output.size(free)} free"
    output.line(f"Stored: {output.size(report['stored_bytes'])}{words}")
    output.lines(_run_lines(report))


def _run_lines(report: dict[str, Any]) -> Iterator[str]:
    run, last = report["run"], report["last_run"]
    if run and run["state"] == "queued":
        yield "Import: queued"
    elif run:
        done, total = output.size(run["bytes_done"]), output.size(run["bytes_total"])
        yield f"Import: {run['phase'] or 'starting'}, {done} of {total}"
    elif last:
        at = output.time(last["finished_at"])
        yield f"Last import: {last['state']}, {at}. {last['summary']}".rstrip()
        for failure in last["failures"]:
            name = " ".join(filter(None, (failure["image"], failure["architecture"])))
            yield f"  {name or failure['source']}: {failure['what']}"
    else:
        yield "Import: none yet"


def _state(source: dict[str, Any]) -> str:
    return f"{source['state']} ({source['error']})" if source["error"] else str(source["state"])


@click.command("doctor")
@with_api
def doctor(api: Api, as_json: bool) -> None:
    """Run health checks and list the next steps.

    The exit code is 1 if a check fails.

    \b
    Examples:
      slipway doctor
      slipway doctor --url http://lab:5240/ --json
    """
    found = api.get("/health")
    if as_json:
        output.print_json(found)
    else:
        for check in found["checks"]:
            output.line(f"{check['severity']:5} {check['name']}: {check['found']}")
            if check["next_step"]:
                output.line(f"      Next: {check['next_step']}")
    if not found["is_well"]:
        sys.exit(1)
