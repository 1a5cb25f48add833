# SPDX-License-Identifier: Apache-2.0
"""What the command line prints for people."""

from __future__ import annotations

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from webapp.services.status import Overview


def print_status(report: Overview) -> None:
    """Print the overview as short tables; problems first, with their next steps."""
    console = Console(highlight=False)
    for problem in report.problems:
        console.print(f"[red]![/red] {problem['what']}", soft_wrap=True)
        if problem["next_step"]:
            console.print(f"  {problem['next_step']}", soft_wrap=True)
    sources = Table("Boot source", "State", "Last read", box=None, pad_edge=False)
    for row in report.sources:
        state = row["error"] or ("off" if not row["enabled"] else "good")
        sources.add_row(row["url"], state, str(row["refreshed_at"] or "never"))
    console.print(sources)
    images = Table("Image", "Arch", "Version", "Size", "Status", box=None, pad_edge=False)
    for row in report.images:
        images.add_row(
            row["name"], row["arch"], row["version"], decimal(row["size"]), row["status"]
        )
    console.print(images)
    free = f", {decimal(report.free_bytes)} free" if report.free_bytes is not None else ""
    console.print(f"Stored: {decimal(report.stored_bytes)}{free}")
    run = report.run
    if run:
        console.print(f"Importing: {decimal(run['bytes_done'])} of {decimal(run['bytes_total'])}")
    elif report.last_run:
        console.print(f"Last import: {report.last_run['state']} {report.last_run['finished_at']}")
