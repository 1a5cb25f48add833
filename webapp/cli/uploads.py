# SPDX-License-Identifier: Apache-2.0
"""``slipway upload``: send a file, go on after a cut, and wait until it is an image."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import click

from webapp.cli import output, sending
from webapp.cli.client import Api, Unreachable, talks
from webapp.errors import Problem
from webapp.inspection import HEAD, REJECT, WORDS, Declared, inspect_head

_LOOK_S = 0.5
_ARCH = "amd64/generic"


@click.command("upload")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Such as web-server, esxi/8.0 or windows/win2022.")
@click.option("--arch", "architecture", help=f"ARCH/SUBARCH.  [default: what it is, or {_ARCH}]")
@click.option("--filetype", help="tgz, ddgz, ddxz, ddraw, ….  [default: what it is]")
@click.option("--title", help="A title for people.")
@click.option("--base-image", default="", help="What it was made of, such as ubuntu/jammy.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it was checked.")
@talks
def upload(
    file: Path,
    name: str,
    architecture: str | None,
    filetype: str | None,
    title: str | None,
    base_image: str,
    no_wait: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Upload FILE as a custom image; run it again after a cut and it goes on where it was.

    Its first megabyte tells what it is: type, architecture and title need not be
    said. Bytes that the store holds already are not sent. Exit code 1 when the
    file is not what was said, with what it really is.

    \b
    Examples:
      slipway upload web.tgz --name web-server
      slipway upload esxi8.dd.gz --name esxi/8.0 --url http://lab:5240/
    """
    with file.open("rb") as opened:
        found = _look(opened, name, _whole(architecture), filetype)
        said = {
            "name": name,
            "architecture": _whole(architecture) or found.get("architecture", _ARCH),
            "filetype": filetype or found.get("filetype", ""),
            "title": title if title is not None else found.get("title", ""),
            "base_image": base_image,
            "filename": file.name,
        }
        said["sha256"], size = sending.digest(opened)
        upload_id = sending.send(api, opened, size, said)
    _follow(api, upload_id, no_wait, as_json)


def _follow(
    api: Api, upload_id: int, no_wait: bool, as_json: bool, *, takes_any: bool = False
) -> None:
    """Wait for the end of an upload and tell it; exit code 1 when it is no image.

    takes_any: nobody said what it is, so it is declared as what it is found to be.
    """
    found = _ended(api, upload_id, no_wait)
    right = found["report"].get("suggested", {}).get("filetype")
    if takes_any and found["state"] == "rejected" and right not in (None, found["filetype"]):
        api.call("PATCH", f"/uploads/{upload_id}", {"filetype": right})
        found = _ended(api, upload_id, no_wait)
    if as_json:
        output.print_json(found)
    elif no_wait:
        click.echo(f"Upload {upload_id} is {found['state']}. Next: slipway uploads list")
    else:
        _tell(found)
    if found["state"] in ("rejected", "failed"):
        sys.exit(1)


def _ended(api: Api, upload_id: int, no_wait: bool) -> dict[str, Any]:
    if no_wait:
        return dict(api.get(f"/uploads/{upload_id}"))
    if api.is_local:
        _work_here()
    return _wait(api, upload_id)


def _look(file: BinaryIO, name: str, architecture: str, filetype: str | None) -> dict[str, str]:
    """What the head of a file suggests; leaves with exit code 1 when it is not what was said."""
    size = file.seek(0, 2)
    file.seek(0)
    report = inspect_head(file.read(HEAD), Declared.of(name, architecture, filetype or ""), size)
    if report.is_convertible:
        report.announce_conversion()
    if report.verdict == REJECT and (not filetype or Declared(filetype).word in WORDS):
        _tell_report(report.as_dict())
        raise Problem("Nothing was sent.", code="upload-rejected")
    return report.suggested


def _whole(architecture: str | None) -> str:
    """With the subarch that is meant where none is said."""
    architecture = architecture or ""
    return f"{architecture}/generic" if architecture and "/" not in architecture else architecture


@click.group("uploads")
def uploads_group() -> None:
    """Uploads under way: list, fetch, declare anew, drop."""


@uploads_group.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that ended, too.")
@talks
def list_uploads(everything: bool, api: Api, as_json: bool) -> None:
    """List uploads, the newest first.

    \b
    Example:
      slipway uploads list
    """
    found = api.get("/uploads", is_open=None if everything else True)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("ID", "Image", "Architecture", "State", "Received", "Size", "Expires"),
        [
            (
                str(row["id"]),
                row["name"],
                row["architecture"],
                row["state"],
                output.size(row["received"]),
                output.size(row["size"]),
                output.time(row["expires_at"]) if row["expires_at"] else "",
            )
            for row in found["items"]
        ],
        empty="No upload is under way. Next: slipway upload FILE --name NAME",
    )


