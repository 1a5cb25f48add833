# SPDX-License-Identifier: Apache-2.0
"""A second request takes over an upload whose first one went silent."""

from __future__ import annotations

import base64
import re
import socket
from urllib.parse import urlsplit

import pytest
import requests

from tests.e2e.uploads.disk import CALM, Start
from tests.support.live import ADMIN, PASSWORD

SIZE = 1 << 20
BYTES = "application/offset+octet-stream"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_silent_request_lets_go_within_seconds(make_live: Start, is_chunked: bool) -> None:
    slipway = make_live(CALM)
    slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    token = slipway.cli("admin", "token", ADMIN, "--scope", "all").strip()
    login = {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"}
    fields = {"name": "web", "architecture": "amd64/generic", "filetype": "ddraw"}
    pairs = [f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in fields.items()]
    begun = requests.post(
        f"{slipway.web_url}api/v1/uploads/files",
        headers={**login, "Upload-Length": str(SIZE), "Upload-Metadata": ",".join(pairs)},
        timeout=30,
    )
    assert begun.status_code == 201, begun.text
    place = slipway.web_url.rstrip("/") + urlsplit(begun.headers["Location"]).path

    def patch(offset: int, data: bytes) -> requests.Response:
        headers = {**login, "Content-Type": BYTES, "Upload-Offset": str(offset)}
        return requests.patch(place, data=data, headers=headers, timeout=30)

    parts = urlsplit(place)
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {SIZE}"
    head = "\r\n".join(
        [
            f"PATCH {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            *(f"{name}: {value}" for name, value in login.items()),
            f"Content-Type: {BYTES}",
            "Upload-Offset: 0",
            "Expect: 100-continue",
            length,
            "\r\n",
        ]
    )
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as silent:
        silent.sendall(head.encode())
        assert b"100" in silent.recv(100), "its thread has the upload"
        silent.sendall((b"190\r\n" if is_chunked else b"") + bytes(400))
        # The newer request is told where to resume, since the older one's bytes count.
        answers = [patch(0, bytes(10)) for _ in range(2)]
        while answers[-1].status_code == 423:
            answers.append(patch(0, bytes(10)))
        assert len(answers) < 5
        assert answers[-1].status_code in (204, 409), answers[-1].text
        found = requests.head(place, headers=login, timeout=30)
        at = int(found.headers["Upload-Offset"])
        assert re.fullmatch("0|10|400", str(at))
        assert patch(at, bytes(SIZE - at)).status_code == 204
