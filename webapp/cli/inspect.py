# SPDX-License-Identifier: Apache-2.0
"""``slipway inspect``: what is this file, and is it what I mean to upload?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

_PIECE = 1 << 20


@click.command("inspect")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--filetype", default="", help="Declared file type, e.g. tgz, ddgz or ddxz.")
@click.option("--os", default="", help="Operating system, e.g. esxi or windows.")
@click.option("--release", default="", help="Release, e.g. 8.0.2.")
@click.option("--arch", default="", help="Architecture, e.g. amd64.")
@click.option("--quick", is_flag=True, help="Inspect the first MiB only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect_command(
    file: Path, filetype: str, os: str, release: str, arch: str, quick: bool, as_json: bool
) -> None:
    """Inspect FILE: what it really is, and whether it can be uploaded as declared.

    Reads every byte: checksums of the compression, the length of the disk, both of
    its partition tables. Exit codes: 0 OK, or OK with warnings; 1 rejected.

    \b
    Examples:
      slipway inspect esxi8.dd.gz --filetype ddgz --os esxi
      slipway inspect root.tgz --filetype tgz --arch arm64 --json
    """
    from webapp.inspection import Declared, inspect, inspect_head
    from webapp.inspection.look import HEAD

    declared = Declared(filetype, os, release, arch)
    size = file.stat().st_size
    with file.open("rb") as opened:
        if quick:
            report = inspect_head(opened.read(HEAD), declared, size)
        else:
            from webapp.cli import output

            with output.progress("Inspecting", size) as advance:
                report = inspect(_pieces(opened), declared, advance)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        click.echo(report.words[0].upper() + report.words[1:])
        for reason in report.reasons:
            click.echo(f"{reason.grade}: {reason.message}")
            if reason.next_step:
                click.echo(f"  Next: {reason.next_step}")
        if not any(reason.grade == "reject" for reason in report.reasons):
            click.echo("Verdict: OK to upload" + (f" as {report.suggested['filetype']}."
                       if "filetype" in report.suggested else "."))  # fmt: skip
    sys.exit(1 if report.verdict == "reject" else 0)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
