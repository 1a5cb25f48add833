# SPDX-License-Identifier: Apache-2.0
"""Products for these tests."""

from __future__ import annotations

from typing import Any

from tests.unit.streams import shapes
from tests.unit.streams.shapes import Tree, kernel
from webapp.streams.offers import Offer

GA_NOBLE = kernel("noble", "amd64", "ga-24.04")
NOBLE = {shapes.ubuntu_name(GA_NOBLE): shapes.ubuntu(GA_NOBLE)}


def by_answer(offers: Any) -> dict[tuple[str, ...], Offer]:
    """Who serves which name; fails when two do."""
    found: dict[tuple[str, ...], Offer] = {}
    for one in offers:
        for name in one.answers_to:
            key = (one.os, one.release, one.arch, one.label, name)
            assert key not in found, (key, found[key].product, one.product)
            found[key] = one
    return found


STREAM = "com.ubuntu.maas.stable"


def versions(*serials: str) -> Tree:
    (product,) = NOBLE
    return {product: shapes.ubuntu(GA_NOBLE, serials)}
