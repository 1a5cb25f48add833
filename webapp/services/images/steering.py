# SPDX-License-Identifier: Apache-2.0
"""Say which version machines get, and what nothing may change or remove.

- Pinned: imports leave the current version as it is.
- Rolled back: an older version is current and pinned, or the next import would undo it.
- Locked: nothing may remove the image, or this version of it.

Each call changes all its boot resources (the kernels of an image) in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from webapp.errors import Conflict
from webapp.extensions import db
from webapp.models import BlobState, BootResource, ResourceSet, ResourceType, utcnow
from webapp.services.images import keeping, publishing, versions
from webapp.services.system import events

MAX_KEPT, MAX_DAYS = 100, 3650


@dataclass
class Switched:
    """What a switch did. before, stayed: versions by architecture, before it and without it.

    is_pinned: imports won't change the version again. coming: architectures for which the
    next import fetches the version.
    """

    version: str
    is_pinned: bool = False
    before: dict[str, str] = field(default_factory=dict)
    stayed: dict[str, str] = field(default_factory=dict)
    coming: list[str] = field(default_factory=list)


def roll(resource_ids: Collection[int], version: str, actor: str) -> Switched:
    """Let machines get this version from now on: roll back, or forward again.

    version: "" for the one before the current. An image of a boot source is pinned to
    an older version, and unpinned by the newest one. Raises NotFound, Conflict.
    """
    return _switch(resource_ids, version, actor, is_pin=False)


def pin(resource_ids: Collection[int], version: str, actor: str) -> Switched:
    """Keep machines on this version, "" for the current one, whatever imports find.

    One that isn't stored and that a source offers is fetched by the next import; until then
    machines stay on the version that they have. Raises NotFound, Conflict.
    """
    return _switch(resource_ids, version, actor, is_pin=True)


def unpin(resource_ids: Collection[int], actor: str) -> None:
    """Let imports update the image again. Raises NotFound."""
    for resource in versions.held(resource_ids):
        if resource.pinned_at is not None:
            resource.pinned_at, resource.pinned_version = None, ""
            events.record("image.unpinned", actor=actor, subject=_name(resource))
    db.session.commit()


def lock(resource_ids: Collection[int], version: str, actor: str) -> None:
    """Let nothing remove the image, or this version of it. Raises NotFound."""
    _set_lock(resource_ids, version, actor, is_on=True)


def unlock(resource_ids: Collection[int], version: str, actor: str) -> None:
    """Lift the lock of the image, or of this version. Raises NotFound."""
    _set_lock(resource_ids, version, actor, is_on=False)


def keep(
    resource_ids: Collection[int], keep_versions: int | None, keep_days: int | None, actor: str
) -> None:
    """Say how many versions stay, and for how many days; None: as the settings have it.

    Raises NotFound. What's surplus goes at the next clean-up.
    """
    for resource in versions.held(resource_ids):
        resource.keep_versions, resource.keep_days = keep_versions, keep_days
        events.record(
            "image.keeping_changed",
            actor=actor,
            subject=_name(resource),
            versions=keep_versions,
            days=keep_days,
        )
    db.session.commit()


# -- pieces


def _switch(resource_ids: Collection[int], version: str, actor: str, *, is_pin: bool) -> Switched:
    resources = versions.held(resource_ids)
    if is_pin and resources[0].rtype == ResourceType.UPLOADED:
        raise Conflict(
            "An uploaded image can't be pinned: no import changes it.",
            where=resources[0].name,
            next_step="Lock a version to keep it.",
        )
    kept = versions.of_several([resource.id for resource in resources])
    wanted = version or _default(resources, kept, is_pin=is_pin)
    coming = versions.offered(resources).get(wanted, set()) if is_pin else set()
    if wanted:
        picked = versions.chosen(resources, kept, wanted, coming)
    else:  # each kernel stays where it is
        current = {resource.current_set_id for resource in resources}
        picked = {id: one for id, sets in kept.items() for one in sets if one.id in current}
    _demand_whole(picked.values(), resources[0].name)
    done = Switched(wanted or next(iter(picked.values())).version)
    for resource in resources:
        sets = kept.get(resource.id, [])
        before = next((s.version for s in sets if s.id == resource.current_set_id), "")
        if resource.id not in picked and resource.id in coming:
            _await(resource, wanted, actor)
            done.coming.append(resource.architecture)
            done.is_pinned = True
        elif resource.id not in picked:
            done.stayed[resource.architecture] = before
        else:
            done.before[resource.architecture] = before
            is_newest = picked[resource.id].id == sets[0].id
            _apply(resource, picked[resource.id], before, actor, is_pin, is_newest)
            done.is_pinned = done.is_pinned or resource.pinned_at is not None
    publishing.bump()
    db.session.commit()
    return done


def _default(
    resources: Sequence[BootResource], kept: dict[int, list[ResourceSet]], *, is_pin: bool
) -> str:
    """The version meant by none: "" for the current one of each, else the one before it."""
    if is_pin:
        return ""
    for resource in resources:
        ids = [one.id for one in kept.get(resource.id, ())]
        if resource.current_set_id in ids[:-1]:
            return kept[resource.id][ids.index(resource.current_set_id) + 1].version
    raise Conflict(
        "No older version is stored.",
        where=resources[0].name,
        next_step="Keep more versions, so that the next update can be rolled back.",
    )


def _demand_whole(picked: Collection[ResourceSet], name: str) -> None:
    for one in picked:
        bad = [file.filename for file in one.files if file.blob.state != BlobState.READY]
        if bad:
            raise Conflict(
                "This version has damaged files, so machines can't boot it.",
                where=f"{name} {one.version}: {', '.join(bad)}",
                next_step="Start an import, which replaces what a source still offers.",
            )


def _await(resource: BootResource, version: str, actor: str) -> None:
    """Have the next import fetch this version; no other replaces the current one until then."""
    resource.pinned_at, resource.pinned_version = resource.pinned_at or utcnow(), version
    events.record("image.pinned", actor=actor, subject=_name(resource), version=version)


def _apply(
    resource: BootResource,
    one: ResourceSet,
    before: str,
    actor: str,
    is_pin: bool,
    is_newest: bool,
) -> None:
    if resource.current_set_id != one.id:
        was_newer = before and keeping.order(before, 0) > keeping.order(one.version, 0)
        resource.current_set_id = one.id
        events.record(
            "image.rolled_back" if was_newer else "image.rolled_forward",
            actor=actor,
            subject=_name(resource),
            version=one.version,
            before=before,
        )
    resource.pinned_version = ""
    is_pinned = is_pin or (resource.rtype == ResourceType.SYNCED and not is_newest)
    if is_pinned and resource.pinned_at is None:
        resource.pinned_at = utcnow()
        events.record("image.pinned", actor=actor, subject=_name(resource), version=one.version)
    elif not is_pinned and resource.pinned_at is not None:
        resource.pinned_at = None
        events.record("image.unpinned", actor=actor, subject=_name(resource))


def _set_lock(resource_ids: Collection[int], version: str, actor: str, *, is_on: bool) -> None:
    resources = versions.held(resource_ids)
    rows: dict[int, BootResource | ResourceSet]
    rows = {resource.id: resource for resource in resources}
    if version:
        kept = versions.of_several([resource.id for resource in resources])
        rows = {**versions.chosen(resources, kept, version)}
    for resource in resources:
        row = rows.get(resource.id)
        if row is not None and (row.locked_at is not None) != is_on:
            row.locked_at = utcnow() if is_on else None
            details = {"version": version} if version else {}
            kind = "image.locked" if is_on else "image.unlocked"
            events.record(kind, actor=actor, subject=_name(resource), **details)
    db.session.commit()


def _name(resource: BootResource) -> str:
    return f"{resource.name} {resource.architecture}"
