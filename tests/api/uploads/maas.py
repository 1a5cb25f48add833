# SPDX-License-Identifier: Apache-2.0
"""Sending files as MAAS clients do."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.api.clients import Request, Script
from webapp.extensions import db, store
from webapp.services.blobs import retention
from webapp.services.images import published

MIB = 1 << 20
CHUNK = 4 * MIB
PATH = "boot-resources/"
DAY = f"{datetime.now(UTC):%Y%m%d}"


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(f"{size} {seed}").randbytes(size)


def values(data: bytes, **changed: str) -> dict[str, str]:
    """What a client says first."""
    return {
        "name": "custom/web",
        "architecture": "amd64/generic",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": str(len(data)),
        "title": "Web server",
        "filetype": "ddgz",
    } | changed


def begin(script: Script, data: bytes, **changed: str) -> dict[str, Any]:
    answer = script.post(PATH, **values(data, **changed))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json
    return found


def newest(resource: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Version and file, chosen as clients choose: the largest key, exactly one file."""
    version = max(resource["sets"])
    files = list(resource["sets"][version]["files"].values())
    assert len(files) == 1
    return version, files[0]


def put(script: Script, uri: str, data: bytes) -> TestResponse:
    """One piece, as both Python clients send it."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(data)),
        "Authorization": script.dialect.authorization(script.key),
    }
    return script.send(Request("PUT", uri, headers, data))


def send(script: Script, resource: dict[str, Any], data: bytes) -> TestResponse:
    uri = newest(resource)[1]["upload_uri"]
    for start in range(0, len(data), CHUNK):
        answer = put(script, uri, data[start : start + CHUNK])
    return answer


def served(app: Flask, name: str) -> bytes | None:
    """What a machine gets under a name."""
    with app.app_context():
        with db.engine.connect() as connection:
            names = published.read_names(
                connection, 0, retention.timedelta(seconds=60), datetime.now(UTC)
            )
        found = names.locate(name)
        if found is None:
            return None
        with store().open(found.sha256) as reader:
            return b"".join(reader.chunks())
