# SPDX-License-Identifier: Apache-2.0
"""Selections: what to download from which source (rule: one-selection-per-release)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import load_only

from webapp.errors import InvalidFields, NotFound, Problem
from webapp.extensions import db
from webapp.models import BootSource, BootSourceCache, BootSourceSelection
from webapp.services.sources import commissioned
from webapp.services.system import events, statements
from webapp.streams.filters import Wanted, check_selection
from webapp.streams.offers import Build, Item, Offer

Line = tuple[int, str, str]  # source, os, release: one selection
_FILTERED = (
    BootSourceCache.os,
    BootSourceCache.release,
    BootSourceCache.arch,
    BootSourceCache.label,
    BootSourceCache.answers_to,
    BootSourceCache.bootloader_type,
)


@dataclass(frozen=True, order=True)
class Pick:
    """One selected checkbox: an architecture of a release from a source."""

    source_id: int
    os: str
    release: str
    arch: str


def of_source(source_id: int) -> Sequence[BootSourceSelection]:
    """The selections of one source, oldest first."""
    return db.session.scalars(
        select(BootSourceSelection)
        .where(BootSourceSelection.source_id == source_id)
        .order_by(BootSourceSelection.id)
    ).all()


def get(source_id: int, selection_id: int) -> BootSourceSelection:
    """The selection if it belongs to that source, else NotFound."""
    selection = db.session.get(BootSourceSelection, selection_id)
    if selection is None or selection.source_id != source_id:
        raise NotFound(
            "Selection not found.",
            where=f"selection {selection_id} of boot source {source_id}",
            next_step="See the selections of that boot source.",
        )
    return selection


def add(source: BootSource, wanted: Wanted, actor: str) -> BootSourceSelection:
    """Save a new selection.

    Raises InvalidFields when the source offers no such thing, Problem before it was read.
    """
    _check(source, wanted, None)
    selection = BootSourceSelection(source_id=source.id)
    _apply(selection, wanted)
    db.session.add(selection)
    events.record("selection.added", actor=actor, subject=_name(selection), source=source.id)
    db.session.commit()
    return selection


def change(selection: BootSourceSelection, wanted: Wanted, actor: str) -> BootSourceSelection:
    """Replace the filters of a selection. Raises as ``add`` and ``remove`` do."""
    _check(selection.source, wanted, selection.id)
    with commissioned.kept():
        _apply(selection, wanted)
    events.record(
        "selection.changed", actor=actor, subject=_name(selection), source=selection.source_id
    )
    db.session.commit()
    return selection


def remove(selection: BootSourceSelection, actor: str) -> None:
    """Delete a selection; its images go with the next import, not now.

    Raises Problem for the last one of the commissioning release.
    """
    events.record(
        "selection.removed", actor=actor, subject=_name(selection), source=selection.source_id
    )
    with commissioned.kept():
        db.session.delete(selection)
    db.session.commit()


def current() -> tuple[set[Pick], dict[Line, tuple[str, ...]]]:
    """Every selection as selected boxes, and the kernels of each.

    ``*`` selects each offered architecture, or itself.
    """
    offered = _offered_arches()
    selected, chosen = set(), {}
    for row in db.session.scalars(select(BootSourceSelection)):
        line = (row.source_id, row.os, row.release)
        arches = (offered[line] or {"*"}) if "*" in row.arches else row.arches
        selected |= {Pick(*line, arch) for arch in arches}
        chosen[line] = tuple(row.subarches)
    return selected, chosen


def replace_picks(
    shown: Iterable[Pick],
    selected: Iterable[Pick],
    actor: str,
    kernels: Mapping[Line, Sequence[str]] | None = None,
) -> bool:
    """Make the selections agree with a page's boxes, in one transaction.

    shown: every box that the page had; what it did not show is left alone.
    kernels: of the selections that get others. Returns whether anything changed.
    A row keeps its kernels and labels else, and keeps ``*`` as long as every
    architecture stays selected. Two that save at the same moment follow one
    another, so an impatient hand has saved once.
    """
    shown, selected, kernels = set(shown), set(selected), kernels or {}
    _wait_for_others()
    before, chosen = current()
    after = (before - shown) | (selected & shown)
    switched = {line: names for line, names in kernels.items() if chosen.get(line) != tuple(names)}
    if after == before and not switched:
        return False
    wanted: dict[Line, set[str]] = defaultdict(set)
    for pick in after:
        wanted[pick.source_id, pick.os, pick.release].add(pick.arch)
    offered = _offered_arches()
    existing = {
        (r.source_id, r.os, r.release): r for r in db.session.scalars(select(BootSourceSelection))
    }
    touched = {(p.source_id, p.os, p.release) for p in before ^ after}
    with commissioned.kept():
        for key in touched | switched.keys():
            arches, row = sorted(wanted.get(key, ())), existing.get(key)
            if row is None:
                source_id, os, release = key
                row = BootSourceSelection(
                    source_id=source_id, os=os, release=release, arches=arches
                )
                if arches:
                    db.session.add(row)
            elif not arches:
                db.session.execute(
                    delete(BootSourceSelection).where(BootSourceSelection.id == row.id)
                )
            elif not ("*" in row.arches and set(arches) >= offered[key]):
                row.arches = arches
            if key in switched and arches:
                row.subarches = list(switched[key])
    changed = {f"{os}/{release}": list(names) for (_, os, release), names in switched.items()}
    events.record(
        "selection.replaced",
        actor=actor,
        added=[_box(p) for p in sorted(after - before)],
        removed=[_box(p) for p in sorted(before - after)],
        kernels=changed,
    )
    db.session.commit()
    return True


def _wait_for_others() -> None:
    """Hold one row until the transaction ends: writing it makes others wait on both databases."""
    first = select(func.min(BootSource.id)).scalar_subquery()
    as_it_is = {"updated_at": BootSource.updated_at}
    statements.execute(update(BootSource).where(BootSource.id == first).values(as_it_is))
    db.session.expire_all()  # what was read before may have changed


def offers_of(source_id: int) -> list[Offer]:
    """The catalogue of a source, as the pure rules take it."""
    found = db.session.scalars(
        select(BootSourceCache)
        .where(BootSourceCache.source_id == source_id)
        .order_by(BootSourceCache.product)
    )
    return [offer_of(row) for row in found]


def offer_of(row: BootSourceCache) -> Offer:
    """A row of the catalogue as an offer; its older versions if they were loaded."""
    values: dict[str, Any] = {name: getattr(row, name, ()) for name in Offer.__dataclass_fields__}
    values["items"] = tuple(Item.from_dict(item) for item in row.items)
    values["package_list"] = Item.from_dict(row.package_list) if row.package_list else None
    values["subarches"] = tuple(row.subarches)
    values["answers_to"] = tuple(row.answers_to)
    values["older"] = tuple(Build.from_dict(build) for build in values["older"])
    return Offer(**values)


def wanted_of(selection: BootSourceSelection) -> Wanted:
    """A selection as the pure rules take it."""
    return Wanted(
        os=selection.os,
        release=selection.release,
        arches=tuple(selection.arches),
        subarches=tuple(selection.subarches),
        labels=tuple(selection.labels),
    )


def _offered_arches() -> dict[Line, set[str]]:
    offered: dict[Line, set[str]] = defaultdict(set)
    found = db.session.execute(
        select(
            BootSourceCache.source_id,
            BootSourceCache.os,
            BootSourceCache.release,
            BootSourceCache.arch,
        ).distinct()
    )
    for source_id, os, release, arch in found:
        offered[source_id, os, release].add(arch)
    return offered


def demand_read(source: BootSource, got: str) -> None:
    """Raise Problem while what a source offers isn't known yet (rule: selection-before-catalogue).

    got: what it doesn't offer as far as is known.
    """
    if source.checked_at is None and source.is_enabled:
        raise Problem(
            "This boot source is still being read, so what it offers isn't known yet.",
            code="source-unread",
            where=source.url,
            expected="a source that was read",
            got=got[:200],
            next_step="Try again in a few seconds.",
        )


def _check(source: BootSource, wanted: Wanted, selection_id: int | None) -> None:
    """Raises InvalidFields; Problem while what the source offers isn't known yet."""
    offered = select(BootSourceCache).where(BootSourceCache.source_id == source.id)
    problems = check_selection(wanted, db.session.scalars(offered.options(load_only(*_FILTERED))))
    if problems:
        demand_read(source, f"a selection of {wanted.os}/{wanted.release}")
    taken = db.session.scalar(
        select(BootSourceSelection.id).where(
            BootSourceSelection.source_id == source.id,
            BootSourceSelection.os == wanted.os,
            BootSourceSelection.release == wanted.release,
            BootSourceSelection.id != (selection_id or 0),
        )
    )
    if taken is not None:
        problems.setdefault("__all__", []).append(
            "Boot source selection with this Boot source, Os and Release already exists."
        )
    if problems:
        raise InvalidFields(problems)


def _apply(selection: BootSourceSelection, wanted: Wanted) -> None:
    selection.os, selection.release = wanted.os, wanted.release
    selection.arches = list(wanted.arches)
    selection.subarches = list(wanted.subarches)
    selection.labels = list(wanted.labels)


def _name(selection: BootSourceSelection) -> str:
    return f"{selection.os}/{selection.release}"


def _box(pick: Pick) -> str:
    return f"{pick.os}/{pick.release}/{pick.arch}"
