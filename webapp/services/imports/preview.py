# SPDX-License-Identifier: Apache-2.0
"""What the next import would do, and why, from what is known now; reads only."""

from __future__ import annotations

from webapp.extensions import store
from webapp.services.imports import inventory, planning
from webapp.services.imports.plans import ImportPlan
from webapp.services.sources import sources


def next_plan() -> ImportPlan:
    """The plan of an import that would find every source as it was when it was last read."""
    return planning.plan(inventory.sources(fresh_sources()), inventory.read(store()))


def fresh_sources() -> set[int]:
    """The ids of the sources whose last refresh went well."""
    return {
        row.id
        for row in sources.all_sources()
        if row.refreshed_at is not None and not row.error_code
    }
