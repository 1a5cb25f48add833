# SPDX-License-Identifier: Apache-2.0
"""Many machines, one file that isn't there yet, and a narrow line to the region.

A rack (``slipway run --role rack``) beside nginx with proxy_cache and proxy_cache_lock, one
after the other in each pair, each with a cold cache and the same line of a fixed rate. Prints
what crossed the line, when machines had their first byte and their last, and processor
time; asserts nothing but that every machine got all bytes.

The default is a quarter of 256 MiB over 30 MB/s in size and rate, which takes as long.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from bench import plain_nginx
from bench.serve_bench import NAME, ROOT, publish
from tests.rack.server import LiveRack
from tests.remoterack import remote
from tests.support import databases, live

PIECE = 64 << 10
# By default everyone fetches for himself after five seconds.
CACHED = """
    proxy_cache one;
    proxy_cache_valid 200 1h;
    proxy_ignore_headers Cache-Control;
    proxy_cache_lock on;
    proxy_cache_lock_timeout 1h;
    proxy_cache_lock_age 1h;
"""


@dataclass
class Result:
    """One fan-out. times: of each machine's first byte and its last, in seconds."""

    upstream: float
    times: list[tuple[float, float]]
    cpu: float


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rate", type=float, default=7.5, help="MB/s of the line")
    options = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    results: dict[str, list[Result]] = {"slipway rack": [], "nginx": []}
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as text:
        folder = Path(text)
        (folder / "data").mkdir()
        url = f"sqlite:///{folder}/data/slipway.db"
        databases.migrate(url, folder / "data")
        region = LiveRack(folder / "data", url, rack_workers=2, rack_threads=128)
        publish(region, options.mib)
        fingerprint = remote.publish(region)
        with region, line(region.port) as (port, sent, rate):
            upstream = f"http://{live.HOST}:{port}"
            for number in range(options.pairs):
                for name, found in results.items():
                    rate.value = 0.0
                    place = folder / f"{name.split()[0]}{number}"
                    server = (
                        proxy(place, upstream)
                        if name == "nginx"
                        else slipway(place, upstream, fingerprint)
                    )
                    with server as (base, pid):
                        rate.value = options.rate * 1e6
                        found.append(fan_out(base, pid, sent, options.machines, options.mib << 20))
    report(results, options.machines, options.mib, options.rate)


def fan_out(base: str, pid: int, sent: Synchronized[int], machines: int, size: int) -> Result:
    """Let all machines fetch the file at once."""
    before, cpu = sent.value, cpu_of(pid)
    told = "%{http_code} %{size_download} %{time_starttransfer} %{time_total}"
    command = ["curl", "-s", "-o", os.devnull, "-w", told, f"{base}/{NAME}/large"]
    clients = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(machines)
    ]
    times = []
    for client in clients:
        status, got, first, last = (client.communicate()[0] or "0 0 0 0").split()
        if (status, int(got)) != ("200", size):
            raise SystemExit(f"{base}: a machine got {status} and {got} bytes of {size}")
        times.append((float(first), float(last)))
    return Result((sent.value - before) / size, times, cpu_of(pid) - cpu)


@contextmanager
def slipway(folder: Path, upstream: str, fingerprint: str) -> Iterator[tuple[str, int]]:
    """A rack with nothing but names."""
    with remote.RemoteRack(folder, upstream, fingerprint, rack_threads=128) as rack:
        rack.wait_for(f"/{NAME}/small")
        assert rack.process is not None
        try:
            yield rack.url, rack.process.pid
        except SystemExit:
            print(rack.log.read_text()[-3000:])
            raise


@contextmanager
def proxy(folder: Path, upstream: str) -> Iterator[tuple[str, int]]:
    """An nginx that proxies and caches."""
    folder.mkdir()
    cache = f"proxy_cache_path {folder}/cache keys_zone=one:10m max_size=10g;"
    with plain_nginx.running(folder, f"proxy_pass {upstream}; {CACHED}", cache) as found:
        yield found


@contextmanager
def line(target: int) -> Iterator[tuple[int, Synchronized[int], Synchronized[float]]]:
    """A port that leads to another one, at one rate for all; its port, bytes and rate."""
    sent: Synchronized[int] = multiprocessing.Value("q", 0)
    rate: Synchronized[float] = multiprocessing.Value("d", 0.0)
    listener = socket.create_server((live.HOST, 0), backlog=256)
    process = multiprocessing.Process(
        target=lambda: asyncio.run(forward(listener, target, sent, rate)), daemon=True
    )
    process.start()
    try:
        yield listener.getsockname()[1], sent, rate
    finally:
        process.terminate()
        process.join()
        listener.close()


async def forward(
    listener: socket.socket, target: int, sent: Synchronized[int], rate: Synchronized[float]
) -> None:
    """Carry connections both ways; what comes from the target shares the rate."""
    turn = asyncio.Lock()

    async def carry(
        source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_limited: bool
    ) -> None:
        try:
            while data := await source.read(PIECE):
                if is_limited:
                    sent.value += len(data)
                    async with turn:
                        await asyncio.sleep(len(data) / rate.value if rate.value else 0)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = socket.socket()
        # What waits in a large buffer hasn't crossed the line yet, but counts as taken.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * PIECE)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (live.HOST, target))
        other_reader, other_writer = await asyncio.open_connection(sock=sock, limit=PIECE)
        await asyncio.gather(carry(reader, other_writer, False), carry(other_reader, writer, True))

    server = await asyncio.start_server(accept, sock=listener, limit=PIECE)
    await server.serve_forever()


def cpu_of(pid: int) -> float:
    """Processor seconds of a process and its children."""
    ticks = 0
    for each in [pid, *live.descendants(pid)]:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def report(results: dict[str, list[Result]], machines: int, mib: int, rate: float) -> None:
    """Print medians over the pairs."""
    print(f"\n{mib} MiB to {machines} machines over {rate:g} MB/s; the line alone: "
          f"{(mib << 20) / rate / 1e6:.1f} s")  # fmt: skip
    for name, found in results.items():
        middle = [statistics.median(first for first, _ in one.times) for one in found]
        worst = [max(first for first, _ in one.times) for one in found]
        last = [max(last for _, last in one.times) for one in found]
        upstream = statistics.median(one.upstream for one in found)
        cpu = statistics.median(one.cpu for one in found)
        print(
            f"{name:14} upstream {upstream:6.2f} x the file   first byte "
            f"{statistics.median(middle) * 1e3:6.0f} ms, at most "
            f"{statistics.median(worst) * 1e3:6.0f} ms   all have it after "
            f"{statistics.median(last):6.1f} s   CPU {cpu:5.1f} s"
        )


if __name__ == "__main__":
    main()
