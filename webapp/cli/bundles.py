# SPDX-License-Identifier: Apache-2.0
"""``slipway mirror bundle``, ``held`` and ``load``: images for sites without a network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click

from webapp.cli import output, sizes
from webapp.cli.client import Api, with_api
from webapp.cli.context import app_context
from webapp.numbers import counted

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("bundle")
@click.argument("out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--since",
    metavar="BUNDLE|FILE",
    type=click.Path(exists=True, path_type=Path),
    help="Leave out what the other side has: the last bundle for it, or its `mirror held`.",
)
@click.option(
    "--split",
    metavar="SIZE",
    default="1G",
    show_default=True,
    callback=sizes.parse,
    help="Size of a piece, e.g. 700M or 4G (decimal).",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Matching images only, e.g. os=ubuntu, arch!=i386 or release~(jammy|noble). "
    "If repeated, all must match.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bundle_command(
    out: Path, since: Path | None, split: int, filters: tuple[str, ...], as_json: bool
) -> None:
    """Write your images to DIR for a site without a network.

    DIR has numbered pieces and a signed list of them, to be copied to any media. It has
    what the local mirror offers; boot loaders are always included. After an
    interruption or on a full disk, run the same command again to continue.

    \b
    Examples:
      slipway mirror bundle /media/usb/monday --split 4G
      slipway mirror bundle /media/usb/friday --since /media/usb/monday
      slipway mirror bundle out --since site-b.json --filter 'release~(jammy|noble)'
    """
    from webapp.bundle import manifest
    from webapp.services.mirror import bundling
    from webapp.streams.filters import parse_filter

    wanted = [parse_filter(text) for text in filters]
    held = manifest.held_at(since) if since is not None else frozenset()
    with (
        app_context(),
        output.interruptible("Run the same command again to continue."),
        output.progress("Bundling", 0) as advance,
    ):
        made = bundling.make(
            out.absolute(), filters=wanted, held=held, split=split, advance=advance
        )
    images, pieces = counted(made.images, "image"), counted(made.pieces, "piece")
    words = f"Bundled {images}: {output.size(made.size)} in {pieces}."
    if made.left_out:
        verb = "is" if made.left_out == 1 else "are"
        words += f" {counted(made.left_out, 'file')} that the other side has {verb} left out."
    output.result(asdict(made), as_json, words)
    if not as_json:
        output.line(f"Key: {made.fingerprint}")
        output.line("Next, at the other site: slipway mirror load DIR")


@click.command("held")
@with_api
def held_command(api: Api, as_json: bool) -> None:
    """Print what is stored here, so that a bundle can leave it out.

    Give the output to --since where the bundle is made. It's JSON, with or without --json.

    \b
    Example:
      slipway mirror held > site-b.json
    """
    output.print_json(api.get("/mirror/held"))


@click.command("load")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=_FOLDER)
@click.option(
    "--keyring",
    type=click.File("rb"),
    help="Public keys to trust; later bundles are checked with them too.",
)
@click.option(
    "--name", default="bundle", show_default=True, help="Name of the boot source it becomes."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def load_command(
    folders: tuple[Path, ...], keyring: BinaryIO | None, name: str, as_json: bool
) -> None:
    """Check the bundle in DIR and make it a boot source here.

    Its pieces may be in several folders: name all of them. Nothing is changed unless every
    piece is there and right. The next bundle of the same name brings the boot source up to
    date. Without --keyring, the first one shows the fingerprint of its key and asks.

    \b
    Examples:
      slipway mirror load /media/usb/monday --keyring lab.asc
      slipway mirror load /media/a /media/b
    """
    from webapp.bundle import reading
    from webapp.services.mirror import loading

    with app_context(), output.interruptible("Run the same command again to continue."):
        trusted = keyring.read() if keyring is not None else loading.pinned(name)
        if trusted is None:
            trusted = _confirmed(reading.key_of(folders))
        with output.progress("Checking", 0) as advance:
            done = loading.load(
                [folder.absolute() for folder in folders],
                name,
                trusted,
                actor="local",
                on_check=advance,
                on_progress=lambda p: advance(p.bytes_done, p.bytes_total or None, "Loading"),
            )
    if as_json:
        output.print_json({**asdict(done), "made_at": done.made_at.isoformat()})
        return
    output.lines(_words(done))


def _confirmed(key: bytes) -> bytes:
    """The key of a first bundle, after a person compared its fingerprint. See output.confirm."""
    from webapp.trust.keyrings import load_keyring

    for each in load_keyring(key).keys:
        output.line(f"{each.fingerprint}  {', '.join(each.user_ids)}", err=True)
    output.line("Compare with the page Local mirror of the site that made the bundle.", err=True)
    output.confirm("Trust this key for this bundle and later ones?", "--keyring FILE")
    return key


def _words(done: Any) -> list[str]:
    made = output.time(done.made_at.isoformat())
    lines = [f"Loaded {counted(done.images, 'image')} of {made} as boot source {done.source_id}."]
    if done.is_importing:
        lines.append("The images that are selected from it are being imported.")
    else:
        lines.append("Next: slipway image available, then slipway image select NAME --import")
    return lines
