# SPDX-License-Identifier: Apache-2.0
"""``slipway mirror``: publish what is stored, and copy other streams into folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webapp.cli import output
from webapp.cli.bundles import bundle_command, held_command, load_command
from webapp.cli.client import Api, with_api
from webapp.cli.groups import Group
from webapp.errors import Problem
from webapp.numbers import counted

if TYPE_CHECKING:
    from webapp.mirror import PullProgress, PullReport
    from webapp.mirror.model import WantedFile


@click.group("mirror", cls=Group)
def mirror_group() -> None:
    """Publish your images, and copy streams into folders.

    \b
    Examples:
      slipway mirror status
      slipway mirror key > lab.asc
      slipway mirror publish on --image ubuntu/noble
      slipway mirror bundle /media/usb/monday
    """


for _command in (bundle_command, load_command, held_command):
    mirror_group.add_command(_command)


@mirror_group.command("status")
@with_api
def status_command(api: Api, as_json: bool) -> None:
    """Show the local mirror, its key and who reads it.

    \b
    Example:
      slipway mirror status --json | jq -r .url
    """
    found = api.get("/mirror")
    if as_json:
        output.print_json(found)
        return
    output.print_fields(_status_fields(found))
    output.print_table(
        ("Reader", "Last read", "Has", "Transferred"),
        (
            (
                one["address"],
                output.time(one["read_at"]),
                "the current state" if one["revision"] == found["revision"] else "an older state",
                output.size(one["bytes"]),
            )
            for one in found["readers"]
        ),
    )
    for problem in (found["problem"], found["imgverify_problem"]):
        if problem:
            output.line(f"! {problem['what']} {problem['next_step']}", color="red")


@mirror_group.command("publish")
@click.argument("switch", metavar="[on|off]", required=False, type=click.Choice(("on", "off")))
@click.option("--image", "images", multiple=True, metavar="NAME", help="Offer these images only.")
@click.option("--all", "is_all", is_flag=True, help="Offer all images.")
@click.option("--uploads/--no-uploads", "uploads", default=None, help="Offer uploaded images too.")
@click.option("--prefix", metavar="PATH", help="Path of the mirror's address, e.g. maas/images/.")
@with_api
def publish_command(
    switch: str | None,
    images: tuple[str, ...],
    is_all: bool,
    uploads: bool | None,
    prefix: str | None,
    api: Api,
    as_json: bool,
) -> None:
    """Turn the local mirror on or off, and choose what it offers.

    Boot loaders are always included. Turned off, the mirror is gone at once. With another
    prefix, nothing is at the old address.

    \b
    Examples:
      slipway mirror publish off
      slipway mirror publish --image ubuntu/noble --image ubuntu/jammy --no-uploads
      slipway mirror publish on --all
      slipway mirror publish --prefix maas/images/
    """
    if images and is_all:
        raise click.UsageError("Give --image or --all, not both.")
    body: dict[str, Any] = {}
    if switch:
        body["is_on"] = switch == "on"
    if images or is_all:
        body["chosen"] = list(images)
    if uploads is not None:
        body["has_uploads"] = uploads
    if prefix is not None:
        body["prefix"] = prefix
    found = api.call("PATCH", "/mirror", body) if body else api.get("/mirror")
    place = f", at {found['url']}" if prefix is not None else ""
    output.result(found, as_json, f"{_state_words(found)}. Offered: {_offer_words(found)}{place}")


@mirror_group.command("key")
@click.option("--rotate", is_flag=True, help="Create the next key; it signs in two weeks.")
@click.option("--now", is_flag=True, help="With --rotate: it signs at once.")
@click.option("--imgverify", is_flag=True, help="The certificate for iPXE's imgverify instead.")
@with_api
def key_command(rotate: bool, now: bool, imgverify: bool, api: Api, as_json: bool) -> None:
    """Print the public keys of the local mirror, armored.

    A new key is published at once, so that readers can get it before it's used. With
    --now, readers have to get it before they can use the mirror again. With --imgverify
    --rotate, each iPXE has to be built with the new certificate.

    \b
    Examples:
      slipway mirror key > lab.asc
      slipway mirror key --rotate
      slipway mirror key --imgverify > slipway-ca.crt
    """
    if now and not rotate:
        raise click.UsageError("--now needs --rotate.")
    if now and imgverify:
        raise click.UsageError("Give --imgverify or --now, not both.")
    if rotate:
        made = (
            api.call("POST", "/mirror/certificate/rotation")
            if imgverify
            else api.call("POST", "/mirror/key/rotation", {"is_immediate": now})
        )
        output.result(made, as_json, made["message"])
        return
    found = api.get("/mirror/certificate" if imgverify else "/mirror/key")
    text = found["certificate" if imgverify else "public_key"]
    if not text:
        raise Problem(
            "There is no signing key yet.",
            next_step="Start the worker, which creates it: slipway run",
        )
    if as_json:
        output.print_json(found)
    else:
        output.lines(text.splitlines())


def _status_fields(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "State", _state_words(found)
    yield "URL", found["url"]
    yield "Offered", _offer_words(found)
    images, files = counted(found["images"], "image"), counted(found["files"], "file")
    yield "Content", f"{images}, {files}, {output.size(found['bytes'])}"
    yield "Serial", str(found["serial"])
    yield "Signed", output.time(found["signed_at"])
    yield "Key", found["fingerprint"] or "-"
    if found["next_fingerprint"]:
        begins = output.time(found["next_signs_from"])
        yield "Next key", f"{found['next_fingerprint']}, signs from {begins}"


def _state_words(found: dict[str, Any]) -> str:
    if not found["is_on"]:
        return "Off"
    return "Up to date" if found["is_current"] else "Waiting for the worker"


def _offer_words(found: dict[str, Any]) -> str:
    chosen = ", ".join(found["chosen"]) or "all images"
    return chosen + ("" if found["has_uploads"] else ", without uploads")


@mirror_group.command("pull")
@click.argument("url")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--keyring", metavar="FILE", help="Public keys to trust.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Copy matching files only, e.g. os=ubuntu, arch!=i386 or release~(jammy|noble). "
    "If repeated, all must match.",
)
@click.option(
    "--max",
    "max_versions",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Versions of each product, newest first; 0 for all.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be downloaded; change nothing.")
@click.option("--prune", is_flag=True, help="Afterwards, remove files that are no longer wanted.")
@click.option(
    "--prune-after",
    metavar="TIME",
    callback=lambda context, option, text: _duration(text),
    help="Like --prune, but keep such files for TIME (24h, 7d), for readers that still use them.",
)
@click.option("--no-loaders", is_flag=True, help="Leave out boot loaders that no filter matches.")
@click.option(
    "--confirm",
    "confirmed",
    multiple=True,
    metavar="PRODUCT",
    help="Accept that the index and the documents disagree on PRODUCT.",
)
@click.option("--unsigned", is_flag=True, help="Read an unsigned stream, in place of --keyring.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--proxy", default="", metavar="URL", help="Proxy, http://HOST:PORT.")
@click.option("--ca-file", default="", metavar="FILE", help="CAs to trust for HTTPS.")
def pull_command(
    url: str,
    folder: Path,
    keyring: str | None,
    filters: tuple[str, ...],
    max_versions: int,
    dry_run: bool,
    prune: bool,
    prune_after: timedelta | None,
    no_loaders: bool,
    confirmed: tuple[str, ...],
    unsigned: bool,
    as_json: bool,
    proxy: str,
    ca_file: str,
) -> None:
    """Copy the stream at URL into DIR and verify it.

    DIR keeps the layout of the stream, so any web server can serve it as a boot
    source. Exit code 0 means that DIR is complete and verified. Otherwise the old
    index and its files are still in place, and the next pull resumes.

    Filters don't change the signed index, since only its publisher can sign another:
    it lists files that DIR doesn't have.
    Boot loaders are included with any filter, since machines can't boot without them.

    \b
    Examples:
      slipway mirror pull https://images.maas.io/ephemeral-v3/stable/ /srv/mirror \\
        --keyring /usr/share/keyrings/ubuntu-cloudimage-keyring.gpg \\
        --filter 'release~(jammy|noble)' --filter arch=amd64 --dry-run
    """
    from webapp.fetch import Fetcher, Folders, Route
    from webapp.mirror import pull
    from webapp.streams.filters import parse_filter
    from webapp.trust.keyrings import read_keyring

    wanted = [parse_filter(text) for text in filters]
    if unsigned == bool(keyring):
        raise click.UsageError("Give --keyring FILE, or --unsigned for an unsigned stream.")
    if prune and prune_after is not None:
        raise click.UsageError("Give --prune or --prune-after, not both.")
    keys = read_keyring(keyring) if keyring else None
    with (
        # The person who types this may read any file of theirs.
        Fetcher(Route(proxy_url=proxy, ca_file=ca_file), files=Folders((Path("/"),))) as fetcher,
        output.interruptible("Run the same command again to resume."),
        output.progress("Checking the stream", 0) as advance,
    ):
        report = pull(
            url,
            folder,
            keys,
            wanted,
            dry_run=dry_run,
            max_versions=max_versions,
            prune_after=timedelta(0) if prune else prune_after,
            keeps_loaders=not no_loaders,
            confirmed=confirmed,
            fetcher=fetcher,
            on_progress=lambda progress: _advance(advance, progress),
        )
    for warning in report.warnings:
        output.error(f"warning: {warning}")
    if as_json:
        output.print_json(_as_dict(report))
        return
    output.lines(_summary(report))


def _advance(advance: Any, progress: PullProgress) -> None:
    words = f"{progress.files_done}/{progress.files_total} files"
    advance(progress.bytes_done, progress.bytes_total or None, words)


def _as_dict(report: PullReport) -> dict[str, object]:
    """The report for programs; sizes in bytes."""
    lists = ("fetched", "kept", "reused", "superseded", "removed")
    return {
        **{
            name: [{"path": file.path, "size": file.size} for file in getattr(report, name)]
            for name in lists
        },
        "is_dry_run": report.is_dry_run,
        "is_unchanged": report.is_unchanged,
        "is_pruned": bool(report.removed),
        "index_updated_at": report.index_updated_at and report.index_updated_at.isoformat(),
        "signer": report.fingerprint,
    }


def _summary(report: PullReport) -> Iterator[str]:
    """What happened, or would happen, in a few lines."""
    if report.is_dry_run:
        for file in report.fetched:
            yield f"{file.size:>14} {file.path}"
        yield f"Would download {_amount(report.fetched)} and keep {_amount(report.kept)}."
    elif report.is_unchanged:
        yield f"Unchanged: {_amount(report.kept)}, all verified."
    else:
        yield (
            f"Downloaded {_amount(report.fetched)}, kept {_amount(report.kept)}, "
            f"reused {_amount(report.reused)}; all verified."
        )
    dated = report.index_updated_at
    yield (
        f"Index published {f'{dated:%Y-%m-%d %H:%M} UTC' if dated else 'on an unknown date'}, "
        f"{f'signed by {report.fingerprint}' if report.fingerprint else 'not signed'}."
    )
    if report.removed:
        yield f"Removed {_amount(report.removed)} no longer wanted."
    if report.superseded:
        yield f"No longer wanted: {_amount(report.superseded)}; --prune removes them."


def _duration(text: str | None) -> timedelta | None:
    """A time as ``90m``, ``24h`` or ``7d``. Raises BadParameter."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} isn't a time. Give a number and s, m, h or d: 24h.")
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    return timedelta(seconds=int(match[1]) * seconds)


def _amount(files: tuple[WantedFile, ...]) -> str:
    size: float = sum(file.size for file in files)
    text = f"{size} bytes"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size /= 1024
        text = f"{size:.1f} {unit}"
    return f"{counted(len(files), 'file')} ({text})"
