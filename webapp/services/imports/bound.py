# SPDX-License-Identifier: Apache-2.0
"""Images that are bound to a source: who may provide them, and why they stay. Pure.

Whatever happens to that source, the stored image stays and no other source takes over
(rule: bound-images).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from webapp.services.imports.plans import SourceState
from webapp.services.sources.steps import Binding
from webapp.streams.filters import is_wanted
from webapp.streams.offers import ImageName

Bindings = Mapping[ImageName, Binding]


class _Image(Protocol):
    @property
    def os(self) -> str: ...

    @property
    def release(self) -> str: ...

    @property
    def arch(self) -> str: ...


def binding_of(image: _Image, bindings: Bindings) -> Binding | None:
    """The binding of an offer or a stored image."""
    return bindings.get((image.os, image.release, image.arch))


def is_allowed(source: SourceState, binding: Binding | None) -> bool:
    """Whether a source may provide an image with this binding."""
    return binding is None or binding.source_id == source.id


def trouble(binding: Binding, sources: Sequence[SourceState]) -> str:
    """Why the source that an image is bound to can't provide it, with the next step; "" if it can.

    What it offers isn't judged here.
    """
    name = binding.source_name
    source = find(binding, sources)
    if source is None:
        return f"bound to {name}, which was removed; bind it to another source, or unbind it"
    if not source.is_enabled:
        return (
            f"bound to {source.title}, which is disabled; enable that source, or unbind the image"
        )
    if not source.is_judged:
        return f"bound to {source.title}, which can't be read, or is empty"
    return ""


def lacking(binding: Binding, sources: Sequence[SourceState]) -> str:
    """Why an image that only other sources provide stays as it is."""
    name = next((s.title for s in sources if s.id == binding.source_id), binding.source_name)
    return trouble(binding, sources) or (
        f"bound to {name}, which doesn't offer it as selected; select it there, or unbind it"
    )


def flaw(line: ImageName, binding: Binding, sources: Sequence[SourceState]) -> str:
    """Why a bound image stays as it is, "" when its source can provide it."""
    source = find(binding, sources)
    if (found := trouble(binding, sources)) or source is None:
        return found
    offers = [one for one in source.offers if (one.os, one.release, one.arch) == line]
    if any(is_wanted(one, source.wanted) for one in offers):
        return ""
    return lacking(binding, sources)


def find(binding: Binding, sources: Sequence[SourceState]) -> SourceState | None:
    """The source of a binding, None once it was removed."""
    return next((source for source in sources if source.id == binding.source_id), None)


def noted(reason: str, binding: Binding | None, source: SourceState) -> str:
    """A reason to fetch or keep an image, with its binding."""
    return f"{reason}; bound to {source.title}" if binding else reason
