# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest

from webapp.streams import kernels


# (rule: kernel-order)
def test_kernels_stand_series_by_series_ga_before_hwe_before_edge() -> None:
    ordered = [
        "ga-22.04",
        "hwe-22.04",
        "hwe-22.04-edge",
        "ga-22.04-lowlatency",
        "hwe-22.04-lowlatency",
        "hwe-22.04-lowlatency-edge",
        "ga-24.04",
        "generic",
        "highbank",
    ]
    mixed = random.Random(1).sample(ordered, len(ordered))
    assert sorted(mixed, key=kernels.order_key)[:7] == ordered[:7]
    assert set(sorted(mixed, key=kernels.order_key)[7:]) == {"generic", "highbank"}


@pytest.mark.parametrize(
    ("name", "title", "family"),
    [
        ("ga-24.04", "GA 24.04", "ga"),
        ("hwe-24.04-edge", "HWE 24.04 edge", "hwe-edge"),
        ("hwe-24.04-lowlatency-edge", "HWE 24.04 edge, low-latency", "hwe-lowlatency-edge"),
        ("hwe-p", "HWE p", "hwe"),
        ("ga-24.04-64k", "GA 24.04, 64k", "ga-64k"),
        ("xgene-uboot", "xgene-uboot", "xgene-uboot"),
    ],
)
def test_a_kernels_name_has_a_title_and_a_family(name: str, title: str, family: str) -> None:
    assert (kernels.title(name), kernels.family(name)) == (title, family)


def test_the_kernel_that_answers_to_generic_is_the_ga_one() -> None:
    assert kernels.family("hwe-p", ["hwe-p", "generic"]) == "ga"
    assert kernels.family("generic") == "ga"
