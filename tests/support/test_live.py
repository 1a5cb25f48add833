# SPDX-License-Identifier: Apache-2.0
"""``slipway run`` as people start it: three processes that live and die together."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.support import databases
from tests.support.live import ROLES, LiveSlipway, answers, descendants, wait_until

pytestmark = pytest.mark.slow


def has_ended(pid: int) -> bool:
    """Whether a process is gone; one that nobody collected counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_all_three_start_answer_and_stop(make_live: Callable[[], LiveSlipway]) -> None:
    slipway = make_live()
    pids = {role: slipway.pids(role) for role in ROLES}
    assert all(pids.values())
    assert requests.get(slipway.rack_url + "images/x", timeout=10).status_code == 404
    values = {row["name"]: row["value"] for row in json.loads(slipway.cli("settings", "--json"))}
    scheme = {"sqlite": "sqlite", "postgres": "postgresql"}[databases.default_engine()]
    assert values["SLIPWAY_DATABASE_URL"].startswith(f"{scheme}:")
    assert slipway.stop() == 0
    assert all(has_ended(pid) for role in ROLES for pid in pids[role])


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_process_is_started_again(make_live: Callable[[], LiveSlipway], role: str) -> None:
    slipway = make_live()
    killed = slipway.kill(role)
    slipway.wait_for(role, other_than=killed)
    wait_until(lambda: answers(slipway.web_url) and answers(slipway.rack_url), "both answer again")
    assert slipway.stop() == 0


def test_nothing_outlives_a_killed_supervisor(make_live: Callable[[], LiveSlipway]) -> None:
    slipway = make_live()
    assert slipway.process is not None
    left = descendants(slipway.process.pid)
    os.kill(slipway.process.pid, signal.SIGKILL)
    slipway.process.wait()
    wait_until(lambda: all(has_ended(pid) for pid in left), "all processes have ended")


def test_a_second_start_on_the_same_folder_keeps_what_was_there(
    make_live: Callable[[], LiveSlipway],
) -> None:
    slipway = make_live()
    slipway.cli("admin", "create", "somebody", "--password-stdin", stdin="a long enough passphrase")
    slipway.stop()
    slipway.start()
    again = slipway.cli(
        "admin", "create", "somebody", "--password-stdin", stdin="another passphrase", check=False
    )
    assert again == ""
    assert slipway.stop() == 0
