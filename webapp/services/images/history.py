# SPDX-License-Identifier: Apache-2.0
"""The stored versions of an image with all its kernels together, and what each is kept for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import BootResource, ResourceSet, ResourceType, utcnow
from webapp.services.images import expiring, keeping, versions
from webapp.services.images.keeping import Policy, Verdict


@dataclass(frozen=True)
class VersionLine:
    """One version of an image. kernels: those that have it; current: those that boot it.

    why: what it's kept for, "" when the next clean-up lets it go. until: when that ends.
    is_newer: it's newer than the version that machines get.
    """

    version: str
    label: str
    size: int
    kernels: tuple[str, ...]
    current: tuple[str, ...]
    is_newer: bool
    is_locked: bool
    completed_at: datetime | None
    fetched_at: datetime | None
    why: str
    until: datetime | None

    @property
    def is_current(self) -> bool:
        """Whether machines get it with every kernel that it has."""
        return len(self.current) == len(self.kernels)


@dataclass(frozen=True)
class History:
    """The versions of an image, the newest first, and what holds for all of them.

    offered: the versions that aren't stored, and that the next import would fetch for a pin.
    """

    title: str
    is_uploaded: bool
    lines: tuple[VersionLine, ...]
    offered: tuple[str, ...]
    is_pinned: bool
    is_locked: bool
    keep_versions: int | None
    keep_days: int | None
    policy: Policy


def of(resource_ids: Collection[int]) -> History:
    """Read an image's versions, in a few queries."""
    resources = db.session.scalars(
        select(BootResource).where(BootResource.id.in_(resource_ids)).order_by(BootResource.id)
    ).all()
    kept = versions.of_several(resource_ids)
    now = utcnow()
    verdicts: dict[int, Verdict] = {}
    for resource in resources:
        sets = [expiring.as_version(s, resource.current_set_id) for s in kept.get(resource.id, ())]
        verdicts |= keeping.judge(sets, expiring.policy_of(resource), now)
    groups: dict[str, list[ResourceSet]] = {}
    for one in (one for sets in kept.values() for one in sets):
        groups.setdefault(one.version, []).append(one)
    by_id = {resource.id: resource for resource in resources}
    lines = [_line(sets, by_id, verdicts) for sets in groups.values()]
    lines.sort(key=lambda line: keeping.order(line.version, 0), reverse=True)
    first = resources[0]
    return History(
        title=f"{first.title or first.name} {first.arch}",
        is_uploaded=first.rtype == ResourceType.UPLOADED,
        lines=tuple(_placed(lines)),
        offered=tuple(one for one in versions.offered(resources) if one not in groups),
        is_pinned=any(resource.pinned_at for resource in resources),
        is_locked=any(resource.locked_at for resource in resources),
        keep_versions=first.keep_versions,
        keep_days=first.keep_days,
        policy=expiring.policy_of(first),
    )


def _line(
    sets: Sequence[ResourceSet],
    resources: Mapping[int, BootResource],
    verdicts: Mapping[int, Verdict],
) -> VersionLine:
    sets = sorted(sets, key=lambda one: one.resource_id)
    first = sets[0]
    kernels = {one.id: resources[one.resource_id].subarch for one in sets}
    kept = [verdicts[one.id] for one in sets if verdicts[one.id].is_kept]
    ends = [verdict.until for verdict in kept]
    sizes = {file.blob.sha256: file.blob.size for one in sets for file in one.files}
    return VersionLine(
        version=first.version,
        label=first.label,
        size=sum(sizes.values()),
        kernels=tuple(kernels.values()),
        current=tuple(
            kernels[one.id] for one in sets if resources[one.resource_id].current_set_id == one.id
        ),
        is_newer=False,
        is_locked=any(one.locked_at for one in sets),
        completed_at=max((one.completed_at for one in sets if one.completed_at), default=None),
        fetched_at=max((one.fetched_at for one in sets if one.fetched_at), default=None),
        why=kept[0].why if kept else "",
        until=max(end for end in ends if end) if ends and all(ends) else None,
    )


def _placed(lines: Sequence[VersionLine]) -> list[VersionLine]:
    """The lines with the place of each beside the one that machines get."""
    place = next((i for i, line in enumerate(lines) if line.current), len(lines))
    return [replace(line, is_newer=i < place) for i, line in enumerate(lines)]
