# SPDX-License-Identifier: Apache-2.0
"""``slipway upload``: send a file, resume after a cut, and wait until it is an image."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import click

from webapp.cli import output, sending
from webapp.cli.client import Api, Unreachable, with_api
from webapp.cli.groups import Group, former
from webapp.errors import Problem
from webapp.severity import Severity

_POLL_S = 0.5
_ARCH = "amd64/generic"
_NAME = "Image name, e.g. web-server, esxi/8.0 or windows/win2022."
_FILETYPE = "e.g. tgz, ddgz, ddxz or ddraw.  [default: detected]"


@click.group("upload", cls=Group, default="send")
def upload_group() -> None:
    """Upload custom images.

    \b
    Examples:
      slipway upload web.tgz --name web-server           is short for
      slipway upload send web.tgz --name web-server
    """


@upload_group.command("send")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help=_NAME)
@click.option("--arch", "architecture", help=f"ARCH/SUBARCH.  [default: detected, or {_ARCH}]")
@click.option("--filetype", help=_FILETYPE)
@click.option("--title", help="Display name.")
@click.option("--base-image", default="", help="Image it was built from, e.g. ubuntu/jammy.")
@click.option("--no-wait", is_flag=True, help="Don't wait for verification.")
@with_api
def send_file(
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
    """Upload FILE. Run it again to resume.

    Type, architecture and title are detected from the first megabyte. A file that the
    server already has isn't sent again. The exit code is 1 if FILE isn't what you
    declared; stderr says what it is.

    \b
    Examples:
      slipway upload web.tgz --name web-server
      slipway upload esxi8.dd.gz --name esxi/8.0 --url http://lab:5240/
    """
    with file.open("rb") as opened:
        found = _detected(opened, name, _whole(architecture), filetype)
        declared = {
            "name": name,
            "architecture": _whole(architecture) or found.get("architecture", _ARCH),
            "filetype": filetype or found.get("filetype", ""),
            "title": title if title is not None else found.get("title", ""),
            "base_image": base_image,
            "filename": file.name,
        }
        declared["sha256"], size = sending.digest(opened)
        upload_id = sending.send(api, opened, size, declared)
    _follow(api, upload_id, no_wait, as_json)


def _follow(
    api: Api, upload_id: int, no_wait: bool, as_json: bool, *, takes_any: bool = False
) -> None:
    """Wait until an upload ends and print the outcome; exit code 1 if it isn't an image.

    takes_any: no type was declared, so the detected one is.
    """
    found = _ended(api, upload_id, no_wait)
    right = found["report"].get("suggested", {}).get("filetype")
    if takes_any and found["state"] == "rejected" and right not in (None, found["filetype"]):
        api.call("PATCH", f"/uploads/{upload_id}", {"filetype": right})
        found = _ended(api, upload_id, no_wait)
    if as_json:
        output.print_json(found)
    elif no_wait:
        output.line(f"Upload {upload_id} is {found['state']}. Next: slipway upload list")
    else:
        _print_outcome(found)
    if found["state"] in ("rejected", "failed"):
        sys.exit(1)


def _ended(api: Api, upload_id: int, no_wait: bool) -> dict[str, Any]:
    if no_wait:
        return dict(api.get(f"/uploads/{upload_id}"))
    if api.is_local:
        _work_here()
    return _wait(api, upload_id)


def _detected(file: BinaryIO, name: str, architecture: str, filetype: str | None) -> dict[str, str]:
    """What the head of a file suggests; raises Problem if it contradicts the declaration."""
    from webapp.inspection import HEAD, WORDS, Declared, convertible, inspect_head

    size = file.seek(0, 2)
    file.seek(0)
    report = inspect_head(file.read(HEAD), Declared.of(name, architecture, filetype or ""), size)
    report = convertible.announce(report, Declared(filetype or "").word)
    if report.verdict == "reject" and (not filetype or Declared(filetype).word in WORDS):
        _print_report(report.as_dict())
        raise Problem("Nothing was sent.", code="upload-rejected")
    return report.suggested


def _whole(architecture: str | None) -> str:
    """With the subarch ``generic`` unless there is one."""
    architecture = architecture or ""
    return f"{architecture}/generic" if architecture and "/" not in architecture else architecture


@upload_group.command("list")
@click.option("--all", "everything", is_flag=True, help="Include finished uploads.")
@with_api
def list_uploads(everything: bool, api: Api, as_json: bool) -> None:
    """List uploads, newest first.

    \b
    Example:
      slipway upload list
    """
    found = api.get("/uploads", is_open=None if everything else True)
    output.listing(
        found,
        as_json,
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
        empty="No uploads in progress. Next: slipway upload FILE --name NAME",
    )


@upload_group.command("fetch")
@click.argument("place", metavar="URL|PATH")
@click.option("--name", required=True, help=_NAME)
@click.option("--sha256", default="", help="SHA-256 of the file; required for a URL.")
@click.option("--arch", "architecture", default=_ARCH, show_default=True, help="ARCH/SUBARCH.")
@click.option("--filetype", help=_FILETYPE)
@click.option("--title", default="", help="Display name.")
@click.option("--no-wait", is_flag=True, help="Don't wait for the download and verification.")
@with_api
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
    """Let the server fetch a file from a URL or a folder.

    PATH is relative to the server's SLIPWAY_IMPORT_DIR.

    \b
    Examples:
      slipway upload fetch https://lab.example/web.tgz --sha256 DIGEST --name web-server
      slipway upload fetch esxi8.dd.gz --name esxi/8.0
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


