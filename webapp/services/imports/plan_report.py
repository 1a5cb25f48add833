# SPDX-License-Identifier: Apache-2.0
"""A plan as a value that people read, approve and keep: what happens, and why. Pure.

The same for the page, the command line, the API and a run's history.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from webapp.errors import Problem
from webapp.services.images.keys import Key, PlannedSet, key_of
from webapp.services.imports.plans import (
    ImportPlan,
    Inventory,
    SourceState,
    StoredResource,
    Untouched,
)
from webapp.streams.filters import is_wanted, why
from webapp.streams.mapping import Offer

ADD, REPLACE, REPAIR = "add", "replace", "repair"
MAX_CHANGES = 20


@dataclass(frozen=True)
class Action:
    """A version that machines will get. before: the one it replaces, "" for a new image.

    kind: add, replace, or repair when the version stays the same. bytes_to_fetch: those that
    aren't here; files: names its content.
    """

    kind: str
    name: str
    architecture: str
    version: str
    label: str
    before: str
    source_id: int
    source: str
    why: str
    bytes: int
    bytes_to_fetch: int
    files: str
    is_loader: bool = False


@dataclass(frozen=True)
class Reason:
    """An image that goes, stays or isn't wanted, and why. source: "" when it has none.

    due: the day on which a version is old enough to be imported, "" where none waits.
    """

    name: str
    architecture: str
    version: str
    why: str
    source: str = ""
    due: str = ""


@dataclass(frozen=True)
class PlanReport:
    """What a run does. Sizes in bytes; free: None where the store can't tell.

    retire: images that go to the bin. wait: those that only go once this plan is
    approved. later: wanted images without a version that is old enough. out: what sources
    offer and no run fetches. peak: use of the disk at most;
    final: once the bin has let go of what it got.
    """

    actions: tuple[Action, ...]
    retire: tuple[Reason, ...]
    wait: tuple[Reason, ...]
    keep: tuple[Reason, ...]
    out: tuple[Reason, ...]
    refuse: tuple[dict[str, str], ...]
    bytes_to_fetch: int
    bytes_held: int
    used: int
    peak: int
    final: int
    free: int | None
    later: tuple[Reason, ...] = ()

    @property
    def digest(self) -> str:
        """Names what will happen, so that a person starts the plan that they saw."""
        doings = [_does(one) for one in self.actions]
        removals = [[r.name, r.architecture] for r in (*self.retire, *self.wait)]
        text = json.dumps([sorted(doings), sorted(removals)])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_empty(self) -> bool:
        """Whether nothing will happen, whatever is approved."""
        return not (self.actions or self.retire or self.wait)

    @property
    def lacks(self) -> int:
        """Bytes of room that are missing, 0 when it fits."""
        return max(0, self.bytes_to_fetch - self.free) if self.free is not None else 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what isn't wanted is left out, since a catalogue holds thousands."""
        found = asdict(self) | {"digest": self.digest}
        del found["out"]
        return found


def report(
    plan: ImportPlan,
    sources: Iterable[SourceState],
    inventory: Inventory,
    free: int | None,
    left_out: Mapping[int, Sequence[Mapping[str, str]]],
) -> PlanReport:
    """Tell a plan. left_out: by source, the products that its stream's gates refused."""
    sources = list(sources)
    urls = {source.id: source.url for source in sources}
    stored = {resource.key: resource for resource in inventory.resources}
    missing = {blob.sha256: blob.size - blob.received for blob in plan.to_fetch}
    sizes = {blob.sha256: blob.size for blob in plan.blobs}
    used = sum(b.size if b.is_ready else b.received for b in inventory.blobs.values())
    to_fetch = plan.bytes_needed
    return PlanReport(
        actions=tuple(_action(one, stored, urls, missing) for one in plan.sets),
        retire=tuple(_reason(one.key, one.why, stored) for one in plan.retire),
        wait=tuple(_reason(one.key, one.why, stored) for one in plan.waiting),
        keep=tuple(_kept(one, stored) for one in plan.untouched if not _is_later(one)),
        later=tuple(_kept(one, stored) for one in plan.untouched if _is_later(one)),
        out=tuple(_out(sources, stored, left_out)),
        refuse=tuple(one.problem.as_dict() for one in plan.refusals),
        bytes_to_fetch=to_fetch,
        bytes_held=sum(sizes.values()) - to_fetch,
        used=used,
        peak=used + to_fetch,
        final=used + to_fetch - _freed(plan, inventory),
        free=free,
    )


