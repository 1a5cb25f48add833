# SPDX-License-Identifier: Apache-2.0
"""Selection rules as they are saved: changing them, and evaluating them at each refresh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from sqlalchemy import func, select, update

from webapp.errors import Conflict, InvalidFields, NotFound
from webapp.extensions import db
from webapp.models import BootResource, BootSource, BootSourceCache, SelectionRule, utcnow
from webapp.services.sources import commissioned, ruling
from webapp.services.sources.ruling import Kind, Match, Product, Rule, World
from webapp.services.sources.selections import Pick
from webapp.services.system import events
from webapp.streams.filters import Wanted
from webapp.streams.offers import ImageName

MAX_RULES = 100
MAX_SYSTEMS = 200  # to choose from

_PRODUCT = tuple(getattr(BootSourceCache, name) for name in Product.__dataclass_fields__)


@dataclass(frozen=True)
class Effect:
    """What rules ask of imports.

    wanted: by source. dropped: the images of each source that a rule stopped selecting.
    titles: of the rules that select an image; kernels: those that they select of it.
    """

    wanted: Mapping[int, Sequence[Wanted]] = field(default_factory=dict)
    dropped: Mapping[int, frozenset[ImageName]] = field(default_factory=dict)
    titles: Mapping[ImageName, tuple[str, ...]] = field(default_factory=dict)
    kernels: Mapping[Pick, tuple[str, ...]] = field(default_factory=dict)


def all_rules() -> Sequence[SelectionRule]:
    """Every rule, oldest first."""
    return db.session.scalars(select(SelectionRule).order_by(SelectionRule.id)).all()


def get(rule_id: int) -> SelectionRule:
    """The rule, else NotFound."""
    row = db.session.get(SelectionRule, rule_id)
    if row is None:
        raise NotFound("Rule not found.", where=f"rule {rule_id}", next_step="See the rules.")
    return row


def rule_of(row: SelectionRule) -> Rule:
    """A row as the pure rules take it."""
    return Rule(
        kind=Kind(row.kind),
        os=row.os,
        count=row.count,
        pattern=row.pattern,
        arches=tuple(row.arches),
        kernels=tuple(row.kernels),
        source_id=row.source_id,
    )


def found_of(row: SelectionRule) -> list[Match]:
    """What the last evaluation of a rule gave."""
    return [Match.from_dict(one) for one in row.found]


def warning_of(found: Iterable[Match]) -> str:
    """What is wrong with what a rule found, "" if nothing is."""
    if any(one.is_wanted for one in found):
        return ""
    return "It matches nothing that enabled boot sources offer."


def current() -> Effect:
    """What the rules ask for, as they were last evaluated; one query."""
    return effect_of((rule_of(row), found_of(row)) for row in all_rules())


def effect_of(evaluated: Iterable[tuple[Rule, Iterable[Match]]]) -> Effect:
    """The effect of rules with what they select."""
    wanted: dict[int, list[Wanted]] = defaultdict(list)
    dropped: dict[int, set[ImageName]] = defaultdict(set)
    titles: dict[ImageName, list[str]] = defaultdict(list)
    kernels: dict[Pick, set[str]] = defaultdict(set)
    for rule, matches in evaluated:
        for one in matches:
            if not one.is_wanted:
                dropped[one.source_id].add(one.image)
                continue
            arches = (one.arch,)
            wanted[one.source_id].append(
                Wanted(one.os, one.release, arches, one.kernels, rule=rule.title)
            )
            kernels[Pick(*one.key)].update(one.kernels)
            if rule.title not in titles[one.image]:
                titles[one.image].append(rule.title)
    return Effect(
        wanted=wanted,
        dropped={source_id: frozenset(images) for source_id, images in dropped.items()},
        titles={image: tuple(names) for image, names in titles.items()},
        kernels={pick: tuple(sorted(names)) for pick, names in kernels.items()},
    )


def world() -> World:
    """What rules are evaluated against now; three queries."""
    rows = db.session.execute(
        select(*_PRODUCT)
        .join(BootSource, BootSource.id == BootSourceCache.source_id)
        .where(BootSource.is_enabled, BootSourceCache.bootloader_type == "")
        .order_by(BootSource.priority.desc(), BootSource.id, BootSourceCache.product)
    )
    columns = (BootResource.os, BootResource.release, BootResource.arch)
    is_current = BootResource.current_set_id.is_not(None)
    stored = db.session.execute(select(*columns).where(is_current).distinct())
    return World(
        products=[Product(*row) for row in rows],
        stored={(os, release, arch) for os, release, arch in stored},
        source_ids=set(db.session.scalars(select(BootSource.id))),
        today=today(),
    )


def today() -> date:
    """The day by which support ends."""
    return datetime.now(UTC).date()


def systems() -> Sequence[str]:
    """The operating systems that enabled sources offer, at most ``MAX_SYSTEMS``."""
    return db.session.scalars(
        select(BootSourceCache.os)
        .join(BootSource, BootSource.id == BootSourceCache.source_id)
        .where(BootSource.is_enabled, BootSourceCache.bootloader_type == "")
        .distinct()
        .order_by(BootSourceCache.os)
        .limit(MAX_SYSTEMS)
    ).all()


def evaluate() -> None:
    """Evaluate every rule against the catalogue as it is, in the caller's transaction."""
    rows = all_rules()
    if not rows:
        return
    now = world()
    for row in rows:
        _note(row.id, ruling.evaluate(rule_of(row), now, found_of(row)))


