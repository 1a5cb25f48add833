# SPDX-License-Identifier: Apache-2.0
"""The disk with everything on it fills up at random moments of imports, and is emptied again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.uploads.disk import CALM
from tests.jobs.conftest import Lab, check_region
from tests.support import signed
from tests.support.full_disk import MIB, fill, small_disk
from tests.support.live import ROLES, LiveSlipway, wait_until
from tests.torture.conftest import IS_FULL, Show
from tests.torture.region import Machines, held, import_all, inside, is_idle, last_state, slow_lab
from webapp.services.imports import runs
from webapp.services.system.wake import wake

ROUNDS = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not IS_FULL, reason="every day: tests/web/test_full_disk.py, tests/jobs/test_faults.py"
    ),
]


@pytest.fixture
def slipway() -> Iterator[LiveSlipway]:
    """Database, queue and store on one small disk."""
    with small_disk(192 * MIB) as disk:
        env = {**CALM, "SLIPWAY_RETIRE_GRACE": "0"}
        with LiveSlipway(disk / "data", env) as running:
            yield running


@pytest.fixture
def lab(tmp_path: Path, signing_key: signed.SigningKey, slipway: LiveSlipway) -> Iterator[Lab]:
    """A mirror that sends slowly."""
    with inside(slipway), slow_lab(tmp_path / "mirror", signing_key) as lab:
        yield lab


def fill_up(disk: Path) -> None:
    """Fill it; Slipway may free and take some of it meanwhile."""
    with suppress(AssertionError):
        fill(disk)


def test_a_disk_that_fills_up_again_and_again(
    slipway: LiveSlipway, lab: Lab, chance: random.Random, show: Show
) -> None:
    disk = slipway.data_dir.parent
    lab.select("noble")
    wanted = import_all(lab)
    wait_until(is_idle, "the first import")
    processes = {role: slipway.pids(role)[0] for role in ROLES}
    offered, ends = set(wanted), Counter[str]()
    with Machines(slipway.rack_port) as machines:
        for _ in range(ROUNDS):
            wanted = import_all(lab)
            offered |= set(wanted)
            time.sleep(chance.uniform(0.0, 2.0))
            fill_up(disk)
            time.sleep(chance.uniform(0.5, 2.0))
            (disk / "filling").unlink()
            wait_until(is_idle, "the import ends", seconds=180)
            ends[last_state()] += 1
            check_region()
            runs.queue("manual", "ann")
            wake()
            wait_until(is_idle, "the import with room", seconds=180)
            assert last_state() == "succeeded"
        wait_until(lambda: machines.digests >= set(wanted), "machines get the last build")
    died = [role for role, pid in processes.items() if slipway.pids(role)[:1] != [pid]]
    lost = set(wanted) - held()
    show(
        "a full disk",
        times=ROUNDS,
        imports=", ".join(f"{count} {state}" for state, count in sorted(ends.items())),
        fetched_by_machines=machines.seen["complete"],
        corrupt=machines.seen["corrupt"] + len(machines.digests - offered),
        lost=len(lost),
        processes_that_died=", ".join(died) or 0,
    )
    assert machines.seen["corrupt"] == 0
    assert machines.digests <= offered
    assert not lost
    check_region()
