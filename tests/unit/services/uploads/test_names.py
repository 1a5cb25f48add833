# SPDX-License-Identifier: Apache-2.0
"""Names of uploaded versions: clients take the largest as text (rule: upload-versions)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import InvalidFields
from webapp.services.uploads.names import MAX_A_DAY, next_version

DAY = date(2026, 11, 28)


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ([], "20261128"),
        (["20261127", "20261127.010"], "20261128"),
        (["20261128"], "20261128.001"),
        (["20261128", "20261128.009"], "20261128.010"),
        (["20261128.010~gone"], "20261128.011"),
        # The clock was put back: a smaller name would never be found by stock clients.
        (["20261129"], "20261129.001"),
        (["20261129.004", "20261128"], "20261129.005"),
        (["lab", "2026112"], "20261128"),  # names of no day of ours
    ],
)
def test_a_version_is_named_by_its_day_and_behind_all_others(
    existing: list[str], expected: str
) -> None:
    assert next_version(DAY, existing) == expected


@given(st.lists(st.integers(-3, 3), max_size=40))
def test_the_newest_is_the_largest_whatever_the_clock_does(days: list[int]) -> None:
    made: list[str] = []
    for offset in days:
        made.append(next_version(DAY + timedelta(days=offset), made))
    assert made == sorted(set(made))


def test_a_day_has_a_limit_that_is_reported() -> None:
    with pytest.raises(InvalidFields, match="versions a day"):
        next_version(DAY, [f"20261128.{MAX_A_DAY}"])
