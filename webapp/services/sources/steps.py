# SPDX-License-Identifier: Apache-2.0
"""Changes of where images come from, step by step, so that the last one can be undone.

A step replaces one value: a source's priority, whether it's enabled, the source that an
image is bound to, or the architectures that a source's selection asks for. A preview
applies the same steps to values (services.imports.moves).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from webapp.errors import Conflict
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection, ImageBinding, SourceChange, utcnow
from webapp.services.sources import commissioned
from webapp.services.system import events
from webapp.services.system.wake import wake
from webapp.streams.offers import ImageName

PRIORITY, ENABLED, BINDING, ARCHES = "priority", "enabled", "binding", "arches"
MAX_CHANGES = 20
RECENT = timedelta(days=7)


@dataclass(frozen=True)
class Binding:
    """The source that an image is bound to. source_id: None once it was removed."""

    source_id: int | None
    source_name: str


@dataclass(frozen=True)
class Step:
    """One value that is replaced. None: there was, or will be, no binding or selection.

    kind: ``priority`` and ``enabled`` of a source; ``binding`` of an image, as the fields
    of a Binding; ``arches`` of a source's selection of a release.
    """

    kind: str
    before: Any
    after: Any
    source_id: int = 0
    os: str = ""
    release: str = ""
    arch: str = ""

    @property
    def reverse(self) -> Step:
        """The step that undoes this one."""
        return replace(self, before=self.after, after=self.before)

    @property
    def line(self) -> ImageName:
        """The image that it's about."""
        return self.os, self.release, self.arch

    def names(self, source_id: int) -> bool:
        """Whether it needs a source, before or after."""
        bound = [one["source_id"] for one in (self.before, self.after) if isinstance(one, dict)]
        return source_id in (self.source_id, *bound)

    def as_dict(self) -> dict[str, Any]:
        """For the database."""
        return asdict(self)


def bindings() -> Mapping[ImageName, Binding]:
    """The images that are bound to a source."""
    return {
        (row.os, row.release, row.arch): Binding(row.source_id, row.source_name)
        for row in db.session.scalars(select(ImageBinding).order_by(ImageBinding.id))
    }


def record(steps: Iterable[Step], summary: str, actor: str) -> None:
    """Remember a change, so that it can be undone; the caller commits."""
    made = [step for step in steps if step.before != step.after]
    if not made:
        return
    db.session.add(
        SourceChange(summary=summary, steps=[step.as_dict() for step in made], changed_by=actor)
    )
    db.session.flush()
    newest = select(SourceChange.id).order_by(SourceChange.id.desc())
    kept = list(db.session.scalars(newest.limit(MAX_CHANGES)))
    db.session.execute(delete(SourceChange).where(SourceChange.id.not_in(kept)))


def carry_out(steps: Sequence[Step], summary: str, actor: str) -> None:
    """Make a change and remember it, in one transaction that the caller commits."""
    for step in steps:
        _put(step, actor)
    record(steps, summary, actor)


def last() -> SourceChange | None:
    """The change that can be undone now."""
    return db.session.scalar(select(SourceChange).order_by(SourceChange.id.desc()).limit(1))


def recent() -> SourceChange | None:
    """The last change, while people still remember it."""
    change = last()
    return change if change and utcnow() - change.changed_at < RECENT else None


def steps_of(change: SourceChange) -> list[Step]:
    """What a change did."""
    return [Step(**one) for one in change.steps]


def undoing(change: SourceChange) -> list[Step]:
    """The steps that undo a change. Raises Conflict when something was changed since.

    A selection that was changed since is left alone.
    """
    found = []
    for step in reversed(steps_of(change)):
        if _current(step) == step.after:
            found.append(step.reverse)
        elif step.kind != ARCHES:
            raise Conflict(
                "What this change set has been changed since.",
                where=change.summary,
                expected=_words(step.after),
                got=_words(_current(step)),
                next_step="Set it as you want it to be.",
            )
    return found


def checked_last(change_id: int) -> SourceChange:
    """The last change, which was shown. Raises Conflict when it's another one by now."""
    change = last()
    if change is None or change.id != change_id:
        raise Conflict(
            "This isn't the last change, so it can't be undone.",
            expected=change.summary if change else "no change",
            next_step="Review the last change, and undo that.",
        )
    return change


def undo(change_id: int, actor: str) -> SourceChange:
    """Undo the last change. Raises Conflict when it's another one by now, or was overtaken.

    Raises Problem when the commissioning release would no longer be selected.
    """
    change = checked_last(change_id)
    with commissioned.kept():
        for step in undoing(change):
            _put(step, actor)
    events.record("source.undone", actor=actor, subject=change.summary)
    db.session.delete(change)
    db.session.commit()
    wake()
    return change


def forget(source_id: int) -> None:
    """Drop the changes that can't be undone without a source, and what came before them."""
    rows = db.session.scalars(select(SourceChange).order_by(SourceChange.id.desc())).all()
    needing = (row.id for row in rows if any(step.names(source_id) for step in steps_of(row)))
    newest = next(needing, None)
    if newest is not None:
        db.session.execute(delete(SourceChange).where(SourceChange.id <= newest))


# -- one value in the database


def _current(step: Step) -> Any:
    if step.kind == BINDING:
        bound = _binding(step)
        return asdict(Binding(bound.source_id, bound.source_name)) if bound else None
    if step.kind == ARCHES:
        row = _selection(step)
        return sorted(row.arches) if row else None
    source = db.session.get(BootSource, step.source_id)
    if source is None:
        return None
    return source.priority if step.kind == PRIORITY else source.is_enabled


def _put(step: Step, actor: str) -> None:
    if step.kind == BINDING:
        _bind(step, actor)
    elif step.kind == ARCHES:
        _select(step)
    else:
        source = db.session.get_one(BootSource, step.source_id)
        if step.kind == PRIORITY:
            source.priority = step.after
        else:
            source.is_enabled = step.after
        source.checked_at = None  # it is read again, as after any change


def _binding(step: Step) -> ImageBinding | None:
    return db.session.scalar(
        select(ImageBinding).where(
            ImageBinding.os == step.os,
            ImageBinding.release == step.release,
            ImageBinding.arch == step.arch,
        )
    )


def _bind(step: Step, actor: str) -> None:
    row = _binding(step)
    if step.after is None:
        if row is not None:
            db.session.delete(row)
        return
    if row is None:
        row = ImageBinding(os=step.os, release=step.release, arch=step.arch)
        db.session.add(row)
    row.source_id, row.source_name = step.after["source_id"], step.after["source_name"]
    row.bound_by = actor


def _selection(step: Step) -> BootSourceSelection | None:
    return db.session.scalar(
        select(BootSourceSelection).where(
            BootSourceSelection.source_id == step.source_id,
            BootSourceSelection.os == step.os,
            BootSourceSelection.release == step.release,
        )
    )


def _select(step: Step) -> None:
    row = _selection(step)
    if step.after is None:
        if row is not None:
            db.session.delete(row)
        return
    if row is None:
        row = BootSourceSelection(source_id=step.source_id, os=step.os, release=step.release)
        db.session.add(row)
    row.arches = list(step.after)


def _words(value: Any) -> str:
    return str(value["source_name"]) if isinstance(value, dict) else str(value)
