# SPDX-License-Identifier: Apache-2.0
"""Blobs of these tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.contract.stores import MIB, make_blob

SMALL = make_blob(1000)
LARGE = make_blob(3 * MIB + 17)  # some rows and a bit
ONE_STORE = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
