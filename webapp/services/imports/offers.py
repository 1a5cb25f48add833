# SPDX-License-Identifier: Apache-2.0
"""Who offers which image, who provides it, and why. Pure but for ``read``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from webapp.extensions import store
from webapp.services.images.keys import Key, key_of
from webapp.services.imports import bound, claims, inventory, preview
from webapp.services.imports.claims import Claim
from webapp.services.imports.plans import Inventory, SourceState, StoredResource
from webapp.services.sources.steps import Binding
from webapp.streams.documents import version_key
from webapp.streams.mapping import Offer
from webapp.streams.offers import ImageName


@dataclass(frozen=True, slots=True)
class Contender:
    """What one source offers of an image, and why machines get it from there or don't.

    is_selected: it's enabled there and a selection of the source asks for the image.
    """

    source_id: int
    source_url: str
    source_name: str
    priority: int
    version: str
    label: str
    size: int
    is_selected: bool
    is_winner: bool
    why: str


@dataclass(frozen=True, slots=True)
class Contest:
    """An image and the sources that offer it, the one that would win first.

    stored_version: what machines get now, "" when nothing is stored. bound_to: the source
    that the image is bound to, "" when priorities decide.
    """

    key: Key
    line: ImageName
    title: str
    stored_version: str
    contenders: tuple[Contender, ...]
    bound_to: str = ""

    @property
    def is_contested(self) -> bool:
        """Whether more than one source offers it."""
        return len(self.contenders) > 1


@dataclass(frozen=True, slots=True)
class BoundImage:
    """An image that is bound to a source. trouble: why it stays as it is, with a next step.

    source_id: None once the source was removed; source is its name also then.
    """

    os: str
    release: str
    arch: str
    source_id: int | None
    source: str
    trouble: str

    @property
    def line(self) -> ImageName:
        """The image."""
        return self.os, self.release, self.arch


@dataclass(frozen=True, slots=True)
class Comparison:
    """What sources offer, image by image, and which images are bound to one."""

    contests: list[Contest]
    bound: list[BoundImage]

    def is_bound(self, line: ImageName, source_id: int) -> bool:
        """Whether an image is bound to this source."""
        return any((one.line, one.source_id) == (line, source_id) for one in self.bound)


def read(*, wants_all: bool = False) -> Comparison:
    """The images that more than one source offers or that are selected; else all of them."""
    sources, known = preview.states(), inventory.read(store())
    found = [
        one
        for one in contests(sources, known)
        if wants_all
        or one.is_contested
        or one.bound_to
        or any(c.is_selected for c in one.contenders)
    ]
    return Comparison(found, bound_images(sources, known))


def bound_images(sources: Sequence[SourceState], known: Inventory) -> list[BoundImage]:
    """The images that are bound to a source, by name."""
    found = []
    for line, binding in sorted(known.bindings.items()):
        source = bound.find(binding, sources)
        name = source.title if source else binding.source_name
        trouble = bound.flaw(line, binding, sources)
        found.append(BoundImage(*line, binding.source_id, name, trouble))
    return found


def contests(sources: Iterable[SourceState], known: Inventory) -> list[Contest]:
    """Every image that a source offers, by name."""
    ordered = sorted(sources, key=lambda source: (-source.priority, source.id))
    wanted = claims.of([source for source in ordered if source.is_enabled])
    stored = {resource.key: resource for resource in known.resources}
    offered: dict[Key, list[Claim]] = {}
    for source in ordered:
        for key, offer in _newest(source).items():
            offered.setdefault(key, []).append(Claim(source, offer))
    return [
        _contest(key, offered[key], wanted.get(key, []), stored.get(key), known, ordered)
        for key in sorted(offered)
    ]


def _contest(
    key: Key,
    offered: Sequence[Claim],
    rivals: Sequence[Claim],
    resource: StoredResource | None,
    known: Inventory,
    sources: Sequence[SourceState],
) -> Contest:
    offer = offered[0].offer
    binding = bound.binding_of(offer, known.bindings)
    allowed = [one for one in rivals if bound.is_allowed(one.source, binding)]
    winner = claims.winner(allowed, resource) if allowed else None
    source = bound.find(binding, sources) if binding else None
    return Contest(
        key=key,
        line=(offer.os, offer.release, offer.arch),
        title=offer.title,
        stored_version=resource.current.version if resource else "",
        contenders=tuple(_contender(one, rivals, winner, binding) for one in offered),
        bound_to=(source.title if source else binding.source_name) if binding else "",
    )


def _newest(source: SourceState) -> dict[Key, Offer]:
    newest: dict[Key, Offer] = {}
    for offer in source.offers:
        known = newest.get(key_of(offer))
        if known is None or version_key(known.version) < version_key(offer.version):
            newest[key_of(offer)] = offer
    return newest


def _contender(
    one: Claim, rivals: Sequence[Claim], winner: Claim | None, binding: Binding | None
) -> Contender:
    own = next((claim for claim in rivals if claim.source.id == one.source.id), None)
    offer = own.offer if own else one.offer
    held = f"; {own.hold.words}" if own is not None and own.hold else ""
    return Contender(
        source_id=one.source.id,
        source_url=one.source.url,
        source_name=one.source.title,
        priority=one.source.priority,
        version=offer.version,
        label=offer.label,
        size=offer.size,
        is_selected=own is not None,
        is_winner=own is not None and own is winner,
        why=_why(one.source, own, rivals, winner, binding) + held,
    )


def _why(
    source: SourceState,
    own: Claim | None,
    rivals: Sequence[Claim],
    winner: Claim | None,
    binding: Binding | None,
) -> str:
    """The reason in a few words."""
    if not source.is_enabled:
        return "the source is disabled"
    if binding is not None and not bound.is_allowed(source, binding):
        return f"the image is bound to {binding.source_name}"
    if own is None:
        return "not selected from this source"
    if not source.is_judged:
        return "the source can't be read, or is empty"
    if binding is not None:
        return "bound to this source"
    if winner is None:
        return f"{rivals[0].source.title} can't be read, so the image stays as it is"
    if own is not winner:
        if winner is not rivals[0]:
            return "another source provides it while the best one can't be read"
        return _compared(source, winner.source)
    if own is not rivals[0]:
        return f"{rivals[0].source.title} can't be read"
    if len(rivals) == 1:
        return "the only source that it's selected from"
    return _compared(source, rivals[1].source)


def _compared(source: SourceState, other: SourceState) -> str:
    """How a source stands against another (rule: source-order)."""
    mine, theirs = source.priority, other.priority
    if mine == theirs:
        return f"same priority, added {'first' if source.id < other.id else 'later'}"
    return f"priority {mine} is {'higher' if mine > theirs else 'lower'} than {theirs}"
