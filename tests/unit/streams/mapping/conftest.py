# SPDX-License-Identifier: Apache-2.0
"""The catalogue of the test mirror."""

from __future__ import annotations

import pytest

from tests.unit.streams import shapes
from webapp.streams.mapping import map_products
from webapp.streams.offers import Mapped


@pytest.fixture(scope="module")
def catalogue() -> Mapped:
    return map_products(shapes.parsed_catalogue())
