# SPDX-License-Identifier: Apache-2.0
"""The resource table, for the routes and for ``describe/``."""

from __future__ import annotations

from webapp.api.v2 import (
    account,
    boot_resources,
    boot_sources,
    config,
    info,
    racks,
    selections,
    users,
)
from webapp.api.v2.dispatch import Resource

RESOURCES: tuple[Resource, ...] = (
    *account.RESOURCES,
    *boot_resources.RESOURCES,
    *boot_sources.RESOURCES,
    *selections.RESOURCES,
    *users.RESOURCES,
    *info.RESOURCES,
    *config.RESOURCES,
    *racks.RESOURCES,
)
