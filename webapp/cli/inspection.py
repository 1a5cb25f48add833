# SPDX-License-Identifier: Apache-2.0
"""``slipway inspect``: what a file is, and whether it can be uploaded as what it should be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from webapp.cli import output

_PIECE = 1 << 20


@click.command("inspect")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--filetype", default="", help="Expected file type, e.g. tgz, ddgz or ddxz.")
@click.option("--os", default="", help="Expected operating system, e.g. esxi or windows.")
@click.option("--release", default="", help="Expected release, e.g. 8.0.2.")
@click.option("--arch", default="", help="Expected architecture, e.g. amd64.")
@click.option("--quick", is_flag=True, help="Check the first megabyte only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect_command(
    file: Path, filetype: str, os: str, release: str, arch: str, quick: bool, as_json: bool
) -> None:
    """Inspect FILE before you upload it.

    Shows what FILE is, and whether it can be uploaded as the type you expect. Checks
    every byte: the checksums of the compression, the length of the disk and both of
    its partition tables. Exit codes: 0 OK, maybe with warnings; 1 not what you expect.

    \b
    Examples:
      slipway inspect esxi8.dd.gz --filetype ddgz --os esxi
      slipway inspect root.tgz --filetype tgz --arch arm64 --json
    """
    from webapp.inspection import Declared, inspect, inspect_head
    from webapp.inspection.inspector import HEAD

    declared = Declared(filetype, os, release, arch)
    size = file.stat().st_size
    with file.open("rb") as opened:
        if quick:
            report = inspect_head(opened.read(HEAD), declared, size)
        else:
            with output.progress(f"Checking {file.name}", size) as advance:
                report = inspect(_pieces(opened), declared, advance)
    if as_json:
        output.print_json(report.as_dict())
    else:
        output.line(report.words[0].upper() + report.words[1:])
        for reason in report.reasons:
            output.line(f"{reason.severity.word}: {reason.message}")
            if reason.next_step:
                output.line(f"  Next: {reason.next_step}")
        if report.verdict != "reject":
            suggested = report.suggested.get("filetype")
            output.line("Ready to upload" + (f" as {suggested}." if suggested else "."))
    sys.exit(1 if report.verdict == "reject" else 0)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
