# SPDX-License-Identifier: Apache-2.0
"""Change what machines get: one transaction for each image, so they see old or new, never a mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, select, update
from sqlalchemy.orm import selectinload

from webapp import publication
from webapp.errors import Problem
from webapp.extensions import db, settings
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    BootSource,
    Publication,
    ResourceFile,
    ResourceSet,
    ResourceType,
    utcnow,
)
from webapp.services.images import expiring
from webapp.services.images.keys import Key, PlannedSet
from webapp.services.system import events, statements
from webapp.streams.mapping import Offer


class BlobsVanished(Problem):
    """Files that were complete a moment ago are gone; the next run fetches them."""

    code = "blob-vanished"

    def __init__(self, key: Key) -> None:
        super().__init__(
            "Some files of this image disappeared from the store before it was published.",
            where=" ".join(key),
            next_step="Nothing to do. The next import downloads them again.",
        )


@dataclass(frozen=True)
class Origin:
    """The source of a set, as it was when the run read it."""

    id: int
    updated_at: datetime
    is_unsigned: bool
    signer_fingerprint: str


def bump() -> None:
    """Raise the publication's serial; racks read the names again. The caller commits."""
    if not publication.raise_serial(db.session.connection()):
        db.session.add(Publication(id=1, serial=1))


def is_unchanged(origin: Origin) -> bool:
    """Whether a person changed or removed the source since the run read it."""
    stamp = db.session.scalar(
        select(BootSource.updated_at).where(BootSource.id == origin.id).with_for_update(read=True)
    )
    return stamp == origin.updated_at


def publish(planned: PlannedSet, origin: Origin) -> tuple[bool, int]:
    """Make a version the current one; the caller commits.

    Returns whether it was not current before, and how many versions it retires. An image
    that was pinned since the plan was made stays as it is, unless it's to be pinned to this.

    Raises BlobsVanished unless every one of its blobs is ready; then roll back.
    """
    blob_ids = _locked_blobs(planned)
    resource = _resource(planned)
    known = _known_set(resource, planned.offer)
    is_same = known is not None and _files_of(known) == _files(planned.offer, blob_ids)
    is_new = known is None or not is_same or resource.current_set_id != known.id
    if resource.current_set_id is None:
        revive(resource)
        resource.pinned_at = None  # of what was in the bin; machines get what's selected
        resource.pinned_version = ""
    elif resource.pinned_version == planned.offer.version:
        resource.pinned_version = ""  # it's pinned to what is current from now on
    elif is_new and resource.pinned_at is not None:
        return False, 0
    _describe(resource, planned)
    chosen = known if known and is_same else _new_set(resource, planned.offer, blob_ids, origin)
    chosen.retired_at = None
    resource.current_set_id = chosen.id
    db.session.flush()
    retired = expiring.retire_surplus([resource.id])
    bump()
    events.record(
        "image.published" if is_new else "image.repaired",
        actor="worker",
        subject=" ".join(planned.key),
        version=planned.offer.version,
        why=planned.why,
    )
    return is_new, retired


def retire(resources: Sequence[tuple[int, Key, str]], *, actor: str) -> int:
    """Take images (id, name, why) away from machines at once, and put them into the bin.

    Without a bin (the setting is 0), their bytes stay for the grace time alone.

    Returns how many versions that were. The caller commits, and has seen to it that none
    of them is locked.
    """
    ids = [resource_id for resource_id, _, _ in resources]
    now = utcnow()
    has_bin = settings().bin_hours > 0
    gone: dict[Any, Any] = {"current_set_id": None}
    gone |= (
        {
            "binned_at": now,
            "binned_set_id": BootResource.current_set_id,
            "binned_why": case({id: why for id, _, why in resources}, value=BootResource.id),
            "binned_by": actor,
        }
        if has_bin
        else {"pinned_at": None, "pinned_version": ""}
    )
    served = (BootResource.id.in_(ids), BootResource.current_set_id.is_not(None))
    retired = 0
    if ids:
        # In the order in which clean-up locks them.
        rows = select(BootResource.id).where(BootResource.id.in_(ids)).order_by(BootResource.id)
        db.session.execute(rows.with_for_update())
        statements.execute(update(BootResource).where(*served).values(gone))
        retired = _retire_sets(ids, now, is_binned=has_bin)
    for _, key, why in resources:
        events.record("image.removed", actor=actor, subject=" ".join(key), why=why)
    bump()
    return retired


