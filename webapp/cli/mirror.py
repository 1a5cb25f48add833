# SPDX-License-Identifier: Apache-2.0
"""``slipway mirror``: keep a copy of a boot source in a folder.

Registered by webapp.cli; a Problem that leaves a command is printed there as one
sentence, with exit code 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from webapp.mirror import Progress, PullReport
    from webapp.mirror.model import WantedFile


@click.group("mirror")
def mirror_group() -> None:
    """Keep a copy of a boot source in a folder."""


@mirror_group.command("pull")
@click.argument("url")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--keyring", required=True, metavar="FILE", help="Public keys that may sign it.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only files that match: os=ubuntu, arch!=i386, release~(jammy|noble). All must match.",
)
@click.option(
    "--max",
    "max_versions",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Versions of each product, newest first; 0 for all.",
)
@click.option("--dry-run", is_flag=True, help="Say what would come; change nothing.")
@click.option("--prune", is_flag=True, help="Afterwards remove files that are not wanted any more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--proxy", default="", metavar="URL", help="http://host:port to go through.")
@click.option("--ca-file", default="", metavar="FILE", help="Trust only these CAs for https.")
def pull_command(
    url: str,
    folder: Path,
    keyring: str,
    filters: tuple[str, ...],
    max_versions: int,
    dry_run: bool,
    prune: bool,
    as_json: bool,
    proxy: str,
    ca_file: str,
) -> None:
    """Bring the stream at URL into DIR, verified and in its own layout.

    DIR can be served by any web server and be a boot source itself. Exit code 0
    means that all of it is there and verified. Otherwise the old index is still
    in place with all that it had, and the next pull goes on where this stopped.

    With filters the signed index stays whole, since only its publisher can sign
    another: it lists files that DIR does not have.

    \b
    Examples:
      slipway mirror pull https://images.maas.io/ephemeral-v3/stable/ /srv/mirror \\
        --keyring /usr/share/keyrings/ubuntu-cloudimage-keyring.gpg \\
        --filter 'release~(jammy|noble)' --filter arch=amd64 --dry-run
    """
    from rich.console import Console

    from webapp.fetch import Fetcher, Route
    from webapp.mirror import pull
    from webapp.streams.filters import parse_filter
    from webapp.trust.keyrings import read_keyring

    wanted = [parse_filter(text) for text in filters]
    keys = read_keyring(keyring)
    console = Console(stderr=True)
    with (
        Fetcher(Route(proxy_url=proxy, ca_file=ca_file)) as fetcher,
        _progress(console) as on_progress,
    ):
        report = pull(
            url,
            folder,
            keys,
            wanted,
            dry_run=dry_run,
            max_versions=max_versions,
            prune=prune,
            fetcher=fetcher,
            on_progress=on_progress,
        )
    for warning in report.warnings:
        click.echo(f"slipway: warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(_as_dict(report), indent=2))
        return
    for line in _summary(report):
        click.echo(line)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Progress], None] | None]:
    """A bar on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[files]} files"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("pull", total=None, files="0")

        def tell(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.bytes_total or None,
                completed=progress.bytes_done,
                files=f"{progress.files_done}/{progress.files_total}",
            )

        yield tell


def _as_dict(report: PullReport) -> dict[str, object]:
    """The same for programs; sizes in bytes."""
    lists = ("fetched", "kept", "reused", "superseded")
    return {
        **{
            name: [{"path": file.path, "size": file.size} for file in getattr(report, name)]
            for name in lists
        },
        "is_dry_run": report.is_dry_run,
        "is_unchanged": report.is_unchanged,
        "is_pruned": report.is_pruned,
        "index_updated_at": report.index_updated_at and report.index_updated_at.isoformat(),
        "signer": report.fingerprint,
    }


def _summary(report: PullReport) -> Iterator[str]:
    """What happened, or would, in a few lines."""
    if report.is_dry_run:
        for file in report.fetched:
            yield f"{file.size:>14} {file.path}"
        yield f"Would fetch {_amount(report.fetched)} and keep {_amount(report.kept)}."
    elif report.is_unchanged:
        yield f"Unchanged: {_amount(report.kept)}, all verified."
    else:
        yield (
            f"Fetched {_amount(report.fetched)}, kept {_amount(report.kept)}, "
            f"reused {_amount(report.reused)}; all verified."
        )
    dated = report.index_updated_at
    yield (
        f"Index of {f'{dated:%Y-%m-%d %H:%M} UTC' if dated else 'an unknown date'}, "
        f"{f'signed by {report.fingerprint}' if report.fingerprint else 'not signed'}."
    )
    if report.superseded:
        if report.is_pruned:
            yield f"Removed {_amount(report.superseded)} that are not wanted any more."
        else:
            yield f"{_amount(report.superseded)} are not wanted any more; --prune removes them."


def _amount(files: tuple[WantedFile, ...]) -> str:
    size: float = sum(file.size for file in files)
    text = f"{size} bytes"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size /= 1024
        text = f"{size:.1f} {unit}"
    return f"{len(files)} file{'' if len(files) == 1 else 's'} ({text})"
