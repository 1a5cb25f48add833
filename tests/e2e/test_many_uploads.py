# SPDX-License-Identifier: Apache-2.0
"""Many uploads at once to a real server: same bytes, one object (rule: one-writer-per-blob)."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import requests

from tests.support import disks, live
from tests.support.live import ADMIN, PASSWORD, LiveSlipway, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
Start = Callable[[dict[str, str]], LiveSlipway]
PIECE = 200_000


class Sender:
    """Somebody who uploads by tus with a token."""

    def __init__(self, slipway: LiveSlipway, token: str) -> None:
        self.base = slipway.web_url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"}

    def send(self, name: str, data: bytes) -> int:
        """Send a disk in pieces; returns the upload's id."""
        fields = {"name": name, "architecture": "amd64/generic", "filetype": "ddgz"}
        metadata = ",".join(
            f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in fields.items()
        )
        with requests.Session() as http:
            http.headers.update(self.headers)
            begun = http.post(
                f"{self.base}/api/v1/uploads/files",
                headers={"Upload-Length": str(len(data)), "Upload-Metadata": metadata},
                timeout=100,
            )
            assert begun.status_code == 201, begun.text
            for start in range(0, len(data), PIECE):
                answer = http.patch(
                    self.base + begun.headers["Location"],
                    data=data[start : start + PIECE],
                    headers={
                        "Content-Type": "application/offset+octet-stream",
                        "Upload-Offset": str(start),
                    },
                    timeout=100,
                )
                assert answer.status_code == 204, answer.text
        return int(begun.headers["Slipway-Upload"])

    def get(self, path: str) -> Any:
        """Read from the API."""
        answer = requests.get(f"{self.base}/api/v1/{path}", headers=self.headers, timeout=100)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for(self, ids: list[int]) -> None:
        """Wait until all of these uploads have become images."""

        def is_done() -> bool:
            states = {row["id"]: row for row in self.get("uploads?limit=1000")["items"]}
            mine = [states[one] for one in ids]
            assert all(row["state"] in ("checking", "done") for row in mine), mine
            return all(row["state"] == "done" for row in mine)

        wait_until(is_done, "every upload becomes an image", seconds=200)


def disk(number: int) -> bytes:
    """A disk like no other, about 600 kB."""
    raw = bytearray(disks.linux_disk())
    noise = hashlib.shake_256(str(number).encode()).digest(600_000)
    raw[2 << 20 : (2 << 20) + len(noise)] = noise
    return gzip.compress(bytes(raw), 1, mtime=0)


def test_many_uploads_at_once_become_one_object_or_many_versions(make_live: Start) -> None:
    slipway = make_live({"SLIPWAY_WEB_WORKERS": "2", "SLIPWAY_RACK_WORKERS": "1"})
    slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    sender = Sender(slipway, slipway.cli("admin", "token", ADMIN, "--scope", "all").strip())

    same = disk(0)
    with ThreadPoolExecutor(50) as crowd:
        ids = list(crowd.map(lambda number: sender.send(f"same-{number}", same), range(50)))
    sender.wait_for(ids)
    blobs = [path for path in (slipway.data_dir / "store").rglob("*") if path.is_file()]
    digest = hashlib.sha256(same).hexdigest()
    assert [path.stat().st_size for path in blobs if digest in path.name] == [len(same)]
    assert sum(path.stat().st_size for path in blobs) < 2 * len(same)  # no second copy is left
    for number in (0, 25, 49):
        name = f"same-{number}"
        live.wait_until(partial(is_served, slipway, name, digest), f"{name} is served")

    different = [disk(number) for number in range(1, 21)]
    with ThreadPoolExecutor(20) as crowd:
        ids = list(crowd.map(lambda data: sender.send("one", data), different))
    sender.wait_for(ids)
    digests = {hashlib.sha256(data).hexdigest() for data in different}
    rows = {row["id"]: row for row in sender.get("uploads?limit=1000")["items"]}
    mine = [rows[one] for one in ids]
    assert {row["sha256"] for row in mine} == digests
    assert len({row["version"] for row in mine}) == 20
    last = max(mine, key=lambda row: row["finished_at"])
    live.wait_until(partial(is_served, slipway, "one", last["sha256"]), "the last one is served")
    assert "Traceback" not in slipway.output()


def is_served(slipway: LiveSlipway, name: str, sha256: str) -> bool:
    """Whether a machine gets these bytes; each process of the rack sees them within a second."""
    url = f"{slipway.rack_url}images/custom/amd64/generic/{name}/uploaded/root-dd.gz"
    return hashlib.sha256(requests.get(url, timeout=60).content).hexdigest() == sha256
