# SPDX-License-Identifier: Apache-2.0
"""The client's side of tus: a file in pieces, each with its SHA-256, resumed after a cut."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from typing import Any, BinaryIO

from webapp.cli import output
from webapp.cli.client import API, Answer, Api, ApiProblem, Unreachable
from webapp.errors import Problem

PIECE = 8 << 20
TUS = {"Tus-Resumable": "1.0.0", "User-Agent": "slipway/cli"}
PATIENCE_S = 120.0  # for one piece, while no server accepts it


def digest(file: BinaryIO) -> tuple[str, int]:
    """SHA-256 and size; the server needs them, and may hold these bytes already."""
    size = file.seek(0, 2)
    file.seek(0)
    found, done = hashlib.sha256(), 0
    with output.progress("Computing the SHA-256", size) as advance:
        while piece := file.read(PIECE):
            found.update(piece)
            done += len(piece)
            advance(done)
    return found.hexdigest(), done


def send(api: Api, file: BinaryIO, size: int, declared: dict[str, str]) -> int:
    """Start or resume, and send everything; returns the upload's id."""
    before = _under_way(api, size, declared)
    if before is None:
        begun = api.send("POST", f"{API}/uploads/files", _first(size, declared), b"")
        place, upload_id = begun.headers["location"], int(begun.headers["slipway-upload"])
        offset = int(begun.headers["upload-offset"])
        if offset == size:
            output.line("The server already has this file; nothing was sent.", err=True)
    else:
        place, upload_id = str(before["files_url"]), int(before["id"])
        offset = int(before["received"])
        if before["state"] != "receiving":
            return upload_id
        output.line(f"Resuming at {output.size(offset)}.", err=True)
    name = declared["filename"]
    with output.interruptible("Run the same command again to resume."):
        with output.progress(f"Sending {name}", size) as advance:
            while offset < size:
                advance(offset)
                file.seek(offset)
                offset = _put(api, place, offset, file.read(PIECE))
    return upload_id


def _put(api: Api, place: str, offset: int, piece: bytes) -> int:
    """Send one piece and return the next offset; tries again while the server is away."""
    if not piece:
        raise Problem(
            "The file became shorter while it was sent.", next_step="Run the command again."
        )
    checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
    headers = TUS | {
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        "Upload-Checksum": f"sha256 {checksum}",
    }
    patience = time.monotonic() + PATIENCE_S
    for attempt in itertools.count():
        try:
            return _offset(api.send("PATCH", place, headers, piece))
        except Unreachable:
            if time.monotonic() > patience:
                raise
        except ApiProblem as problem:
            # The server may still be waiting for a request that was cut.
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


def _first(size: int, declared: dict[str, str]) -> dict[str, str]:
    pairs = [
        f"{key} {base64.b64encode(value.encode()).decode()}"
        for key, value in declared.items()
        if value
    ]
    return TUS | {"Upload-Length": str(size), "Upload-Metadata": ",".join(pairs)}


def _under_way(api: Api, size: int, declared: dict[str, str]) -> dict[str, Any] | None:
    """An unfinished upload of the same file for the same image."""
    name = declared["name"].removeprefix("custom/")
    wanted = (name, *(declared[key] for key in ("architecture", "filetype", "sha256")), size)
    for row in api.get("/uploads", is_open=True)["items"]:
        is_same = wanted == tuple(
            row[key] for key in ("name", "architecture", "filetype", "sha256", "size")
        )
        if is_same and row["state"] in ("receiving", "checking"):
            return dict(row)
    return None
