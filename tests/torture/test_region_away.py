# SPDX-License-Identifier: Apache-2.0
"""A region is killed while machines read from a rack, and stays away for a day of the clock."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rack import images
from tests.rack.server import LiveRack
from tests.remoterack.remote import PATH, RemoteRack, fetch, publish
from tests.support.databases import Databases
from tests.torture.conftest import SEED, Show, scaled
from tests.torture.crowd import Download, kill_all, read_all
from tests.torture.test_clock_steps import CC, DAY, Clock
from webapp.extensions import db

MACHINES = scaled(200, 20)
ROUNDS = scaled(10, 2)  # of all machines, once the region is away
SIZE = scaled(20 << 20, 1 << 20)
ABSENT = scaled(20, 3)  # questions for a file that isn't there

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CC is None, reason="needs a C compiler"),
]


def test_machines_read_on_when_the_region_is_killed(
    tmp_path: Path, sqlite_databases: Databases, show: Show
) -> None:
    root = random.Random(SEED).randbytes(SIZE)
    (tmp_path / "region").mkdir()
    region = LiveRack(tmp_path / "region", sqlite_databases.migrated(), rack_threads=32)
    with region.app.app_context():
        images.image({**images.FILES, "root-img": root}, product="p:v3:noble")
        db.session.remove()
    clock = Clock(tmp_path)
    clock.set(0)
    with region, RemoteRack(tmp_path / "rack", region.url, publish(region)) as rack:
        rack.stop()
        rack.environ |= clock.env
        rack.__enter__()
        rack.wait_for(f"{PATH}/root-img")
        reading = [
            Download(rack.port, f"{PATH}/root-img", root, receive=64 << 10) for _ in range(MACHINES)
        ]
        assert all(has_begun(machine) for machine in reading)
        kill_all(region)
        read_all(reading)
        right, waits = [machine.is_whole for machine in reading], []
        for number in range(ROUNDS):
            clock.set(DAY * (number + 1) // ROUNDS)
            again = [Download(rack.port, f"{PATH}/root-img", root) for _ in range(MACHINES)]
            read_all(again)
            right += [machine.is_whole and not machine.refused for machine in again]
        with ThreadPoolExecutor(4) as pool:
            waits = list(pool.map(lambda _: refusal_s(rack), range(ABSENT)))
        region.__enter__()
        found = rack.wait_for(f"{PATH}/boot-initrd")
        assert found.body == images.FILES["boot-initrd"]
    show(
        f"a region killed under {MACHINES} machines, and away for 24 h of the clock",
        read_right=f"{sum(right)} of {len(right)}",
        slowest_refusal_of_what_is_not_there=f"{max(waits):.2f} s of {ABSENT}",
    )
    assert all(right), [(one.status, one.got, one.is_right) for one in reading]


def has_begun(machine: Download) -> bool:
    """Wait for the first bytes; most of the file waits in the rack."""
    machine.sock.setblocking(True)
    machine.take(1000)
    machine.sock.setblocking(False)
    return machine.status == 200 and not machine.is_whole


def refusal_s(rack: RemoteRack) -> float:
    """Seconds until a machine is told to come back later for what the rack doesn't have."""
    began = time.monotonic()
    answer = fetch(rack.url, f"{PATH}/boot-initrd")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    return time.monotonic() - began
