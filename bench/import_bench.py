# SPDX-License-Identifier: Apache-2.0
"""Import of real-sized files, beside what a careful administrator does by hand.

Side by side in one run, alternating, from one nginx on loopback:

    slipway   one import run in a process of its own: refresh, verify, download,
              hash, make durable, publish
    by hand   curl -O of the same files, openssl dgst -sha256, sync
    limit     curl | openssl dgst -sha256: nothing is kept (printed, not compared)

and the cost of importing an unchanged source again. Prints medians and ratios;
asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import plain_nginx
from bench.children import ROOT, add_source, measured, peak_mib, region, timed_run
from tests.mirror.maker import Mirror, make_mirror
from tests.support import signed

GIB = 1 << 30


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        run(Path(folder), options.pairs, options.gib)


def run(folder: Path, pairs: int, gib: float) -> None:
    """Make the mirror, then alternate the two ways."""
    mirror = sized_mirror(folder / "mirror", gib)
    files = [item for item in mirror.newest() if item.ftype != "manifest"]
    paths = sorted({item.path for item in files if item.ftype != "notifications"})
    total = sum(mirror.sizes[path] for path in paths)
    with serving(mirror.root, folder) as (address, log):
        base = address + mirror.path
        print(f"{len(paths)} files, {total / GIB:.2f} GiB, {pairs} pairs")
        warm(mirror, paths)
        ours, hand, limit, again, peaks = [], [], [], [], []
        for _ in range(pairs):
            report = slipway(folder / "data", base, mirror, log)
            ours.append(report["import_s"])
            again.append(report["again_s"])
            peaks.append(report["peak_mib"])
            hand.append(by_hand(folder / "hand", base, paths))
            limit.append(piped(base, paths))
    ratio = statistics.median(o / h for o, h in zip(ours, hand, strict=True))
    rows = [
        ("slipway import", statistics.median(ours), f"{total / GIB / statistics.median(ours):.2f}"),
        ("curl -O, openssl, sync", statistics.median(hand), ""),
        ("curl | openssl (limit)", statistics.median(limit), ""),
    ]
    for name, seconds, _ in rows:
        print(f"{name:28} {seconds:7.2f} s {total / seconds / 1e6:8.0f} MB/s")
    print(f"ratio slipway / by hand: {ratio:.2f} (goal <= 1.00)")
    print(f"peak memory of the import: {max(peaks):.0f} MiB (goal <= 150)")
    print(
        f"unchanged source again: {statistics.median(again) * 1000:.0f} ms (goal < 100), "
        f"{report['again_requests']} request(s) (goal 1)"
    )


def sized_mirror(folder: Path, gib: float) -> Mirror:
    """Two releases with files of published proportions, ``gib`` in all."""
    unit = int(gib * GIB / 2 / 100)
    return make_mirror(
        folder,
        signed.new_key(),
        releases=["noble", "jammy"],
        arches=["amd64"],
        kernels=1,
        versions=1,
        sizes={
            "squashfs": 50 * unit,
            "boot-kernel": 3 * unit,
            "boot-initrd": 17 * unit,
            "root-tgz": 30 * unit,
        },
        jitter=0.02,
    )


def warm(mirror: Mirror, paths: list[str]) -> None:
    """Have every file in the page cache, so that the mirror's disk is not measured."""
    subprocess.run(
        ["cat", *(str(mirror.stream / p) for p in paths)], stdout=subprocess.DEVNULL, check=True
    )


def slipway(data: Path, base: str, mirror: Mirror, log: Path) -> dict[str, float]:
    """One import into a fresh data folder, in a process of its own."""
    shutil.rmtree(data, ignore_errors=True)
    subprocess.run(["sync"], check=True)
    task = {"data": str(data), "url": base, "keyring": str(mirror.keyring), "log": str(log)}
    found = measured("bench.import_bench", task)
    shutil.rmtree(data)
    return found


def child(task: dict[str, str]) -> None:
    """The measured process: the very code that the worker runs."""
    picks = [
        ("ubuntu", "noble"),
        ("ubuntu", "jammy"),
        ("centos", "centos66"),
        ("centos", "centos70"),
        ("centos", "8"),
    ]
    with region(task["data"]):
        add_source(task["url"], task["keyring"], picks)
        first, peak = timed_run(), peak_mib()
        before = len(Path(task["log"]).read_text().splitlines())
        again = timed_run()
        asked = len(Path(task["log"]).read_text().splitlines()) - before
    print(
        json.dumps({"import_s": first, "again_s": again, "again_requests": asked, "peak_mib": peak})
    )


def by_hand(folder: Path, base: str, paths: list[str]) -> float:
    """curl -O everything, hash everything, sync: what a careful administrator does."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["sync"], check=True)
    names = [f"{number:03}-{Path(path).name}" for number, path in enumerate(paths)]
    words = [word for n, p in zip(names, paths, strict=True) for word in ("-o", n, base + p)]
    began = time.monotonic()
    subprocess.run(["curl", "-sS", "--fail", *words], cwd=folder, check=True)
    subprocess.run(
        ["openssl", "dgst", "-sha256", *names], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    subprocess.run(["sync"], check=True)
    took = time.monotonic() - began
    shutil.rmtree(folder)
    return took


def piped(base: str, paths: list[str]) -> float:
    """curl | openssl: transfer and hash alone, nothing kept."""
    began = time.monotonic()
    with subprocess.Popen(
        ["curl", "-sS", "--fail", *(base + path for path in paths)], stdout=subprocess.PIPE
    ) as curl:
        subprocess.run(
            ["openssl", "dgst", "-sha256"], stdin=curl.stdout, check=True, stdout=subprocess.DEVNULL
        )
    return time.monotonic() - began


@contextmanager
def serving(root: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """A plain nginx with sendfile serving a folder on loopback; gives its address and log."""
    log = folder / "access.log"
    with plain_nginx.running(folder, f"root {root}; access_log {log};") as (base, _):
        yield f"{base}/", log


if __name__ == "__main__":
    main()
