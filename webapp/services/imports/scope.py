# SPDX-License-Identifier: Apache-2.0
"""What a run is about: everything, some sources, or some images."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import BootResource, ImportRun
from webapp.services.images.keys import Image
from webapp.services.imports import bound, claims, inventory
from webapp.services.imports.plans import SourceState
from webapp.services.sources import steps


@dataclass(frozen=True)
class Scope:
    """What a run is about: the only sources that it reads and the only images; None: all."""

    source_ids: Collection[int] | None
    images: Collection[Image] | None

    @classmethod
    def of(cls, run: ImportRun) -> Scope:
        """The scope of a run."""
        images = run.only_images
        return cls(run.source_ids, None if images is None else {Image(**one) for one in images})

    @property
    def is_full(self) -> bool:
        """Whether it's about everything."""
        return self.source_ids is None and self.images is None

    def sources(self) -> Collection[int] | None:
        """The sources to read: of some images, those that would provide them; None: all."""
        if self.images is None:
            return self.source_ids
        bindings = steps.bindings()
        states = [one for one in inventory.sources((), self.images) if one.is_enabled]
        wanted = claims.of(states)
        found = {
            claim.source.id
            for several in wanted.values()
            for claim in several
            if bound.is_allowed(claim.source, bound.binding_of(claim.offer, bindings))
        }
        return found | _with_pinned(states)


def _with_pinned(states: Iterable[SourceState]) -> set[int]:
    """The sources that offer a version to which an image is to be pinned."""
    pinned = BootResource.pinned_version
    coming = set(db.session.scalars(select(pinned).where(pinned != "")))
    return {
        state.id
        for state in states
        for offer in state.offers
        if not coming.isdisjoint((offer.version, *(build.version for build in offer.older)))
    }
