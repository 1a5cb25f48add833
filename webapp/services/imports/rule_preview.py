# SPDX-License-Identifier: Apache-2.0
"""What a rule would select, and what an import would do only because of it; reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from webapp.extensions import store
from webapp.models import SelectionRule
from webapp.services.images.keys import Key
from webapp.services.imports import inventory, planning, preview
from webapp.services.imports.plans import ImportPlan, Inventory, SourceState
from webapp.services.sources import rules, ruling
from webapp.services.sources.rules import Effect
from webapp.services.sources.ruling import Match, Product, Rule, World

_OFFERED = [name for name in Product.__dataclass_fields__ if name != "source_id"]


@dataclass(frozen=True)
class Change:
    """An image that an import would fetch or let go because of a rule. bytes: to download."""

    name: str
    architecture: str
    why: str
    bytes: int = 0


@dataclass(frozen=True)
class RulePreview:
    """A rule that isn't saved yet. matches: what it selects, or stopped selecting.

    adds: images that the next import would fetch for it; drops: those that it would remove;
    bytes_to_fetch: what that adds to the import, each file once. free: None where that's
    unknown.
    """

    matches: tuple[Match, ...]
    adds: tuple[Change, ...]
    drops: tuple[Change, ...]
    bytes_to_fetch: int
    free: int | None

    @property
    def is_too_large(self) -> bool:
        """Whether there's too little room for what it adds."""
        return self.free is not None and self.bytes_to_fetch > self.free


def of_rule(rule: Rule | None, row: SelectionRule | None = None) -> RulePreview:
    """Preview a rule, in place of a saved one if there's a row; None: without that one.

    Raises InvalidFields for a rule that can't be evaluated.
    """
    if rule is not None:
        rules.check(rule)
    saved = [(one.id, rules.rule_of(one), rules.found_of(one)) for one in rules.all_rules()]
    row_id = row.id if row else None
    others = [(one, found) for id, one, found in saved if id != row_id]
    states, known, held = preview.states(), inventory.read(store()), preview.held_back()
    matches: list[Match] = []
    if rule is not None:
        before = rules.found_of(row) if row else []
        matches = ruling.evaluate(rule, _world(states, known), before, is_edited=True)
        others.append((rule, matches))
    now = planning.plan(states, known, held=held)
    after = planning.plan(_ruled(states, rules.effect_of(others)), known, held=held)
    return RulePreview(
        matches=tuple(matches),
        adds=tuple(_adds(now, after)),
        drops=tuple(_drops(now, after)),
        bytes_to_fetch=max(0, after.bytes_needed - now.bytes_needed),
        free=store().free_bytes(),
    )


def _world(states: Sequence[SourceState], known: Inventory) -> World:
    """What the rule is evaluated against, out of what the plans are made of (rules.world)."""
    ordered = sorted(states, key=lambda state: (-state.priority, state.id))
    return World(
        products=[
            Product(state.id, *(getattr(offer, name) for name in _OFFERED))
            for state in ordered
            if state.is_enabled
            for offer in sorted(state.offers, key=lambda one: one.product)
            if not offer.bootloader_type
        ],
        stored={(one.os, one.release, one.arch) for one in known.resources},
        source_ids={state.id for state in states},
        today=rules.today(),
    )


def _ruled(states: Iterable[SourceState], effect: Effect) -> Iterable[SourceState]:
    """The sources with other rules."""
    for state in states:
        people = [one for one in state.wanted if not one.rule]
        yield replace(
            state,
            wanted=(*people, *effect.wanted.get(state.id, ())),
            dropped=effect.dropped.get(state.id, frozenset()),
        )


def _adds(now: ImportPlan, after: ImportPlan) -> Iterable[Change]:
    """Images whose fetching the rule brings about; a file counts for the first that needs it."""
    known = {planned.key for planned in now.sets}
    missing = {blob.sha256: blob.size - blob.received for blob in after.to_fetch}
    for planned in now.sets:
        for digest in planned.digests:
            missing.pop(digest, None)
    for planned in after.sets:
        if planned.key not in known:
            size = sum(missing.pop(digest, 0) for digest in sorted(planned.digests))
            yield Change(*planned.key, planned.why, size)


def _drops(now: ImportPlan, after: ImportPlan) -> Iterable[Change]:
    """Stored images that would go, or wait for a confirmation to go."""
    leaving: set[Key] = {one.key for one in (*now.retire, *now.waiting)}
    for one in (*after.retire, *after.waiting):
        if one.key not in leaving:
            yield Change(*one.key, one.why)
