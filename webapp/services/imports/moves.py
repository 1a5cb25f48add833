# SPDX-License-Identifier: Apache-2.0
"""What a change of sources does to images: which move, to which version, for how many bytes.

Pure but for the functions at the end, which read what there is. It compares the plans that
the catalogues give before and after, so that the preview is what an import does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from webapp.extensions import store
from webapp.models import BootSource
from webapp.services.images.keys import Key
from webapp.services.imports import inventory, planning, preview
from webapp.services.imports.plans import ImportPlan, Inventory, SourceState
from webapp.services.sources.drafts import SourceDraft
from webapp.services.sources.steps import ARCHES, BINDING, ENABLED, PRIORITY, Binding, Step
from webapp.streams.filters import Wanted
from webapp.streams.mapping import Offer

MOVE, ADD, REMOVE, STAY = "move", "add", "remove", "stay"
_ORDER = (MOVE, ADD, REMOVE, STAY)


@dataclass(frozen=True, slots=True)
class Move:
    """What happens to one image because of a change.

    kind: move (to another source or version), add, remove (to the bin), or stay, for
    another reason than before. ``before`` is what machines get, or the next import brings;
    both are "" where there is nothing. bytes_to_fetch: those of it that aren't stored.
    """

    kind: str
    name: str
    architecture: str
    source_before: str
    version_before: str
    source: str
    version: str
    bytes: int
    bytes_to_fetch: int
    why: str

    @property
    def then(self) -> str:
        """What becomes of it, in a word: its version, or where it goes."""
        if self.kind == REMOVE:
            return "moves to the bin" if self.source_before else "isn't downloaded"
        return "stays" if self.kind == STAY else self.version


@dataclass(frozen=True, slots=True)
class Moves:
    """All that a change does. bytes_to_fetch: bytes that several images share count once."""

    moves: tuple[Move, ...]
    bytes_to_fetch: int

    @property
    def changed(self) -> tuple[Move, ...]:
        """Without the images that stay as they are."""
        return tuple(one for one in self.moves if one.kind != STAY)

    @property
    def summary(self) -> str:
        """How many images, "" for none."""
        counts = Counter(one.kind for one in self.moves)
        stay = "kept as it is" if counts[STAY] == 1 else "kept as they are"
        words = ((MOVE, "moved"), (ADD, "added"), (REMOVE, "removed"), (STAY, stay))
        return ", ".join(f"{counts[kind]} {word}" for kind, word in words if counts[kind])


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a plan does with an image. source_id: None without one; offer: what it fetches."""

    kind: str
    source_id: int | None
    version: str
    why: str
    offer: Offer | None = None


_UNWANTED = _Outcome(REMOVE, None, "", "no enabled source offers it as selected")
_KEPT = _Outcome(STAY, None, "", "kept, since no image would be left")


def compare(
    before: Sequence[SourceState],
    after: Sequence[SourceState],
    known: Inventory,
    known_after: Inventory,
) -> Moves:
    """The moves between two states of the sources and bindings; what is stored is the same."""
    names = {source.id: source.title for source in (*before, *after)}
    plan = planning.plan(after, known_after)
    old, new = _outcomes(planning.plan(before, known), known), _outcomes(plan, known_after)
    missing = {blob.sha256: blob.size - blob.received for blob in plan.to_fetch}
    stored = {resource.key: resource for resource in known.resources}
    found, needed = [], {}
    for key in sorted(old.keys() | new.keys()):
        was, becomes = old.get(key), new.get(key)
        if was == becomes:
            continue
        resource = stored.get(key)
        now: tuple[int | None, str] = (None, "")
        if resource is not None:
            now = (resource.source_id, resource.current.version)
        elif was is not None:
            now = (was.source_id, was.version)
        becomes = becomes or (_KEPT if resource else _UNWANTED)
        if becomes.kind == STAY and not resource and not (was and was.version):
            continue  # it was missing, and still is
        sizes = {i.sha256: i.size for i in becomes.offer.items} if becomes.offer else {}
        fetched = {digest: missing[digest] for digest in sizes if digest in missing}
        needed.update(fetched)
        kind = becomes.kind
        if becomes.offer is not None:
            kind = MOVE if now != (None, "") else ADD
        found.append(
            Move(
                kind=kind,
                name=key.name,
                architecture=key.architecture,
                source_before=names.get(now[0] or 0, ""),
                version_before=now[1],
                source=names.get(becomes.source_id or 0, ""),
                version=becomes.version,
                bytes=sum(sizes.values()),
                bytes_to_fetch=sum(fetched.values()),
                why=becomes.why,
            )
        )
    found.sort(key=lambda one: (_ORDER.index(one.kind), one.name, one.architecture))
    return Moves(tuple(found), sum(needed.values()))