def beyond(approved: Mapping[str, Any], now: PlanReport) -> list[str]:
    """What a run would do now that the plan it was started with doesn't have, in words.

    Repairs of what machines have already are always allowed.
    """
    doings = [_does(Action(**one)) for one in approved["actions"]]
    removals = {
        (one["name"], one["architecture"]) for one in (*approved["retire"], *approved["wait"])
    }
    changes = [
        f"{one.name} {one.architecture} would become {one.version} of {one.source}"
        for one in now.actions
        if one.kind != REPAIR and _does(one) not in doings
    ]
    changes += [
        f"{one.name} {one.architecture} would be removed: {one.why}"
        for one in now.retire
        if (one.name, one.architecture) not in removals
    ]
    return changes[:MAX_CHANGES]


def confirmed(approved: Mapping[str, Any] | None) -> frozenset[Key]:
    """The images whose removal a person has confirmed with the plan."""
    removals = (*approved["retire"], *approved["wait"]) if approved else ()
    return frozenset(Key(one["name"], one["architecture"]) for one in removals)


def changed(changes: Sequence[str]) -> Problem:
    """Why a run stopped before its first byte."""
    return Problem(
        "The sources or images changed after this plan was approved, so nothing was changed.",
        code="plan-changed",
        where="import",
        expected="the plan as it was approved",
        got="; ".join(changes[:3]) + ("; and more" if len(changes) > 3 else ""),
        next_step="Review what will happen now, and start that plan.",
    )


# -- pieces


def _does(one: Action) -> list[str]:
    return [one.name, one.architecture, one.version, one.label, one.files]


def _action(
    planned: PlannedSet,
    stored: Mapping[Key, StoredResource],
    urls: Mapping[int, str],
    missing: Mapping[str, int],
) -> Action:
    offer, resource = planned.offer, stored.get(planned.key)
    files = {item.filename: item.sha256 for item in offer.items}
    before = resource.current.version if resource else ""
    is_same = resource is not None and (before, dict(resource.current.files)) == (
        offer.version,
        files,
    )
    sizes = {item.sha256: item.size for item in offer.items}
    return Action(
        kind=REPAIR if is_same else REPLACE if resource else ADD,
        name=planned.key.name,
        architecture=planned.key.architecture,
        version=offer.version,
        label=offer.label,
        before=before,
        source_id=planned.source_id,
        source=urls.get(planned.source_id, ""),
        why=planned.why,
        bytes=sum(sizes.values()),
        bytes_to_fetch=sum(missing.get(digest, 0) for digest in sizes),
        files=hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest(),
        is_loader=bool(offer.bootloader_type),
    )


def _reason(key: Key, why: str, stored: Mapping[Key, StoredResource]) -> Reason:
    resource = stored.get(key)
    return Reason(key.name, key.architecture, resource.current.version if resource else "", why)


def _kept(one: Untouched, stored: Mapping[Key, StoredResource]) -> Reason:
    due = str(one.hold.until) if one.hold else ""
    return replace(_reason(one.key, one.why, stored), due=due)


def _is_later(one: Untouched) -> bool:
    return one.hold is not None and one.resource_id is None


def _out(
    sources: Sequence[SourceState],
    stored: Mapping[Key, StoredResource],
    left_out: Mapping[int, Sequence[Mapping[str, str]]],
) -> Iterable[Reason]:
    """Images of catalogues that no run fetches: not wanted, of a source that's off, or refused."""
    for source in sources:
        newest: dict[Key, Offer] = {}
        for offer in source.offers:
            newest[key_of(offer)] = offer
        for key, offer in newest.items():
            if key in stored or (source.is_enabled and is_wanted(offer, source.wanted)):
                continue
            reason = why(offer, source.wanted).reason
            reason = reason if source.is_enabled else "its source is disabled"
            yield Reason(key.name, key.architecture, offer.version, reason, source.url)
        for one in left_out.get(source.id, ()):
            words = f"left out of the catalogue: {one.get('reason', '')}"
            yield Reason(one.get("product", ""), "", one.get("version", ""), words, source.url)


def _freed(plan: ImportPlan, inventory: Inventory) -> int:
    """Bytes that only the images in question name."""
    going = {one.resource_id for one in plan.retire}
    names: tuple[set[str], set[str]] = (set(), {d for one in plan.sets for d in one.digests})
    for resource in inventory.resources:
        for one in (resource.current, *resource.kept):
            names[resource.id not in going].update(one.files.values())
    only = names[0] - names[1]
    return sum(inventory.blobs[d].size for d in only if d in inventory.blobs)
