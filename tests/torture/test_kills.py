# SPDX-License-Identifier: Apache-2.0
"""Processes are killed at random moments of imports, uploads and fetches; nothing is lost."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.uploads.disk import CALM
from tests.jobs.conftest import Lab, check_region
from tests.mirror.record import Request
from tests.support import signed
from tests.support.live import ADMIN, PASSWORD, LiveSlipway, wait_until
from tests.torture.conftest import Show, scaled
from tests.torture.region import (
    Machines,
    Upload,
    held,
    import_all,
    inside,
    is_idle,
    last_state,
    slow_lab,
)
from webapp.fetch.download import MAX_PIECE

KILLS = int(os.environ.get("TORTURE_KILLS") or scaled(50, 2))
ROLES = ("worker", "web", "rack")
UPLOAD = 16 << 20
AT_ONCE = 2  # files that are downloaded side by side
UNWRITTEN = 2 * MAX_PIECE  # bytes of a file: the piece in hand, and as many in the sockets
DOCUMENTS = 32 << 10  # bytes of an import's documents, read a few times


@pytest.fixture
def slipway(make_live: Callable[..., LiveSlipway]) -> LiveSlipway:
    """All processes, with an administrator."""
    running = make_live(CALM)
    running.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    return running


@pytest.fixture
def lab(tmp_path: Path, signing_key: signed.SigningKey, slipway: LiveSlipway) -> Iterator[Lab]:
    """A mirror that sends slowly."""
    with inside(slipway), slow_lab(tmp_path / "mirror", signing_key) as lab:
        yield lab


def fetched_whole_again(log: list[Request]) -> list[str]:
    """Paths that were asked for from the first byte, though much had been sent before."""
    whole: dict[str, list[int]] = {}
    for request in log:
        if not request.range:
            whole.setdefault(request.path, []).append(request.sent)
    return [path for path, sent in whole.items() if len(sent) > 1 and sorted(sent)[-2] > UNWRITTEN]


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * KILLS)
def test_kills_lose_nothing_and_no_machine_gets_a_wrong_byte(
    slipway: LiveSlipway, lab: Lab, tmp_path: Path, chance: random.Random, show: Show
) -> None:
    (tmp_path / "token").write_text(slipway.cli("admin", "token", ADMIN, "--scope", "all"))
    lab.select("noble")
    wanted = import_all(lab)
    wait_until(is_idle, "the first import")
    offered, uploads, killed = set(wanted), set(), Counter[str]()
    ended = Counter[str]()
    due = sum(wanted.values())
    with Machines(slipway.rack_port) as machines:
        for number in range(KILLS):
            wanted = import_all(lab)
            due += sum(wanted.values())
            offered |= set(wanted)
            upload = Upload(slipway, tmp_path, number, UPLOAD)
            role = ROLES[number % len(ROLES)]
            # From the first request of an upload to the end of an import and an inspection.
            time.sleep(chance.uniform(0.05, 3.0))
            wait_until(lambda r=role: bool(slipway.pids(r)), f"{role} runs")  # type: ignore[misc]
            before = slipway.kill(role)
            killed[role] += 1
            slipway.wait_for(role, other_than=before)
            upload.finish()
            uploads.add(upload.digest)
            wait_until(is_idle, "the import ends", seconds=120)
            ended[last_state()] += 1
            wait_until(lambda d=upload.digest: d in held(), "the upload is published")  # type: ignore[misc]
        lost = (set(wanted) | uploads) - held()
        assert (set(ended), lost) == ({"succeeded"}, set()), slipway.output()[-3000:]
        wait_until(
            lambda: machines.digests >= set(wanted),
            "machines get the last build",
            alive=machines.is_alive,
        )
    twice = lab.server.bytes_sent - due
    show(
        "kills",
        done=f"{killed.total()} ({', '.join(f'{role} {n}' for role, n in killed.items())})",
        imports=", ".join(f"{count} {state}" for state, count in sorted(ended.items())),
        fetched_by_machines=machines.seen["complete"],
        cut_off_as_machines_notice=machines.seen["cut"],
        corrupt=machines.seen["corrupt"] + len(machines.digests - offered),
        lost=len(lost),
        bytes_fetched_twice=f"{max(0, twice)} of {due}",
    )
    assert killed.total() == KILLS
    assert machines.seen["corrupt"] == 0
    assert machines.seen["silent"] == 0
    assert machines.digests <= offered
    # A kill costs each file under way what was sent and not yet written; each import reads
    # small documents, once more after a kill.
    assert fetched_whole_again(lab.server.log) == []
    assert twice <= killed["worker"] * AT_ONCE * UNWRITTEN + (KILLS + 1) * DOCUMENTS
    check_region()