def add(rule: Rule, actor: str) -> SelectionRule:
    """Save a rule and evaluate it. Raises InvalidFields, or Conflict for one too many."""
    check(rule)
    if (db.session.scalar(select(func.count(SelectionRule.id))) or 0) >= MAX_RULES:
        raise Conflict(
            f"There are {MAX_RULES} rules already, which is the maximum.",
            next_step="Remove rules that you no longer need.",
        )
    row = SelectionRule()
    _apply(row, rule)
    db.session.add(row)
    db.session.flush()
    _note(row.id, ruling.evaluate(rule, world()))
    events.record("rule.added", actor=actor, subject=rule.title, rule=row.id)
    db.session.commit()
    return row


def change(row: SelectionRule, rule: Rule, actor: str) -> None:
    """Replace a rule; what it no longer selects goes, as if it had been deselected.

    Raises InvalidFields, or Problem if it's the last to select the commissioning release.
    """
    check(rule)
    before = found_of(row)
    with commissioned.kept():
        _apply(row, rule)
        db.session.flush()
        _note(row.id, ruling.evaluate(rule, world(), before, is_edited=True))
    events.record("rule.changed", actor=actor, subject=rule.title, rule=row.id)
    db.session.commit()


def remove(row: SelectionRule, actor: str) -> None:
    """Delete a rule; the next import removes what nothing else selects.

    Raises Problem if it's the last to select the commissioning release.
    """
    events.record("rule.removed", actor=actor, subject=rule_of(row).title, rule=row.id)
    with commissioned.kept():
        db.session.delete(row)
    db.session.commit()


def check(rule: Rule) -> None:
    """Raise InvalidFields unless a rule can be saved."""
    ruling.check(rule)
    if rule.source_id is not None and db.session.get(BootSource, rule.source_id) is None:
        raise InvalidFields({"source_id": [f"There is no boot source {rule.source_id}."]})


def _apply(row: SelectionRule, rule: Rule) -> None:
    row.kind, row.source_id = str(rule.kind), rule.source_id
    row.os = rule.os if rule.kind in ruling.OF_A_SYSTEM else ""
    row.count = rule.count if rule.kind in ruling.COUNTED else 0
    row.pattern = rule.pattern if rule.kind == Kind.PATTERN else ""
    row.arches, row.kernels = list(rule.arches), list(rule.kernels)


def _note(rule_id: int, matches: Iterable[Match]) -> None:
    # updated_at means "changed by a person", so it is kept as it is.
    db.session.execute(
        update(SelectionRule)
        .where(SelectionRule.id == rule_id)
        .values(
            found=[one.as_dict() for one in matches],
            evaluated_at=utcnow(),
            updated_at=SelectionRule.updated_at,
        )
    )
