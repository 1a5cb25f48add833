# SPDX-License-Identifier: Apache-2.0
"""What is done to Slipway until something breaks, and the figures that come out of it.

``make test`` runs a small part of each. ``make torture`` runs all of it and prints one
figure a line. TORTURE_SEED changes what happens when, TORTURE_KILLS how often.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.jobs.conftest import lab, make_lab

__all__ = ["lab", "make_lab"]

IS_FULL = bool(os.environ.get("TORTURE"))
SEED = int(os.environ.get("TORTURE_SEED", "1"))

Show = Callable[..., None]


def scaled(full: int, small: int) -> int:
    """How much of something is done: all of it, or the part for every day."""
    return full if IS_FULL else small


@pytest.fixture
def chance() -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(SEED)


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Print figures: ``show("rot", store="filesystem", found=3)``; only in torture."""

    def line(what: str, **figures: object) -> None:
        if IS_FULL:
            with capsys.disabled():
                for name, value in figures.items():
                    print(f"\n{what}, {name.replace('_', ' ')}: {value}", end="", flush=True)

    return line
