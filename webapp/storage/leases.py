# SPDX-License-Identifier: Apache-2.0
"""Who writes a blob of the database store, and whether that one still lives.

A database has no lock that ends with the process and holds no connection. So a
partial names its owner, each write renews it, and after LEASE_S without one it
is free. A process that died on this very machine is seen at once.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from webapp import numbers

# Longer than the longest pause of a running download.
LEASE_S = 120


_ended: set[str] = set()  # owners of this process that ended, maybe unknown to the database


def new_owner() -> str:
    """A name for one owner: machine and container, process, when it started, a random part."""
    pid = os.getpid()
    return f"{_place()}/{pid}/{_started(pid)}/{secrets.token_hex(8)}"


def mark_ended(owner: str) -> None:
    """Note that an owner of this process ended, in case the database could not be updated."""
    _ended.add(owner)


def is_dead(owner: str) -> bool:
    """Whether the owner is surely done; False when it may still be at work elsewhere."""
    parts = owner.split("/")
    if len(parts) != 4 or not parts[0] or parts[0] != _place():
        return False
    pid = numbers.whole(parts[1])
    return pid is not None and (owner in _ended or _started(pid) != parts[2])


def _place() -> str:
    # The boot id changes with each start of the machine, the name space with each
    # container: only within both does a process id mean the same process.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""  # not Linux: the lease alone decides


def _started(pid: int) -> str:
    """When a process started, in ticks since the machine did; "" when it does not run."""
    try:
        # The name in parentheses may hold anything, so fields count from its end.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else fields[18]
