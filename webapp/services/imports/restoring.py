# SPDX-License-Identifier: Apache-2.0
"""Undo the removal of an image: machines get it again, and the next import doesn't remove it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from webapp.errors import Problem
from webapp.models import ResourceType
from webapp.services.images import binning
from webapp.services.imports import preview, selecting


@dataclass(frozen=True)
class Restored:
    """What came back. is_selected: it was selected again as well.

    warning: why the next import would remove it again, and what to do; "" if it wouldn't.
    """

    name: str
    arch: str
    kernels: tuple[str, ...]
    is_selected: bool
    warning: str


def restore(resource_ids: Collection[int], actor: str) -> Restored:
    """Take an image out of the bin, and select it again if only that removed it.

    Raises NotFound, or Problem if its bytes were damaged since.
    """
    rows = binning.restore(resource_ids, actor)
    first, ids = rows[0], {row.id for row in rows}
    name, arch, kernels = first.name, first.arch, tuple(row.subarch for row in rows)
    is_synced = first.rtype == ResourceType.SYNCED and not first.bootloader_type
    line = (first.os, first.release, first.arch)
    is_selected = is_synced and bool(_leaving(ids)) and _select(line, actor)
    warning = ""
    if reasons := _leaving(ids) if is_synced else []:
        warning = (
            f"The next import removes it again: {reasons[0]}. To keep it, select {name} for "
            f"{arch} at a source that offers it, or lock the image."
        )
    return Restored(name, arch, kernels, is_selected, warning)


def _leaving(ids: Collection[int]) -> list[str]:
    """Why the next import would remove these."""
    return [one.why for one in preview.next_plan().retire if one.resource_id in ids]


def _select(line: selecting.Choice, actor: str) -> bool:
    try:
        proposal = selecting.of_choices([line], [])
    except Problem:  # no source offers it, as far as is known
        return False
    selecting.save(proposal, actor, is_imported=False)
    return bool(proposal.pending)
