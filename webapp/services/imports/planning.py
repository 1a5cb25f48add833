# SPDX-License-Identifier: Apache-2.0
"""Decide what an import does: wanted x stored, and why. Pure: no database, no clock.

- The source with the higher priority wins an image, then the older source; within a
  source the newest version (rule: source-order). Boot loaders come from every source
  (rule: loaders-come-along).
- A selected image stays when its source stops offering it; only an extra kernel of a
  release of which another selected one is still offered is removed, once the others are
  stored (rules: gone-upstream-stays, keep-last-good).
- A bound image comes from its source alone, and stays while that can't provide it
  (rule: bound-images).
- A pinned image stays at its version. A locked one, or one with a locked version, is
  never removed.
- An image that no selection asks for is removed, but never because a source couldn't
  be read or turned empty, and never if nothing would be left. More than half of what is
  stored only goes when an administrator deselected it, or confirmed it
  (rule: never-empty-the-store).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from webapp.errors import Problem
from webapp.models import Priority
from webapp.numbers import counted
from webapp.services.images.keys import Image, Key, PlannedSet, key_of
from webapp.services.imports import bound, claims, guarding, placing
from webapp.services.imports.claims import Claim
from webapp.services.imports.placing import is_ready
from webapp.services.imports.plans import (
    ImportPlan,
    Inventory,
    Refusal,
    Retirement,
    SourceState,
    StoredBlob,
    StoredResource,
    Untouched,
)
from webapp.services.sources.soaking import Hold
from webapp.streams.filters import is_wanted, why
from webapp.streams.mapping import Offer

NOT_SELECTED = "no longer selected"
DROPPED_BY_RULE = "a rule no longer selects it"
_PLACES = {priority: place for place, priority in enumerate(Priority)}


def plan(
    sources: Iterable[SourceState],
    inventory: Inventory,
    confirmed: Collection[Key] = (),
    held: Collection[Key] = (),
    only: Collection[Image] | None = None,
) -> ImportPlan:
    """Decide for every image that is wanted or stored.

    confirmed: images that a person lets go, however many they are. held: those that waited
    for a person the last time. only: the images to add or replace, and nothing else; None
    for all.
    """
    sources = sorted(sources, key=lambda source: (-source.priority, source.id))
    enabled = [source for source in sources if source.is_enabled]
    stored = {resource.key: resource for resource in inventory.resources}
    sizes: dict[str, int] = {}
    sets: list[PlannedSet] = []
    untouched: list[Untouched] = []
    refusals = [
        guarding.empty_stream(source)
        for source in enabled
        if guarding.is_suspicious(source, inventory)
    ]
    wanted = {k: c for k, c in claims.of(enabled).items() if only is None or k.image in only}
    for key in sorted(wanted, key=lambda key: _order(wanted[key][0].offer, inventory)):
        resource = stored.get(key)
        if resource is not None and (found := claims.pinned(enabled, resource)):
            wanted[key] = found
        binding = bound.binding_of(wanted[key][0].offer, inventory.bindings)
        allowed = [one for one in wanted[key] if bound.is_allowed(one.source, binding)]
        if binding is not None and not allowed:
            untouched.append(_left_alone(key, resource, bound.lacking(binding, sources)))
            continue
        claim = claims.winner(allowed, resource)
        if claim is None:
            reason = bound.trouble(binding, sources) if binding else "its source can't be read"
            untouched.append(_left_alone(key, resource, reason))
            continue
        claim = claims.soaked(claim, resource)
        if resource is not None and _is_held(claim.offer, resource):
            untouched.append(_pinned(claim.offer, resource))
            continue
        if claims.must_wait(claim, resource):
            untouched.append(_waiting(claim, resource))
            continue
        problem = _conflict(claim, resource, inventory.blobs, sizes)
        if problem is not None:
            refusals.append(Refusal(problem, claim.source.id, key))
            continue
        sizes |= {item.sha256: item.size for item in claim.offer.items}
        reason = _reason(claim, resource, inventory.blobs)
        later = f"; {claim.hold.words}" if claim.hold else ""
        if reason:
            reason = bound.noted(reason, binding, claim.source)
            sets.append(PlannedSet(claim.source.id, claim.offer, reason + later))
        else:
            reason = bound.noted(f"up to date with {claim.source.url}", binding, claim.source)
            one = _left_alone(key, resource, reason + later)
            untouched.append(replace(one, hold=claim.hold))
    judged = [
        _judge_held(r, _judge(r, sources, sets, inventory.bindings))
        for r in inventory.resources
        if r.key not in wanted and only is None
    ]
    retire = [verdict for verdict in judged if isinstance(verdict, Retirement)]
    untouched += [verdict for verdict in judged if isinstance(verdict, Untouched)]
    is_emptied = any(source.is_judged for source in enabled) and not any(
        source.wanted for source in sources
    )
    if retire and not is_emptied and _leaves_nothing(retire, sets, inventory):
        refusals.append(Refusal(nothing_left(len(retire))))
        retire = []
    waiting = guarding.waiting(retire, inventory, confirmed, held)
    if waiting:
        refusals.append(Refusal(guarding.unconfirmed(waiting)))
        retire = [one for one in retire if one not in waiting]
    blobs = placing.blobs_of(sets, enabled, inventory.blobs)
    coming = {blob.sha256 for blob in blobs}
    damaged = [
        one
        for one in inventory.damaged
        if one.sha256 not in coming and (only is None or one.key.image in only)
    ]
    healed, orphans = placing.healing(damaged, enabled)
    return ImportPlan(
        sets=tuple(sets),
        blobs=blobs + healed,
        orphans=orphans,
        retire=tuple(retire),
        waiting=waiting,
        untouched=tuple(untouched),
        refusals=tuple(refusals),
        newly_gone=_newly_gone(untouched, inventory),
        wanted=len(wanted),
        is_emptied=is_emptied,
    )


def nothing_left(count: int) -> Problem:
    """The guard: a run that only removes everything is probably a mistake.

    Deselecting every image isn't: an administrator did that (rule: never-empty-the-store).
    """
    return Problem(
        f"Removing unselected images would leave none, so {counted(count, 'image')} stay"
        f"{'s' if count == 1 else ''}.",
        code="import-guard",
        expected="at least one selected and stored image",
        got="none",
        next_step="Select the images you want, or delete the stored ones on the images page.",
    )


# -- pieces


def _order(offer: Offer, inventory: Inventory) -> tuple[object, ...]:
    """Boot loaders first: they are small, and nothing boots without them. Then by priority."""
    place = _PLACES[inventory.priorities.get(key_of(offer).image, Priority.NORMAL)]
    name = (offer.os, offer.release, offer.arch, offer.subarch)
    return not offer.bootloader_type, place, *name


def _waiting(claim: Claim, resource: StoredResource | None) -> Untouched:
    hold, stays = cast(Hold, claim.hold), ""
    if resource is not None:
        stays = f"{resource.current.version} stays: "
    return Untouched(
        key_of(claim.offer), stays + hold.words, resource.id if resource else None, hold=hold
    )


def _conflict(
    claim: Claim,
    resource: StoredResource | None,
    blobs: Mapping[str, StoredBlob],
    sizes: Mapping[str, int],
) -> Problem | None:
    if resource is not None and resource.is_uploaded:
        return Problem(
            "An uploaded image has the same name as one from a boot source.",
            code="name-taken",
            where=f"{claim.offer.product} of {claim.source.url}",
            expected=f"no uploaded image called {' '.join(resource.key)}",
            got="an uploaded image, which is left alone",
            next_step="Rename or delete the uploaded image, or change the selection.",
        )
    for item in claim.offer.items:
        known = blobs.get(item.sha256)
        size = known.size if known and known.is_ready else sizes.get(item.sha256, item.size)
        if size != item.size:
            return Problem(
                "The stream gives a wrong size for a known file.",
                code="size-conflict",
                where=f"{item.path} of {claim.source.url}",
                expected=f"{size} bytes for sha256 {item.sha256}",
                got=f"{item.size} bytes",
                next_step="Contact the publisher of the stream. The stored version is kept.",
            )
    return None


def _reason(claim: Claim, resource: StoredResource | None, blobs: Mapping[str, StoredBlob]) -> str:
    """Why there is something to do for an image, "" when there is nothing."""
    offer = claim.offer
    if resource is None:
        return why(offer, claim.source.wanted).reason
    current = resource.current
    if (current.version, current.label) != (offer.version, offer.label):
        return f"version {current.version} ({current.label}) is replaced by {offer.version}"
    if dict(current.files) != {item.filename: item.sha256 for item in offer.items}:
        return f"other files were published under version {offer.version}"
    if not all(is_ready(blobs, item.sha256) for item in offer.items):
        return "stored bytes are missing or damaged"
    if resource.gone_since is not None:
        return "the source offers it again"
    if _description(resource, resource.source_id) != _description(offer, claim.source.id):
        return "its description changed"
    return ""


def _is_held(offer: Offer, resource: StoredResource) -> bool:
    """Whether a pin keeps an image from this version; the same one may be repaired."""
    if offer.version == resource.pinned_version:
        return False
    files = {item.filename: item.sha256 for item in offer.items}
    current = resource.current
    is_same = (current.version, current.label, dict(current.files)) == (
        offer.version,
        offer.label,
        files,
    )
    return resource.is_pinned and not is_same


def _pinned(offer: Offer, resource: StoredResource) -> Untouched:
    reason = f"pinned to {resource.current.version}; {offer.version} is available"
    if resource.pinned_version:
        reason = f"to be pinned to {resource.pinned_version}, which no source offers now"
    return Untouched(resource.key, reason, resource.id, update=offer.version)


def _description(image: StoredResource | Offer, source_id: int | None) -> tuple[object, ...]:
    return (
        source_id,
        image.kflavor,
        image.title,
        image.bootloader_type,
        image.is_rolling,
        image.subarches,
        image.answers_to,
    )


# -- what happens to stored images that no source offers for a selection


def _judge(
    resource: StoredResource,
    sources: Sequence[SourceState],
    sets: Sequence[PlannedSet],
    bindings: bound.Bindings,
) -> Retirement | Untouched:
    if resource.is_uploaded:
        return _left_alone(resource.key, resource, "uploaded")
    binding = bound.binding_of(resource, bindings)
    if binding is not None and (trouble := bound.trouble(binding, sources)):
        return _left_alone(resource.key, resource, trouble)
    own = next((source for source in sources if source.id == resource.source_id), None)
    if own is not None and not own.is_enabled:
        return _left_alone(resource.key, resource, "its source is disabled")
    if own is not None and not own.is_judged:
        return _left_alone(resource.key, resource, "its source can't be read, or is empty")
    wanting = _wanting(resource, own, sources)
    if not wanting:
        if own is not None and (resource.os, resource.release, resource.arch) in own.dropped:
            return Retirement(resource.id, resource.key, DROPPED_BY_RULE)
        # Nobody deselected what lost its source; and a loader goes with its source alone.
        return Retirement(resource.id, resource.key, NOT_SELECTED, is_own=own is not None)
    if not all(source.is_judged for source in wanting):
        return _left_alone(resource.key, resource, "a selected source can't be read")
    line = (resource.os, resource.release, resource.arch)
    if any(
        (o.os, o.release, o.arch) == line and is_wanted(o, source.wanted)
        for source in wanting
        if bound.is_allowed(source, binding)
        for o in source.offers
    ):
        others = (s for s in sets if (s.offer.os, s.offer.release, s.offer.arch) == line)
        return Retirement(
            resource.id,
            resource.key,
            f"the source dropped {resource.subarch} and still offers {resource.key.name}",
            frozenset(planned.key for planned in others),
        )
    gone = "no longer offered by its source; kept while it is selected"
    if binding is not None:
        gone = (
            f"bound to {binding.source_name}, which no longer offers it; kept until you unbind it"
        )
    return Untouched(resource.key, gone, resource.id, is_gone=True)


def _judge_held(
    resource: StoredResource, verdict: Retirement | Untouched
) -> Retirement | Untouched:
    """What a lock or a pin makes of the verdict on an image.

    A pin holds against what the source drops, not against an administrator who deselects.
    """
    if isinstance(verdict, Untouched):
        return verdict
    if resource.lock:
        return _left_alone(resource.key, resource, f"{verdict.why}; kept: {resource.lock}")
    if resource.is_pinned and verdict.why != NOT_SELECTED:
        pin = f"pinned to {resource.current.version}"
        return _left_alone(resource.key, resource, f"{verdict.why}; {pin}")
    return verdict


def _wanting(
    resource: StoredResource, own: SourceState | None, sources: Sequence[SourceState]
) -> list[SourceState]:
    """The sources whose selections ask for an image.

    No selection names a boot loader: it belongs to the source that it came from.
    """
    if resource.bootloader_type:
        return [own] if own is not None else []
    return [s for s in sources if s.is_enabled and is_wanted(resource, s.wanted)]


def _newly_gone(untouched: Sequence[Untouched], inventory: Inventory) -> tuple[int, ...]:
    known = {resource.id for resource in inventory.resources if resource.gone_since is not None}
    return tuple(
        one.resource_id
        for one in untouched
        if one.is_gone and one.resource_id is not None and one.resource_id not in known
    )


def _left_alone(key: Key, resource: StoredResource | None, reason: str) -> Untouched:
    return Untouched(key, reason, resource.id if resource else None)


def _leaves_nothing(
    retire: Sequence[Retirement], sets: Sequence[PlannedSet], inventory: Inventory
) -> bool:
    synced = [resource for resource in inventory.resources if not resource.is_uploaded]
    return not sets and len(retire) == len(synced)
