# SPDX-License-Identifier: Apache-2.0
"""A disk to upload, and how it's served."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.support import disks
from tests.support.live import LiveSlipway

Start = Callable[[dict[str, str]], LiveSlipway]
CALM = {"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"}


def raw_disk(size: int) -> bytes:
    """A Linux disk whose bytes do not pack, so that sending it takes a while."""
    disk = bytearray(disks.linux_disk(size))
    noise = random.Random(size)
    for start in range(1 << 20, size - (2 << 20), 1 << 20):
        disk[start : start + (1 << 20)] = noise.randbytes(1 << 20)
    return bytes(disk)
