# SPDX-License-Identifier: Apache-2.0
"""Serving files to machines by both engines, beside nginx with sendfile on the same files.

Side by side in one run, alternating, each server with two processes:

    large   one file to 16 curls at once, each reading all of it
    small   a file of 12 kB over 16 kept connections
    storm   many machines at once, four files each: a script, a kernel, an initrd and a root,
            a hundredth of their usual sizes

The files are the store's own, hard-linked for nginx, and warm. Prints medians
and ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench import plain_nginx
from tests.rack import images
from tests.rack.server import LiveRack
from tests.support import databases, live
from webapp.extensions import db, store
from webapp.models import Blob, ResourceFile
from webapp.server import planes

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 16
SMALL = 12 << 10
STORM = {"script": 1 << 10, "kernel": 120 << 10, "initrd": 1100 << 10, "root": 4500 << 10}
NAME = "images/ubuntu/amd64/ga-24.04/noble/stable"


@dataclass
class Server:
    """One of them, and what it showed. worked: seconds of a processor. memory: MiB in the storm."""

    name: str
    base: str
    pid: int
    rates: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    memory: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--seconds", type=int, default=4, help="of each run on small files")
    parser.add_argument("--machines", type=int, default=1000, help="of the storm")
    options = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    planes.raise_file_limit()
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        run(Path(folder), options)


def run(folder: Path, options: argparse.Namespace) -> None:
    """Publish the files, start the servers, alternate."""
    pairs, mib = options.pairs, int(options.gib * 1024)
    (folder / "data").mkdir()
    url = f"sqlite:///{folder}/data/slipway.db"
    databases.migrate(url, folder / "data")
    rack = LiveRack(folder / "data", url, rack_workers=2, rack_threads=128)
    by_nginx = LiveRack(folder / "data", url, rack_workers=2, rack_threads=128, rack_engine="nginx")
    files = publish(rack, mib)
    with rack, by_nginx, alone(folder / "nginx", files) as (base, pid):
        assert rack.process is not None
        assert by_nginx.process is not None
        servers = [
            Server("slipway rack", f"{rack.url}/{NAME}", rack.process.pid),
            Server("by nginx", f"{by_nginx.url}/{NAME}", by_nginx.process.pid),
            Server("nginx", base, pid),
        ]
        for server in servers:
            to_curls(server, mib)  # warm
        alternate(servers, pairs, lambda server: to_curls(server, mib))
        report(f"{mib} MiB to {CLIENTS} clients", "MB/s", servers, "goal >= 1.00")
        alternate(servers, pairs, lambda server: requests(f"{server.base}/small", options.seconds))
        for server in servers:
            each = sum(server.worked) / sum(server.rates) / options.seconds
            print(f"\n{server.name:14} {each * 1e6:6.0f} us of a processor for a request", end="")
        goal = "by nginx: goal >= 0.90"
        report(f"{SMALL >> 10} kB files, by clients in Python", "requests/s", servers, goal)
        alternate(servers, pairs, lambda server: storm(server, options.machines))
        title = f"storm of {options.machines} machines, {len(STORM)} files each"
        report(title, "s", servers, "goal <= 1.40, by nginx <= 1.05")
        for server in servers:
            print(f"{server.name:14} {server.memory:6.0f} MiB at most, all processes")


def alternate(servers: list[Server], pairs: int, measure: Callable[[Server], float]) -> None:
    """Measure each server in turn, and what its processes worked."""
    for number in range(pairs):
        for server in servers if number % 2 else reversed(servers):
            before = worked(server.pid)
            server.rates.append(measure(server))
            server.worked.append(worked(server.pid) - before)


def storm(server: Server, machines: int) -> float:
    """Seconds until all machines have all files; they come at once."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.5):
            server.memory = max(server.memory, resident(server.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        asyncio.run(boot_all(server.base, machines))
    finally:
        is_over.set()
        watcher.join()
    return time.perf_counter() - started


async def boot_all(base: str, machines: int) -> None:
    """Boot all at once, in one process: what it works is the same for each server."""
    parts = urlsplit(base)
    await asyncio.gather(
        *(boot(parts.hostname or "", parts.port or 0, parts.path) for _ in range(machines))
    )


async def boot(host: str, port: int, path: str) -> None:
    """Fetch the files one after the other, as a machine does: a connection for each."""
    for name, size in STORM.items():
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        writer.write(f"GET {path}/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        got = 0
        while piece := await reader.read(1 << 20):
            got += len(piece)
        writer.close()
        if b" 200 " not in head[:20] or got != size:
            raise SystemExit(f"{name}: {got} of {size} bytes, {head[:60]!r}")


def publish(rack: LiveRack, mib: int) -> dict[str, Path]:
    """Store and publish the files; returns their paths in the store."""
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
        contents = {"small": block[:SMALL]}
        contents |= {name: os.urandom(size) for name, size in STORM.items()}
        resource = images.image(contents)
        db.session.add(blob)
        db.session.flush()
        file = ResourceFile(
            set_id=resource.current_set_id, blob_id=blob.id, filename="large", ftype="squashfs"
        )
        db.session.add(file)
        images.publish()
        known = rack.app.extensions["slipway.settings"].store_dir
        digests = {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()}
        digests["large"] = digest.hexdigest()
        return {
            name: known / str(store().relative_path(sha256)) for name, sha256 in digests.items()
        }


@contextmanager
def alone(folder: Path, files: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """An nginx that serves the same bytes: its address and process."""
    (folder / "files").mkdir(parents=True)
    for name, path in files.items():
        (folder / "files" / name).hardlink_to(path)
    with plain_nginx.running(folder, f"root {folder}/files;") as found:
        yield found


def to_curls(server: Server, mib: int) -> float:
    """Bytes a second to all clients together, in MB/s."""
    command = ["curl", "-sf", "--retry", "3", "-o", os.devnull, f"{server.base}/large"]
    started = time.perf_counter()
    clients = [subprocess.Popen(command) for _ in range(CLIENTS)]
    codes = [client.wait() for client in clients]
    if any(codes):
        raise SystemExit(f"{server.name}: curl ended with {codes}")
    return CLIENTS * (mib << 20) / (time.perf_counter() - started) / 1e6


def requests(url: str, seconds: int) -> float:
    """Requests a second over kept connections."""
    with multiprocessing.Pool(CLIENTS) as pool:
        return sum(pool.starmap(keep_asking, [(url, seconds)] * CLIENTS)) / seconds


def keep_asking(url: str, seconds: int) -> int:
    """Requests that one client got answered in that time; it works as little as it can."""
    parts = urlsplit(url)
    wanted = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    until, answered, size = time.monotonic() + seconds, 0, 0
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        while time.monotonic() < until:
            sock.sendall(wanted)
            got, first = 0, b""
            while not size or got < size:
                piece = sock.recv(1 << 16)
                if not piece or (not got and not piece.startswith(b"HTTP/1.1 200 ")):
                    raise SystemExit(f"{url}: {piece[:80]!r}")
                got += len(piece)
                if not size:
                    first += piece
                    end = first.find(b"\r\n\r\n")
                    size = end + 4 + SMALL if end >= 0 else 0
            answered += 1
    return answered


def resident(pid: int) -> float:
    """The memory of a process and its children now, in MiB; shared pages count once."""
    total = 0
    for each in [pid, *live.descendants(pid)]:
        rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        total += int(re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[0])
    return total / 1024


def worked(pid: int) -> float:
    """Seconds of a processor that a process and its children have worked."""
    ticks = 0
    for each in [pid, *live.descendants(pid)]:
        values = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def report(title: str, unit: str, servers: list[Server], goal: str) -> None:
    """Print medians, and those of the ratios to the last; forget the figures."""
    print(f"\n{title}, {len(servers[-1].rates)} pairs ({goal})")
    for server in servers:
        low, high = min(server.rates), max(server.rates)
        ratio, work = (
            statistics.median(a / (b or 0.01) for a, b in zip(ours, theirs, strict=True))
            for ours, theirs in (
                (server.rates, servers[-1].rates),
                (server.worked, servers[-1].worked),
            )
        )
        print(
            f"{server.name:14} {server.median:9.2f} {unit} ({low:.2f} to {high:.2f}), "
            f"{statistics.median(server.worked):.2f} s of a processor; "
            f"ratios {ratio:.2f}, {work:.2f}"
        )
    sys.stdout.flush()
    for server in servers:
        server.rates, server.worked = [], []


if __name__ == "__main__":
    main()
