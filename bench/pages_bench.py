# SPDX-License-Identifier: Apache-2.0
"""Every page and API list with few rows and with many, beside each other.

    small   one page of each: 100 images and uploads, 500 events, 5 racks, 50 imports
    large   5,000 images and uploads, 200,000 events, 100 racks, 1,000 imports

Both regions are in one process and answer in turns. Prints the number of queries, the
size of the response and the median of the time: of the processor on SQLite; by the clock
with ``--postgres``, where the server works as well. Asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.children import ROOT
from tests.support import crowded
from tests.support.crowd import Crowd
from tests.support.crowded import Ask
from tests.support.databases import counted, migrate
from tests.support.postgres import Cluster

CROWDS = {"small": Crowd(100, 500, 5, 50), "large": Crowd(5_000, 200_000, 100, 1_000)}


@dataclass
class Cost:
    """What one page took: queries, bytes of the response, seconds of each round."""

    queries: int = 0
    size: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def ms(self) -> float:
        """The median, in milliseconds."""
        return 1000 * statistics.median(self.seconds)


def main() -> None:
    """Fill both regions, ask for everything in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own")
    options, _ = parser.parse_known_args()
    clock = time.perf_counter if options.postgres else time.thread_time
    (ROOT / "build").mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=ROOT / "build")))
        cluster = stack.enter_context(Cluster()) if options.postgres else None
        asking = {}
        for name, many in CROWDS.items():
            data = folder / name
            url = cluster.create(name) if cluster else f"sqlite:///{folder}/{name}.db"
            migrate(url, data)
            app = stack.enter_context(crowded.region(url, data, many))
            asking[name] = crowded.asking(app)
        print(f"{'':46} {'queries':>9}   {'ms':>15}   {'kB':>13}")
        for path in crowded.names():
            show(path, measure(path, asking, options.rounds, clock))


def measure(
    path: str, asking: Mapping[str, Mapping[str, Ask]], rounds: int, clock: Callable[[], float]
) -> dict[str, Cost]:
    """The cost in each region; the first answers warm up and are counted, not timed."""
    costs = {name: Cost() for name in asking}
    for name, ways in asking.items():
        ways[path]()
        with counted() as queries:
            answer = ways[path]()
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status}")
        costs[name].queries, costs[name].size = len(queries), len(answer.data)
    for _ in range(rounds):
        for name, ways in asking.items():
            began = clock()
            ways[path]()
            costs[name].seconds.append(clock() - began)
    return costs


def show(path: str, costs: Mapping[str, Cost]) -> None:
    """One line of the table; those that took twice as long are marked."""
    small, large = costs["small"], costs["large"]
    mark = f"   x {large.ms / small.ms:.1f}" if large.ms > 2 * small.ms else ""
    print(
        f"{path:46} {small.queries:4} {large.queries:4}   {small.ms:7.1f} {large.ms:7.1f}"
        f"   {small.size / 1000:6.0f} {large.size / 1000:6.0f}{mark}",
        flush=True,
    )


if __name__ == "__main__":
    main()
