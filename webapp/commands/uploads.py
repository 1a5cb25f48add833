# SPDX-License-Identifier: Apache-2.0
"""``slipway upload``: send a file, go on after a cut, and wait until it is an image."""

from __future__ import annotations

import base64
import hashlib
import itertools
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import click

from webapp.commands import output
from webapp.commands.client import API, Answer, Api, ApiProblem, Unreachable, talks
from webapp.errors import Problem

PIECE = 8 << 20
TUS = {"Tus-Resumable": "1.0.0", "User-Agent": "slipway/cli"}
_PATIENCE_S = 120.0  # with one piece, while nobody takes it
_LOOK_S = 0.5


@click.command("upload")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Such as web-server, esxi/8.0 or windows/win2022.")
@click.option(
    "--arch", "architecture", default="amd64/generic", show_default=True, help="ARCH/SUBARCH."
)
@click.option("--filetype", default="tgz", show_default=True, help="tgz, ddgz, ddxz, ddraw, ….")
@click.option("--title", default="", help="A title for people.")
@click.option("--base-image", default="", help="What it was made of, such as ubuntu/jammy.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it was checked.")
@talks
def upload(
    file: Path,
    name: str,
    architecture: str,
    filetype: str,
    title: str,
    base_image: str,
    no_wait: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Upload FILE as a custom image; run it again after a cut and it goes on where it was.

    Bytes that the store holds already are not sent. Exit code 1 when the file is
    not what was said, with what it really is.

    \b
    Examples:
      slipway upload web.tgz --name web-server
      slipway upload esxi8.dd.gz --name esxi/8.0 --filetype ddgz --url http://lab:5240/
    """
    said = {
        "name": name,
        "architecture": architecture if "/" in architecture else f"{architecture}/generic",
        "filetype": filetype,
        "title": title,
        "base_image": base_image,
        "filename": file.name,
    }
    with file.open("rb") as opened:
        said["sha256"], size = _digest(opened)
        upload_id = _send(api, opened, size, said)
    _follow(api, upload_id, no_wait, as_json)


def _follow(api: Api, upload_id: int, no_wait: bool, as_json: bool) -> None:
    """Wait for the end of an upload and tell it; exit code 1 when it is no image."""
    if api.is_local and not no_wait:
        _work_here()
    found = api.get(f"/uploads/{upload_id}") if no_wait else _wait(api, upload_id)
    if as_json:
        output.print_json(found)
    elif no_wait:
        click.echo(f"Upload {upload_id} is {found['state']}. Next: slipway uploads list")
    else:
        _tell(found)
    if found["state"] in ("rejected", "failed"):
        sys.exit(1)


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
    found = api.get("/uploads", open=None if everything else True)
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
@click.option(
    "--arch", "architecture", default="amd64/generic", show_default=True, help="ARCH/SUBARCH."
)
@click.option("--filetype", default="tgz", show_default=True, help="tgz, ddgz, ddxz, ddraw, ….")
@click.option("--title", default="", help="A title for people.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it was got and checked.")
@talks
def fetch(
    place: str,
    name: str,
    sha256: str,
    architecture: str,
    filetype: str,
    title: str,
    no_wait: bool,
    api: Api,
    as_json: bool,
) -> None:
    """Let the server get a file: from URL, or from PATH below its SLIPWAY_IMPORT_DIR.

    \b
    Examples:
      slipway uploads fetch https://lab.example/web.tgz --sha256 DIGEST --name web-server
      slipway uploads fetch esxi8.dd.gz --name esxi/8.0 --filetype ddgz
    """
    body = {
        "name": name,
        "architecture": architecture if "/" in architecture else f"{architecture}/generic",
        "filetype": filetype,
        "title": title,
        "sha256": sha256,
        "url" if "://" in place else "path": place,
    }
    begun = api.call("POST", "/uploads", body)
    _follow(api, int(begun["id"]), no_wait, as_json)


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


def _digest(file: BinaryIO) -> tuple[str, int]:
    """SHA-256 and size; the server asks for them, and may know these bytes already."""
    size = file.seek(0, 2)
    file.seek(0)
    found, done = hashlib.sha256(), 0
    with output.progress("Reading", size) as advance:
        while piece := file.read(PIECE):
            found.update(piece)
            done += len(piece)
            advance(done)
    return found.hexdigest(), done


def _send(api: Api, file: BinaryIO, size: int, said: dict[str, str]) -> int:
    """Begin or go on, and send everything; returns the upload's id."""
    before = _under_way(api, size, said)
    if before is None:
        begun = api.send("POST", f"{API}/uploads/files", _first(size, said), b"")
        place, upload_id = begun.headers["location"], int(begun.headers["slipway-upload"])
        offset = int(begun.headers["upload-offset"])
        if offset == size:
            click.echo("The store holds these bytes already; nothing was sent.", err=True)
    else:
        place, upload_id = str(before["files_url"]), int(before["id"])
        offset = int(before["received"])
        if before["state"] != "receiving":
            return upload_id
        click.echo(f"Going on at {output.size(offset)}.", err=True)
    with output.progress("Sending", size) as advance:
        while offset < size:
            advance(offset)
            file.seek(offset)
            offset = _put(api, place, offset, file.read(PIECE))
        advance(size)
    return upload_id


def _put(api: Api, place: str, offset: int, piece: bytes) -> int:
    """Send one piece and return where to go on; tries again while nobody answers."""
    if not piece:
        raise Problem("The file became shorter while it was sent.", next_step="Send it again.")
    checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
    headers = TUS | {
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        "Upload-Checksum": f"sha256 {checksum}",
    }
    patience = time.monotonic() + _PATIENCE_S
    for attempt in itertools.count():
        try:
            return _offset(api.send("PATCH", place, headers, piece))
        except Unreachable:
            if time.monotonic() > patience:
                raise
        except ApiProblem as problem:
            # A request that was cut may keep the server waiting for a while.
            if problem.status not in (409, 423, 460, 502, 503, 504) or time.monotonic() > patience:
                raise
        time.sleep(min(5.0, 0.05 * 2**attempt))
        try:
            found = _offset(api.send("HEAD", place, dict(TUS), b""))
        except Unreachable:
            continue
        if found != offset:
            return found  # the piece had arrived, and only the answer was lost
    raise AssertionError("the loop returned or raised")


def _offset(answer: Answer) -> int:
    return int(answer.headers["upload-offset"])


def _first(size: int, said: dict[str, str]) -> dict[str, str]:
    pairs = [
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items() if value
    ]
    return TUS | {"Upload-Length": str(size), "Upload-Metadata": ",".join(pairs)}


def _under_way(api: Api, size: int, said: dict[str, str]) -> dict[str, Any] | None:
    """An upload of this very file for this very image that was cut."""
    name = said["name"].removeprefix("custom/")
    wanted = (name, said["architecture"], said["filetype"], said["sha256"], size)
    for row in api.get("/uploads", open=True)["items"]:
        is_same = wanted == tuple(
            row[key] for key in ("name", "architecture", "filetype", "sha256", "size")
        )
        if is_same and row["state"] in ("receiving", "checking"):
            return dict(row)
    return None


def _work_here() -> None:
    """Without a worker on this machine the command finishes the upload itself."""
    from webapp.services import upload_work
    from webapp.storage.leases import new_owner

    upload_work.work(new_owner(), lambda: False)


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
    patience = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return dict(api.get(f"/uploads/{upload_id}"))
        except Unreachable:
            if time.monotonic() > patience:
                raise
        time.sleep(_LOOK_S)


def _tell(found: dict[str, Any]) -> None:
    report = found["report"]
    if report.get("words"):
        click.echo(report["words"])
    for reason in report.get("reasons", []):
        click.echo(f"slipway: {reason['grade']}: {reason['message']}", err=True)
    if found["state"] == "done":
        click.echo(
            f"Machines get version {found['version']} of {found['name']} "
            f"{found['architecture']} now."
        )
        return
    problem = found["problem"] or {"what": f"The upload is {found['state']}.", "next_step": ""}
    click.echo(f"slipway: {problem['what']} {problem['next_step']}".rstrip(), err=True)
