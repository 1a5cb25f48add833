# SPDX-License-Identifier: Apache-2.0
"""The REST API, beside what a user would pick instead, alternating in one run.

    upload   one file in pieces of 4 MiB, as stock clients send it, verified and
             durable; beside curl -T to nginx, sha256sum and sync
    list     5,000 boot resources as JSON; beside nginx with that JSON as a file
    ask      op=is_importing over 16 kept connections, by wrk

Prints medians and ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from sqlalchemy import create_engine, insert, select

from bench import plain_nginx
from tests.support import live
from webapp.models import BootResource, ResourceSet, utcnow

ROOT = Path(__file__).resolve().parent.parent
PIECE = 4 << 20
RESOURCES = 5000
API = "/MAAS/api/2.0/"


@dataclass
class Client:
    """One kept connection with a key, as libmaas keeps one."""

    url: str
    key: str

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=300)

    @property
    def authorization(self) -> str:
        consumer, token, secret = self.key.split(":")
        return (
            'OAuth oauth_version="1.0", oauth_signature_method="PLAINTEXT", '
            f'oauth_consumer_key="{consumer}", oauth_token="{token}", '
            f'oauth_signature="%26{secret}"'
        )

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
        headers = {"Authorization": self.authorization, "Content-Length": str(len(body))}
        if kind:
            headers["Content-Type"] = kind
        self._connection.request(method, path, body=body, headers=headers)
        answer = self._connection.getresponse()
        answer_bytes = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {answer_bytes[:500]!r}")
        return answer_bytes


def main() -> None:
    """Run the pairs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--seconds", type=int, default=4, help="of asking")
    parser.add_argument("--folder", type=Path, help="where to write; /dev/shm leaves out the disk")
    options = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder or ROOT / "build") as folder:
        run(Path(folder), options.pairs, int(options.gib * 1024), options.seconds)


def run(folder: Path, pairs: int, mib: int, seconds: int) -> None:
    """Start both servers, then alternate."""
    (folder / "slipway").mkdir()
    database = f"sqlite:///{folder}/slipway/slipway.db"
    with (
        live.LiveSlipway(folder / "slipway", {"SLIPWAY_DATABASE_URL": database}) as slipway,
        uploading(folder / "nginx") as base,
    ):
        slipway.cli("admin", "create", "bench", "--password-stdin", stdin="correct horse battery")
        client = Client(slipway.web_url, slipway.cli("admin", "apikey", "bench").strip())
        uploads(folder, client, base, pairs, mib)
        memory = max(peak(pid) for pid in slipway.pids("web"))
        print(f"peak memory of a web process: {memory:.0f} MiB (goal <= 150)")
        lists(folder, client, base, pairs, database)
        ask(client, seconds)


def uploads(folder: Path, client: Client, base: str, pairs: int, mib: int) -> None:
    """The same file to both, each time with other bytes, so that nothing is known before."""
    ours, hand = [], []
    for number in range(pairs):
        path = folder / "image"
        with path.open("wb") as file:
            block = os.urandom(1 << 20)
            for count in range(mib):
                file.write(f"{number} {count}".encode().ljust(64) + block[64:])
        for is_ours in (True, False) if number % 2 else (False, True):
            subprocess.run(["sync"], check=True)
            if is_ours:
                ours.append(send(client, path))
            else:
                hand.append(put(path, base))
    size = mib << 20
    ratio = statistics.median(o / h for o, h in zip(ours, hand, strict=True))
    print(f"upload of {mib} MiB in pieces of {PIECE >> 20} MiB, {pairs} pairs")
    for name, times in (("slipway", ours), ("curl -T, nginx, sha256sum, sync", hand)):
        middle = statistics.median(times)
        print(f"{name:34} {middle:7.2f} s {size / middle / 1e6:8.0f} MB/s")
    print(f"ratio slipway / by hand: {ratio:.2f}; slipway's goal: >= 300 MB/s")