def _outcomes(plan: ImportPlan, known: Inventory) -> dict[Key, _Outcome]:
    stored = {resource.key: resource for resource in known.resources}
    found: dict[Key, _Outcome] = {}
    for one in plan.untouched:
        resource = stored.get(one.key)
        version = resource.current.version if resource else ""
        source_id = resource.source_id if resource else None
        found[one.key] = _Outcome(STAY, source_id, version, one.why)
    for gone in (*plan.retire, *plan.waiting):
        found[gone.key] = _Outcome(REMOVE, None, "", gone.why)
    for planned in plan.sets:
        offer = planned.offer
        found[planned.key] = _Outcome(ADD, planned.source_id, offer.version, planned.why, offer)
    return found


def applied(
    steps: Iterable[Step], sources: Iterable[SourceState], known: Inventory
) -> tuple[list[SourceState], Inventory]:
    """The sources and bindings as steps leave them."""
    states = {source.id: source for source in sources}
    bindings = dict(known.bindings)
    for step in steps:
        if step.kind == BINDING:
            bindings.pop(step.line, None)
            if step.after is not None:
                bindings[step.line] = Binding(**step.after)
            continue
        state = states.get(step.source_id)
        if state is None:
            continue
        if step.kind == PRIORITY:
            state = replace(state, priority=step.after)
        elif step.kind == ENABLED:
            state = replace(state, is_enabled=step.after)
        elif step.kind == ARCHES:
            state = replace(state, wanted=_selected(state, step))
        states[step.source_id] = state
    return list(states.values()), replace(known, bindings=bindings)


def without(source_id: int, known: Inventory) -> Inventory:
    """What is known once a source was removed: nothing of its own any longer."""
    resources = tuple(
        replace(one, source_id=None) if one.source_id == source_id else one
        for one in known.resources
    )
    bindings = {
        line: replace(one, source_id=None) if one.source_id == source_id else one
        for line, one in known.bindings.items()
    }
    return replace(known, resources=resources, bindings=bindings)


def _selected(state: SourceState, step: Step) -> tuple[Wanted, ...]:
    """What is wanted of a source after a step: another selection, beside what rules want."""
    own = Wanted(step.os, step.release)
    others = []
    for one in state.wanted:
        if (one.os, one.release, one.rule) == (step.os, step.release, ""):
            own = one
        else:
            others.append(one)
    return (*others, replace(own, arches=tuple(step.after))) if step.after else tuple(others)


# -- with what there is now


def of_steps(steps: Iterable[Step]) -> Moves:
    """What these steps would do."""
    states, known = _now()
    after, known_after = applied(steps, states, known)
    return compare(states, after, known, known_after)


def of_values(source: BootSource, priority: int, is_enabled: bool) -> Moves:
    """What another priority, or turning a source on or off, would do."""
    return of_steps(
        [
            Step(PRIORITY, source.priority, priority, source.id),
            Step(ENABLED, source.is_enabled, is_enabled, source.id),
        ]
    )


def of_removal(source_id: int) -> Moves:
    """What removing a source would do."""
    states, known = _now()
    after = [state for state in states if state.id != source_id]
    return compare(states, after, known, without(source_id, known))


def of_stream(source: BootSource, draft: SourceDraft, offers: Sequence[Offer]) -> Moves:
    """What a source would do as it's drafted, with the stream that was read for it."""
    states, known = _now()
    priority = source.priority if draft.priority is None else draft.priority
    after = [
        replace(
            state,
            priority=priority,
            is_enabled=draft.is_enabled,
            offers=tuple(offers),
            is_fresh=True,
        )
        if state.id == source.id
        else state
        for state in states
    ]
    return compare(states, after, known, known)


def _now() -> tuple[list[SourceState], Inventory]:
    return preview.states(), inventory.read(store())
