# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from webapp.storage import leases

SAY = "from webapp.storage.leases import new_owner; print(new_owner(), flush=True)"


def test_owners_differ_and_live() -> None:
    first, second = leases.new_owner(), leases.new_owner()
    assert first != second
    assert len(first) <= 160, "as wide as the column"
    assert not leases.is_dead(first)


def test_an_owner_lives_as_long_as_its_process() -> None:
    command = [sys.executable, "-c", SAY + "; input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert not leases.is_dead(owner)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # leaves it a zombie
        assert leases.is_dead(owner), "a zombie writes nothing"
        process.wait()
        assert leases.is_dead(owner)


def test_a_process_that_got_the_number_of_a_dead_one_is_not_it() -> None:
    place, pid, started, token = leases.new_owner().split("/")
    assert leases.is_dead(f"{place}/{pid}/{int(started) - 1}/{token}")


def test_an_owner_that_gave_up_is_dead_though_its_process_lives() -> None:
    owner, other = leases.new_owner(), leases.new_owner()
    leases.mark_ended(owner)
    assert leases.is_dead(owner)
    assert not leases.is_dead(other)


@pytest.mark.parametrize("owner", ["", "x", "a/b/c/d", "a/1/1/d", "/1/1/d", "a/1/1/d/e"])
def test_an_owner_that_says_nothing_to_us_may_live(owner: str) -> None:
    assert not leases.is_dead(owner)


def test_the_same_process_id_on_another_machine_may_live() -> None:
    _, pid, started, token = leases.new_owner().split("/")
    assert not leases.is_dead(f"another:1/{pid}/{int(started) + 1}/{token}")
