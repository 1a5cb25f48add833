# SPDX-License-Identifier: Apache-2.0
"""The order of test files for three processes that share two cores.

Tests of browsers and real processes wait for about half of their time; the others compute. So
one or two of the long files run beside short ones at any time: no core is idle, and what wants
much of the machine doesn't meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

# About how many seconds files take alone that wait for much of it; others with slow tests
# take OTHERS.
SECONDS = {
    "test_interrupted.py": 90,
    "test_pages.py": 80,
    "test_command_line.py": 50,
    "test_main_job.py": 45,
    "test_killed.py": 40,
    "test_many_uploads.py": 35,
    "test_live.py": 35,
    "test_kills.py": 30,
    "test_large_documents.py": 25,
    "test_schedule.py": 25,
    "test_filling.py": 25,
    "test_serve.py": 25,
    "test_enrolled.py": 20,
    "test_following.py": 20,
    "test_v1_schema.py": 20,
    "test_takeover.py": 15,
}
OTHERS = 10
SPREAD = 0.8  # of the short tests; the rest follows, so that the processes end together


def arrange(items: list[pytest.Item]) -> None:
    """Put files in their order, with the tests of each as they are."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    long = {path: _seconds(path) for path, tests in files.items() if _is_long(path, tests)}
    short = {path: _work(tests) for path, tests in files.items() if path not in long}
    items[:] = [item for path in spread(long, short) for item in files[path]]


def spread(long: Mapping[Path, int], short: Mapping[Path, int]) -> list[Path]:
    """Largest first, and each long file after its share of the short ones.

    long, short: files with their seconds, and with the work of their tests.
    """
    waiting = sorted(long, key=lambda path: -long[path])
    begun, done, order = 0, 0, list[Path]()
    for path in sorted(short, key=lambda path: -short[path]):
        while waiting and done / sum(short.values()) >= SPREAD * begun / sum(long.values()):
            order.append(waiting.pop(0))
            begun += long[order[-1]]
        order.append(path)
        done += short[path]
    return order + waiting


def _seconds(path: Path) -> int:
    return SECONDS.get(path.name, OTHERS)


def _work(tests: list[pytest.Item]) -> int:
    """What a file computes; a test with a database takes five times as long as one without."""
    return sum(5 if "environ" in getattr(one, "fixturenames", ()) else 1 for one in tests)


def _is_long(path: Path, tests: list[pytest.Item]) -> bool:
    is_marked = any(one.get_closest_marker(name) for one in tests for name in ("slow", "browser"))
    return is_marked or path.name in SECONDS
