# SPDX-License-Identifier: Apache-2.0
"""How long to fuzz: `make fuzz ARGS=--hypothesis-profile=long` for an hour rather than seconds."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("long", max_examples=20_000, suppress_health_check=list(HealthCheck))