@uploads_group.command("fetch")
@click.argument("place", metavar="URL|PATH")
@click.option("--name", required=True, help="Such as web-server, esxi/8.0 or windows/win2022.")
@click.option("--sha256", default="", help="Of the file; needed for a URL.")
@click.option("--arch", "architecture", default=_ARCH, show_default=True, help="ARCH/SUBARCH.")
@click.option("--filetype", help="tgz, ddgz, ddxz, ddraw, ….  [default: what it is]")
@click.option("--title", default="", help="A title for people.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it was got and checked.")
@talks
def fetch(
    place: str,
    name: str,
    sha256: str,
    architecture: str,
    filetype: str | None,
    title: str,
    no_wait: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Let the server get a file: from URL, or from PATH below its SLIPWAY_IMPORT_DIR.

    \b
    Examples:
      slipway uploads fetch https://lab.example/web.tgz --sha256 DIGEST --name web-server
      slipway uploads fetch esxi8.dd.gz --name esxi/8.0
    """
    body = {
        "name": name,
        "architecture": _whole(architecture),
        "title": title,
        "sha256": sha256,
        "url" if "://" in place else "path": place,
    }
    if filetype:
        body["filetype"] = filetype
    begun = api.call("POST", "/uploads", body)
    _follow(api, int(begun["id"]), no_wait, as_json, takes_any=not filetype)


@uploads_group.command("declare")
@click.argument("upload_id", metavar="ID", type=int)
@click.option("--name", help="Another name.")
@click.option("--arch", "architecture", help="Another ARCH/SUBARCH.")
@click.option("--filetype", help="What it really is, such as ddgz.")
@click.option("--title", help="Another title.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it was checked again.")
@talks
def declare(upload_id: int, no_wait: bool, api: Api, as_json: bool, **changes: str | None) -> None:
    """Say anew what an upload is, after it was stopped; it is checked again.

    \b
    Example:
      slipway uploads declare 7 --filetype ddgz
    """
    body = {key: value for key, value in changes.items() if value is not None}
    if not body:
        raise click.UsageError("nothing to change: give --filetype, --name, --arch or --title")
    api.call("PATCH", f"/uploads/{upload_id}", body)
    _follow(api, upload_id, no_wait, as_json)


@uploads_group.command("drop")
@click.argument("upload_id", metavar="ID", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
@talks
def drop(upload_id: int, yes: bool, api: Api, as_json: bool) -> None:
    """Forget an upload with its bytes.

    \b
    Example:
      slipway uploads drop 7
    """
    found = api.get(f"/uploads/{upload_id}")
    if not yes:
        words = f"Drop {output.size(found['received'])} of {found['name']}?"
        click.confirm(words, abort=True, err=True)
    api.call("DELETE", f"/uploads/{upload_id}")
    if as_json:
        output.print_json(found)
    else:
        click.echo(f"Dropped upload {upload_id}.")


def _work_here() -> None:
    """Without a worker on this machine the command finishes the upload itself."""
    from webapp.services.uploads import work
    from webapp.storage.leases import new_owner

    work.work(new_owner(), lambda: False)


def _wait(api: Api, upload_id: int) -> dict[str, Any]:
    found: dict[str, Any] = _asked(api, upload_id)
    with output.progress("Checking", found["size"]) as advance:
        while found["state"] in ("checking", "fetching"):
            is_fetching = found["state"] == "fetching"
            words = "Fetching" if is_fetching else "Checking"
            advance(found["received" if is_fetching else "checked"], found["size"], words)
            time.sleep(_LOOK_S)
            found = _asked(api, upload_id)
    return found


def _asked(api: Api, upload_id: int) -> dict[str, Any]:
    """How an upload is; a server that is being started anew is waited for."""
    patience = time.monotonic() + sending.PATIENCE_S
    while True:
        try:
            return dict(api.get(f"/uploads/{upload_id}"))
        except Unreachable:
            if time.monotonic() > patience:
                raise
        time.sleep(_LOOK_S)


def _tell_report(report: dict[str, Any]) -> None:
    if report.get("words"):
        click.echo(report["words"][0].upper() + report["words"][1:])
    for reason in report.get("reasons", []):
        click.echo(f"slipway: {reason['grade']}: {reason['message']}", err=True)
        if reason["next_step"]:
            click.echo(f"  Next: {reason['next_step']}", err=True)


def _tell(found: dict[str, Any]) -> None:
    _tell_report(found["report"])
    if found["state"] == "done":
        click.echo(
            f"Machines get version {found['version']} of {found['name']} "
            f"{found['architecture']} now."
        )
        return
    problem = found["problem"] or {"what": f"The upload is {found['state']}.", "next_step": ""}
    click.echo(f"slipway: {problem['what']} {problem['next_step']}".rstrip(), err=True)
