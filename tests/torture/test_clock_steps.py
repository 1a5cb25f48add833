# SPDX-License-Identifier: Apache-2.0
"""The clock of a running Slipway is set forward and back; everything still works at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.e2e.uploads.disk import CALM
from tests.jobs.conftest import Lab, check_region
from tests.support import signed
from tests.support.live import ADMIN, PASSWORD, LiveSlipway, wait_until
from tests.torture.conftest import IS_FULL, Show
from tests.torture.region import Machines, Upload, held, inside, is_idle, publish, slow_lab
from webapp.extensions import db
from webapp.models import Event, utcnow

CC = shutil.which("cc")
DAY, HOUR = 86_400, 3600
# Seconds ahead of the clock of this machine, which signs what the mirror offers.
STEPS = (500 * DAY, 499 * DAY, 500 * DAY, 100 * DAY, 100 * DAY - HOUR, 400 * DAY, 30, 0)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not IS_FULL, reason="every day: tests/jobs/test_clock.py"),
    pytest.mark.skipif(CC is None, reason="needs a C compiler"),
]


class Clock:
    """What time it is for Slipway's processes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([str(CC), "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        self.env = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}
        self.set(STEPS[0])

    def set(self, seconds: int) -> None:
        """Let it be so many seconds later than it is."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def slipway(tmp_path: Path, clock: Clock) -> Iterator[LiveSlipway]:
    with LiveSlipway(tmp_path / "data", {**CALM, **clock.env}) as running:
        running.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
        yield running


@pytest.fixture
def lab(tmp_path: Path, signing_key: signed.SigningKey, slipway: LiveSlipway) -> Iterator[Lab]:
    """A mirror that sends slowly."""
    with inside(slipway), slow_lab(tmp_path / "mirror", signing_key) as lab:
        yield lab


def test_nothing_waits_for_the_clock_to_catch_up(
    slipway: LiveSlipway, lab: Lab, clock: Clock, tmp_path: Path, show: Show
) -> None:
    (tmp_path / "token").write_text(slipway.cli("admin", "token", ADMIN, "--scope", "all"))
    lab.select("noble")
    latest = db.session.scalar(select(func.max(Event.at)))
    assert latest is not None
    assert latest > utcnow() + timedelta(days=400), "Slipway's clock isn't ahead"
    stuck = []
    with Machines(slipway.rack_port) as machines:
        for number, step in enumerate(STEPS):
            clock.set(step)
            publish(lab)
            slipway.cli("import", "start")
            upload = Upload(slipway, tmp_path, number, 4 << 20)
            wanted = set(lab.wanted(release="noble"))
            for what, condition in (
                ("the import", lambda: is_idle() and held() >= wanted),  # noqa: B023
                ("the upload", lambda: upload.digest in held()),  # noqa: B023
                ("machines", lambda: machines.digests >= wanted),  # noqa: B023
            ):
                try:
                    wait_until(condition, what, seconds=120)
                except AssertionError:
                    stuck.append(f"{what} at {step} s")
            upload.finish()
    show(
        "clock steps",
        done=len(STEPS),
        stuck=", ".join(stuck) or 0,
        fetched_by_machines=machines.seen["complete"],
        corrupt=machines.seen["corrupt"],
    )
    assert not stuck
    assert machines.seen["corrupt"] == 0
    check_region()
