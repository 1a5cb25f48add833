# SPDX-License-Identifier: Apache-2.0
"""Sending files by tus 1.0.0."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.api.v1.typed import Typed, check
from tests.support import disks
from webapp.api.v1.dispatch import API
from webapp.extensions import db
from webapp.services.uploads import work as upload_work

FILES = f"{API}/uploads/files"
DISK = gzip.compress(disks.linux_disk(), 1, mtime=0)


def tus(program: Typed, method: str, path: str, body: bytes = b"", **headers: str) -> TestResponse:
    sent = {"Authorization": f"Bearer {program.token}", "Tus-Resumable": "1.0.0"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    kind = sent.pop("Content-Type", None)
    answer = program.client.open(path, method=method, headers=sent, data=body, content_type=kind)
    check(answer)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    return answer


def begin(program: Typed, size: int, *, status: int = 201, **fields: str) -> TestResponse:
    fields = {
        "name": "web",
        "architecture": "amd64/generic",
        "filetype": "ddgz",
    } | fields
    pairs = [f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in fields.items()]
    answer = tus(program, "POST", FILES, Upload_Length=str(size), Upload_Metadata=",".join(pairs))
    assert answer.status_code == status, answer.text
    return answer


def patch(program: Typed, place: str, offset: int, body: bytes, **headers: str) -> TestResponse:
    return tus(
        program,
        "PATCH",
        place,
        body,
        Content_Type="application/offset+octet-stream",
        Upload_Offset=str(offset),
        **headers,
    )


def work(app: Flask) -> None:
    """What the worker does when it is woken."""
    with app.app_context():
        upload_work.work("a worker", lambda: False)
        db.session.remove()


def state(program: Typed, place: str) -> dict[str, Any]:
    found: dict[str, Any] = program.get(f"uploads/{place.rpartition('/')[2]}")
    return found
