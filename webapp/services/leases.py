# SPDX-License-Identifier: Apache-2.0
"""Who holds a lease, and whether that process is still alive.

An owner is ``host:pid:start``. The host part changes with every boot and with
every PID namespace, so that a process id is only ever looked up where it means
something; a holder anywhere else is trusted until its lease runs out.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from pathlib import Path

PROC = Path("/proc")


@functools.cache
def _host() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(PROC / "self/ns/pid")
    except OSError:
        return ""
    place = hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:8]
    return f"{socket.gethostname().replace(':', '-')}-{place}"


def owner_id() -> str:
    """The name under which this process holds leases."""
    return f"{_host()}:{os.getpid()}:{_started(os.getpid()) or ''}"


def is_dead(owner: str) -> bool:
    """Whether the holder is known to be gone, so that nobody need wait out its lease.

    "" is a lease that was handed back.
    """
    if not owner:
        return True
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    if not _host() or host != _host() or not rest.isdigit():
        return False
    return _started(int(rest)) != owner.rpartition(":")[2]


def _started(pid: int) -> str | None:
    """The start time of a process in clock ticks since boot; None when there is none.

    A zombie runs no more, whether or not its parent has noticed.
    """
    try:
        # The second field is the program's name in parentheses and may hold anything.
        stat = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] in "ZX" else stat[19]
