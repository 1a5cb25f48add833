# SPDX-License-Identifier: Apache-2.0
"""Serving files to machines, beside nginx with sendfile on the same files.

Side by side in one run, alternating, each server with two processes:

    large   one file to 16 curls at once, each reading all of it
    small   a file of 12 kB over 16 kept connections, by wrk (or a client in Python)

The files are the store's own, hard-linked for nginx, and warm. Prints medians
and ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.rack import images
from tests.rack.server import LiveRack
from tests.support import databases, live
from tests.support.ports import keep_port
from webapp.extensions import db, store
from webapp.models import Blob, ResourceFile

ROOT = Path(__file__).resolve().parent.parent
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CLIENTS = 16
SMALL = 12 << 10
NAME = "images/ubuntu/amd64/ga-24.04/noble/stable"

CONFIG = """
{user}
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen {host}:{port}; location / {{ root {folder}/files; }} }}
}}
"""


@dataclass
class Server:
    """One of the two, and what it showed."""

    name: str
    base: str
    pid: int
    rates: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--seconds", type=int, default=4, help="of each run on small files")
    options = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        run(Path(folder), options.pairs, int(options.gib * 1024), options.seconds)


def run(folder: Path, pairs: int, mib: int, seconds: int) -> None:
    """Publish the files, start both servers, alternate."""
    (folder / "data").mkdir()
    url = f"sqlite:///{folder}/data/slipway.db"
    databases.migrate(url, folder / "data")
    rack = LiveRack(folder / "data", url, rack_workers=2, rack_threads=128)
    large, small = publish(rack, mib)
    with rack, nginx(folder / "nginx", large, small) as (base, pid):
        assert rack.process is not None
        servers = [
            Server("slipway rack", f"{rack.url}/{NAME}", rack.process.pid, []),
            Server("nginx", base, pid, []),
        ]
        for server in servers:
            to_curls(server, mib)  # warm
        for number in range(pairs):
            for server in servers if number % 2 else reversed(servers):
                server.rates.append(to_curls(server, mib))
        report(f"{mib} MiB to {CLIENTS} clients", "MB/s", servers, "goal >= 1.00")
        for number in range(pairs):
            for server in servers if number % 2 else reversed(servers):
                server.rates.append(requests(f"{server.base}/small", seconds))
        client = "wrk" if shutil.which("wrk") else "a client in Python, which is the limit"
        report(f"{SMALL >> 10} kB files, by {client}", "requests/s", servers, "no goal")
        for server in servers:
            print(
                f"{server.name:14} {resident(server.pid):6.0f} MiB resident at most, all processes"
            )


def publish(rack: LiveRack, mib: int) -> tuple[Path, Path]:
    """Store and publish a large and a small file; returns their paths in the store."""
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    for _ in range(mib):
        digest.update(block)
    with rack.app.app_context():
        with store().writer(digest.hexdigest(), mib << 20) as writer:
            for _ in range(mib):
                writer.write(block)
            writer.commit()
        blob = Blob(sha256=digest.hexdigest(), size=mib << 20, state="ready")
        resource = images.image({"small": block[:SMALL]})
        db.session.add(blob)
        db.session.flush()
        file = ResourceFile(
            set_id=resource.current_set_id, blob_id=blob.id, filename="large", ftype="squashfs"
        )
        db.session.add(file)
        images.publish()
        known = rack.app.extensions["slipway.settings"].store_dir
        digests = (digest.hexdigest(), hashlib.sha256(block[:SMALL]).hexdigest())
        large, small = (known / str(store().relative_path(sha256)) for sha256 in digests)
    return large, small


@contextmanager
def nginx(folder: Path, large: Path, small: Path) -> Iterator[tuple[str, int]]:
    """An nginx that serves the same bytes: its address and process."""
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "large").hardlink_to(large)
    (folder / "files" / "small").hardlink_to(small)
    port = keep_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = CONFIG.format(folder=folder, host=live.HOST, port=port, user=user)
    (folder / "nginx.conf").write_text(config)
    command = [NGINX, "-e", f"{folder}/error.log", "-p", str(folder), "-c", "nginx.conf"]
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *command])
    try:
        base = f"http://{live.HOST}:{port}"
        live.wait_until(lambda: live.answers(base), "nginx answers")
        yield base, process.pid
    finally:
        process.terminate()
        process.wait()


def to_curls(server: Server, mib: int) -> float:
    """Bytes a second to all clients together, in MB/s."""
    command = ["curl", "-sf", "-o", os.devnull, f"{server.base}/large"]
    started = time.perf_counter()
    clients = [subprocess.Popen(command) for _ in range(CLIENTS)]
    codes = [client.wait() for client in clients]
    if any(codes):
        raise SystemExit(f"{server.name}: curl ended with {codes}")
    return CLIENTS * (mib << 20) / (time.perf_counter() - started) / 1e6


def requests(url: str, seconds: int) -> float:
    """Requests a second over kept connections."""
    if shutil.which("wrk"):
        command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", url]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(text)
        return float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    with multiprocessing.Pool(CLIENTS) as pool:
        return sum(pool.starmap(keep_asking, [(url, seconds)] * CLIENTS)) / seconds


def keep_asking(url: str, seconds: int) -> int:
    """Requests that one client got answered in that time."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    until, answered = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        connection.request("GET", parts.path)
        answered += len(connection.getresponse().read()) == SMALL
    return answered


def resident(pid: int) -> float:
    """The most memory that a process and its children ever had resident, summed, in MiB."""
    total = 0
    for each in [pid, *live.descendants(pid)]:
        status = Path(f"/proc/{each}/status").read_text()
        total += int(re.findall(r"VmHWM:\s+(\d+)", status)[0])
    return total / 1024


def report(title: str, unit: str, servers: list[Server], goal: str) -> None:
    """Print medians and the median of the pairs' ratios, and forget the rates."""
    ours, theirs = servers
    ratio = statistics.median(a / b for a, b in zip(ours.rates, theirs.rates, strict=True))
    print(f"\n{title}, {len(ours.rates)} pairs")
    for server in servers:
        low, high = min(server.rates), max(server.rates)
        print(f"{server.name:14} {server.median:9.0f} {unit} ({low:.0f} to {high:.0f})")
        server.rates = []
    print(f"{'ratio':14} {ratio:9.2f} ({goal})", flush=True)


if __name__ == "__main__":
    main()
