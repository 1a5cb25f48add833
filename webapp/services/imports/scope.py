# SPDX-License-Identifier: Apache-2.0
"""What a run is about: everything, some sources, or some images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from webapp.models import ImportRun
from webapp.services.images.keys import Image
from webapp.services.imports import bound, claims, inventory
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
        wanted = claims.of(
            [state for state in inventory.sources((), self.images) if state.is_enabled]
        )
        mine = (wanted[key] for key in wanted if key.image in self.images)
        return {
            claim.source.id
            for several in mine
            for claim in several
            if bound.is_allowed(claim.source, bound.binding_of(claim.offer, bindings))
        }