@upload_group.command("change")
@click.argument("upload_id", metavar="ID", type=int)
@click.option("--name", help="New name.")
@click.option("--arch", "architecture", help="New ARCH/SUBARCH.")
@click.option("--filetype", help="New file type, e.g. ddgz.")
@click.option("--title", help="New display name.")
@click.option("--no-wait", is_flag=True, help="Don't wait for verification.")
@with_api
def change_upload(
    upload_id: int, no_wait: bool, api: Api, as_json: bool, **changes: str | None
) -> None:
    """Correct an upload's details and check it again.

    \b
    Example:
      slipway upload change 7 --filetype ddgz
    """
    body = {key: value for key, value in changes.items() if value is not None}
    if not body:
        raise click.UsageError("nothing to change; use --filetype, --name, --arch or --title")
    api.call("PATCH", f"/uploads/{upload_id}", body)
    _follow(api, upload_id, no_wait, as_json)


@upload_group.command("discard")
@click.argument("upload_id", metavar="ID", type=int)
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_api
def discard(upload_id: int, yes: bool, api: Api, as_json: bool) -> None:
    """Discard an upload and the data received.

    \b
    Example:
      slipway upload discard 7
    """
    found = api.get(f"/uploads/{upload_id}")
    if not yes:
        output.confirm(f"Discard {output.size(found['received'])} of {found['name']}?")
    api.call("DELETE", f"/uploads/{upload_id}")
    output.result(found, as_json, f"Discarded upload {upload_id}.")


former(upload_group, "declare", change_upload)
former(upload_group, "drop", discard)


def _work_here() -> None:
    """Finish the upload in this process, which needs no worker."""
    from webapp.services.uploads import work
    from webapp.storage.leases import new_owner

    work.work(new_owner(), lambda: False)


def _wait(api: Api, upload_id: int) -> dict[str, Any]:
    found: dict[str, Any] = _asked(api, upload_id)
    left = f"Upload {upload_id} continues; to see it: slipway upload list"
    with output.interruptible(left), output.progress("Checking", found["size"]) as advance:
        while found["state"] in ("checking", "fetching"):
            is_fetching = found["state"] == "fetching"
            words = f"{'Fetching' if is_fetching else 'Checking'} {found['name']}"
            advance(found["received" if is_fetching else "checked"], found["size"], words)
            time.sleep(_POLL_S)
            found = _asked(api, upload_id)
    return found


def _asked(api: Api, upload_id: int) -> dict[str, Any]:
    """The state of an upload; waits for a server that is restarting."""
    patience = time.monotonic() + sending.PATIENCE_S
    while True:
        try:
            return dict(api.get(f"/uploads/{upload_id}"))
        except Unreachable:
            if time.monotonic() > patience:
                raise
        time.sleep(_POLL_S)


def _print_report(report: dict[str, Any]) -> None:
    if report.get("words"):
        output.line(report["words"][0].upper() + report["words"][1:])
    for reason in report.get("reasons", []):
        output.error(f"{Severity(reason['severity']).word}: {reason['message']}")
        if reason["next_step"]:
            output.line(f"  Next: {reason['next_step']}", err=True)


def _print_outcome(found: dict[str, Any]) -> None:
    _print_report(found["report"])
    if found["state"] == "done":
        image = f"{found['name']} {found['architecture']}"
        output.line(f"Version {found['version']} of {image} is now current.")
        return
    problem = found["problem"] or {"what": f"The upload is {found['state']}.", "next_step": ""}
    output.error(f"{problem['what']} {problem['next_step']}".rstrip())