def send(client: Client, path: Path) -> float:
    """Seconds from the first request to the last answer; the client hashes before, as all do."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        form = {
            "name": "custom/bench",
            "architecture": "amd64/generic",
            "filetype": "ddraw",
            "sha256": digest,
            "size": str(path.stat().st_size),
        }
        file.seek(0)
        began = time.monotonic()
        made = json.loads(
            client.call(
                "POST",
                f"{API}boot-resources/",
                urlencode(form).encode(),
                "application/x-www-form-urlencoded",
            )
        )
        (file_answer,) = made["sets"][max(made["sets"])]["files"].values()
        while piece := file.read(PIECE):
            client.call("PUT", file_answer["upload_uri"], piece, "application/octet-stream")
    return time.monotonic() - began


def put(path: Path, base: str) -> float:
    """Seconds that it takes by hand, until the bytes are known to be right and durable."""
    began = time.monotonic()
    subprocess.run(
        ["curl", "-sS", "--fail", "-o", "/dev/null", "-T", str(path), f"{base}/image"], check=True
    )
    stored = Path(base_folder(base)) / "image"
    subprocess.run(["sha256sum", str(stored)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sync", str(stored)], check=True)
    took = time.monotonic() - began
    stored.unlink()
    return took


_FOLDERS: dict[str, Path] = {}


def base_folder(base: str) -> Path:
    """Where nginx keeps what it is sent."""
    return _FOLDERS[base]


def lists(folder: Path, client: Client, base: str, pairs: int, database: str) -> None:
    """5,000 rows as JSON."""
    fill(database)
    answer_bytes = client.call("GET", f"{API}boot-resources/")
    assert len(json.loads(answer_bytes)) > RESOURCES
    (base_folder(base) / "list.json").write_bytes(answer_bytes)
    ours = [timed(lambda: client.call("GET", f"{API}boot-resources/")) for _ in range(pairs)]
    nginx_client = Client(base, "a:b:c")
    theirs = [timed(lambda: nginx_client.call("GET", "/list.json")) for _ in range(pairs)]
    print(f"list of {RESOURCES} boot resources, {len(answer_bytes) >> 10} kB of JSON")
    print(f"{'slipway':34} {statistics.median(ours) * 1000:7.1f} ms")
    print(f"{'nginx, the same as a file':34} {statistics.median(theirs) * 1000:7.1f} ms")


def fill(database: str) -> None:
    """Boot resources with a version each."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(
            insert(BootResource),
            [
                {
                    "rtype": "synced",
                    "name": f"ubuntu/r{number}",
                    "architecture": "amd64/generic",
                    "os": "ubuntu",
                    "release": f"r{number}",
                    "arch": "amd64",
                    "subarch": "generic",
                    "subarches": ["generic", "ga-24.04"],
                }
                for number in range(RESOURCES)
            ],
        )
        ids = connection.scalars(
            select(BootResource.id).where(BootResource.name.like("ubuntu/r%"))
        ).all()
        connection.execute(
            insert(ResourceSet),
            [
                {"resource_id": id, "version": "1", "label": "stable", "completed_at": utcnow()}
                for id in ids
            ],
        )
        connection.execute(
            BootResource.__table__.update()
            .where(BootResource.current_set_id.is_(None))
            .values(
                current_set_id=select(ResourceSet.id)
                .where(ResourceSet.resource_id == BootResource.id)
                .scalar_subquery()
            )
        )
    engine.dispose()


def ask(client: Client, seconds: int) -> None:
    """Requests per second of what clients poll."""
    url = f"{client.url.rstrip('/')}{API}boot-resources/?op=is_importing"
    if not shutil.which("wrk"):
        print("is_importing: wrk is missing, not measured")
        return
    command = [
        "wrk",
        "-t1",
        "-c16",
        f"-d{seconds}s",
        "-H",
        f"Authorization: {client.authorization}",
    ]
    text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(text)
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    print(f"is_importing over 16 connections: {rate:.0f} requests/s (no goal)")


def timed(step: Callable[[], object]) -> float:
    began = time.monotonic()
    step()
    return time.monotonic() - began


def peak(pid: int) -> float:
    """The most memory that a process ever had resident, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


@contextmanager
def uploading(folder: Path) -> Iterator[str]:
    """nginx that takes files with PUT."""
    (folder / "files").mkdir(parents=True)
    location = f"root {folder}/files; dav_methods PUT; client_max_body_size 0;"
    with plain_nginx.running(folder, location) as (base, _):
        _FOLDERS[base] = folder / "files"
        yield base


if __name__ == "__main__":
    main()
