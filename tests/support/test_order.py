# SPDX-License-Identifier: Apache-2.0
"""Long and short test files run beside each other, the long ones spread by what they take."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tests.support import order

LONG = {Path("browser"): 60, Path("kills"): 30, Path("upload"): 10}
SHORT = {Path(f"unit{n}"): n for n in range(1, 101)}


def test_every_file_has_its_place_once() -> None:
    found = order.spread(LONG, SHORT)
    assert sorted(found) == sorted([*LONG, *SHORT])
    assert order.spread(LONG, {}) == list(LONG)
    assert order.spread({}, {}) == []


def test_the_longest_come_first_and_the_smallest_last() -> None:
    found = order.spread(LONG, SHORT)
    assert [path for path in found if path in LONG] == list(LONG)
    sizes = [SHORT[path] for path in found if path in SHORT]
    assert all(one > other for one, other in pairwise(sizes))
    assert found[-1] == Path("unit1")


def test_what_a_long_file_takes_is_left_to_short_ones_until_the_next_one() -> None:
    found, done, begins = order.spread(LONG, SHORT), 0, list[float]()
    for path in found:
        if path in LONG:
            begins.append(done / sum(SHORT.values()))
        else:
            done += SHORT[path]
    shares = (0, 0.6 * order.SPREAD, 0.9 * order.SPREAD)
    for begin, share in zip(begins, shares, strict=True):
        assert share <= begin < share + 0.02


def test_the_files_that_are_known_to_be_long_exist() -> None:
    names = {path.name for path in Path(__file__).parent.parent.rglob("test_*.py")}
    assert not set(order.SECONDS) - names
