# SPDX-License-Identifier: Apache-2.0
"""Bind an image to the source that it must come from (rule: bound-images)."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import select

from webapp.errors import InvalidFields, NotFound
from webapp.extensions import db
from webapp.models import BootSource, BootSourceCache, BootSourceSelection
from webapp.services.sources import naming, selections, steps
from webapp.services.sources.steps import ARCHES, BINDING, Binding, Step
from webapp.services.system import events
from webapp.services.system.wake import wake
from webapp.streams.offers import ImageName


def to_bind(line: ImageName, source: BootSource) -> list[Step]:
    """The steps that bind an image to a source, and select it there.

    Raises InvalidFields (``source_id``) when the source doesn't offer it, Problem before it
    was read.
    """
    os, release, arch = line
    offered = db.session.scalar(
        select(BootSourceCache.bootloader_type)
        .where(
            BootSourceCache.source_id == source.id,
            BootSourceCache.os == os,
            BootSourceCache.release == release,
            BootSourceCache.arch == arch,
        )
        .limit(1)
    )
    if offered is None:
        selections.demand_read(source, words(line))
        name = naming.title_of(source)
        raise InvalidFields({"source_id": [f"{name} doesn't offer {words(line)}."[:400]]})
    before = steps.bindings().get(line)
    after = Binding(source.id, naming.title_of(source))
    found = [_step(line, before, after)]
    if not offered:  # boot loaders come from every source, so no selection names them
        selected = db.session.scalar(
            select(BootSourceSelection).where(
                BootSourceSelection.source_id == source.id,
                BootSourceSelection.os == os,
                BootSourceSelection.release == release,
            )
        )
        arches = sorted(selected.arches) if selected else None
        if not {"*", arch} & set(arches or ()):
            more = sorted({*(arches or ()), arch})
            found.append(Step(ARCHES, arches, more, source.id, os, release))
    return found


def to_unbind(line: ImageName) -> list[Step]:
    """The steps that let priorities decide again. Raises NotFound when it isn't bound."""
    before = steps.bindings().get(line)
    if before is None:
        raise NotFound(
            "This image isn't bound to a boot source.",
            where=words(line),
            next_step="See which images are bound on the Offers page.",
        )
    return [_step(line, before, None)]


def bind(line: ImageName, source: BootSource, actor: str) -> None:
    """Bind an image to a source; the next import gets it from there."""
    found = to_bind(line, source)
    name = naming.title_of(source)
    steps.carry_out(found, f"{words(line)} bound to {name}", actor)
    events.record("image.bound", actor=actor, subject=words(line), source=source.id)
    db.session.commit()
    wake()


def unbind(line: ImageName, actor: str) -> None:
    """Let priorities decide where an image comes from."""
    steps.carry_out(to_unbind(line), f"{words(line)} unbound", actor)
    events.record("image.unbound", actor=actor, subject=words(line))
    db.session.commit()
    wake()


def words(line: ImageName) -> str:
    """An image as people write it."""
    os, release, arch = line
    return f"{os}/{release} {arch}"


def _step(line: ImageName, before: Binding | None, after: Binding | None) -> Step:
    old, new = (asdict(one) if one else None for one in (before, after))
    return Step(BINDING, old, new, 0, *line)