def revive(resource: BootResource) -> None:
    """Take an image's versions out of the bin; which one machines get is the caller's business."""
    for one in resource.sets:
        if one.is_binned:
            one.is_binned, one.retired_at = False, None
    resource.binned_at = resource.binned_set_id = None
    resource.binned_why = resource.binned_by = ""


def mark_gone(resource_ids: Sequence[int]) -> None:
    """Record since when sources no longer offer images. The caller commits."""
    statements.execute(
        update(BootResource)
        .where(BootResource.id.in_(resource_ids), BootResource.gone_since.is_(None))
        .values(gone_since=utcnow())
    )
    for key in db.session.execute(
        select(BootResource.name, BootResource.architecture).where(
            BootResource.id.in_(resource_ids)
        )
    ):
        events.record("image.gone", actor="worker", subject=" ".join(key))


def _locked_blobs(planned: PlannedSet) -> dict[str, int]:
    """The ids of the set's blobs by digest, which clean-up cannot take away until commit."""
    locked = db.session.execute(
        select(Blob.sha256, Blob.id)
        .where(Blob.sha256.in_(planned.digests), Blob.state == BlobState.READY)
        .order_by(Blob.sha256)
        .with_for_update()
    )
    found = {row.sha256: row.id for row in locked}
    if len(found) < len(planned.digests):
        raise BlobsVanished(planned.key)
    return found


def _resource(planned: PlannedSet) -> BootResource:
    key = planned.key
    found = db.session.scalar(
        select(BootResource)
        .where(BootResource.name == key.name, BootResource.architecture == key.architecture)
        .options(selectinload(BootResource.sets).selectinload(ResourceSet.files))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is not None:
        return found
    offer = planned.offer
    made = BootResource(
        rtype=ResourceType.SYNCED,
        name=key.name,
        architecture=key.architecture,
        os=offer.os,
        release=offer.release,
        arch=offer.arch,
        subarch=offer.subarch,
    )
    db.session.add(made)
    return made


def _describe(resource: BootResource, planned: PlannedSet) -> None:
    offer = planned.offer
    resource.source_id = planned.source_id
    resource.kflavor = offer.kflavor
    resource.title = offer.title
    resource.product = offer.product
    resource.stream_fields = offer.describing_fields()
    resource.bootloader_type = offer.bootloader_type
    resource.is_rolling = offer.is_rolling
    resource.subarches = list(offer.subarches)
    resource.answers_to = list(offer.answers_to)
    resource.gone_since = None
    db.session.flush()


def _known_set(resource: BootResource, offer: Offer) -> ResourceSet | None:
    wanted = (offer.version, offer.label)
    return next((s for s in resource.sets if (s.version, s.label) == wanted), None)


def _files(offer: Offer, blob_ids: dict[str, int]) -> dict[str, int]:
    return {item.filename: blob_ids[item.sha256] for item in offer.items}


def _files_of(known: ResourceSet) -> dict[str, int]:
    return {file.filename: file.blob_id for file in known.files}


def _new_set(
    resource: BootResource, offer: Offer, blob_ids: dict[str, int], origin: Origin
) -> ResourceSet:
    """A complete set of this version."""
    other = _known_set(resource, offer)
    if other is not None:
        # Upstream published other files under the same version: the old ones step
        # aside, whole, until their grace is over.
        other.version = f"{other.version}~{other.id}"
        other.retired_at = utcnow() if other.locked_at is None else None
        db.session.flush()
    made = ResourceSet(
        resource_id=resource.id,
        version=offer.version,
        label=offer.label,
        is_unsigned=origin.is_unsigned,
        signer_fingerprint=origin.signer_fingerprint,
        completed_at=utcnow(),
        files=[
            ResourceFile(
                filename=item.filename,
                ftype=item.ftype,
                blob_id=blob_ids[item.sha256],
                extra=dict(item.extra),
            )
            for item in offer.items
        ],
    )
    db.session.add(made)
    db.session.flush()
    return made


def _retire_sets(resource_ids: Sequence[int], now: datetime, *, is_binned: bool) -> int:
    return statements.count(
        update(ResourceSet)
        .where(
            ResourceSet.resource_id.in_(resource_ids),
            ResourceSet.completed_at.is_not(None),
            ResourceSet.retired_at.is_(None),
        )
        .values(retired_at=now, is_binned=is_binned)
    )
