# SPDX-License-Identifier: Apache-2.0
"""Who offers which image, who provides it, and why. Pure but for ``read``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from webapp.extensions import store
from webapp.services.images.keys import Key, key_of
from webapp.services.imports import inventory
from webapp.services.imports.planning import Claim, claims_of, winner_of
from webapp.services.imports.plans import Inventory, SourceState
from webapp.services.imports.preview import fresh_sources
from webapp.streams.documents import version_key
from webapp.streams.mapping import Offer


@dataclass(frozen=True, slots=True)
class Contender:
    """What one source offers of an image, and why machines get it from there or don't.

    is_selected: it's enabled there and a selection of the source asks for the image.
    """

    source_id: int
    source_url: str
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

    stored_version: what machines get now, "" when nothing is stored.
    """

    key: Key
    title: str
    stored_version: str
    contenders: tuple[Contender, ...]

    @property
    def is_contested(self) -> bool:
        """Whether more than one source offers it."""
        return len(self.contenders) > 1


def read(*, wants_all: bool = False) -> list[Contest]:
    """The images that more than one source offers or that are selected; else all of them."""
    found = contests(inventory.sources(fresh_sources()), inventory.read(store()))
    return [
        one
        for one in found
        if wants_all or one.is_contested or any(c.is_selected for c in one.contenders)
    ]


def contests(sources: Iterable[SourceState], known: Inventory) -> list[Contest]:
    """Every image that a source offers, by name."""
    ordered = sorted(sources, key=lambda source: (-source.priority, source.id))
    claims = claims_of([source for source in ordered if source.is_enabled])
    stored = {resource.key: resource for resource in known.resources}
    offered: dict[Key, list[Claim]] = {}
    for source in ordered:
        for key, offer in _newest(source).items():
            offered.setdefault(key, []).append(Claim(source, offer))
    found = []
    for key in sorted(offered):
        resource = stored.get(key)
        winner = winner_of(claims[key], resource) if key in claims else None
        found.append(
            Contest(
                key=key,
                title=offered[key][0].offer.title,
                stored_version=resource.current.version if resource else "",
                contenders=tuple(_contender(one, key, claims, winner) for one in offered[key]),
            )
        )
    return found


def _newest(source: SourceState) -> dict[Key, Offer]:
    newest: dict[Key, Offer] = {}
    for offer in source.offers:
        known = newest.get(key_of(offer))
        if known is None or version_key(known.version) < version_key(offer.version):
            newest[key_of(offer)] = offer
    return newest


def _contender(
    one: Claim, key: Key, claims: Mapping[Key, list[Claim]], winner: Claim | None
) -> Contender:
    rivals = claims.get(key, [])
    own = next((claim for claim in rivals if claim.source.id == one.source.id), None)
    offer = own.offer if own else one.offer
    return Contender(
        source_id=one.source.id,
        source_url=one.source.url,
        priority=one.source.priority,
        version=offer.version,
        label=offer.label,
        size=offer.size,
        is_selected=own is not None,
        is_winner=own is not None and own is winner,
        why=_why(one.source, own, rivals, winner),
    )


def _why(source: SourceState, own: Claim | None, rivals: list[Claim], winner: Claim | None) -> str:
    """The reason in a few words."""
    if not source.is_enabled:
        return "the source is disabled"
    if own is None:
        return "not selected from this source"
    if not source.is_judged:
        return "the source can't be read, or is empty"
    if winner is None:
        return f"{rivals[0].source.url} can't be read, so the image stays as it is"
    if own is not winner:
        if winner is not rivals[0]:
            return "another source provides it while the best one can't be read"
        return _compared(source, winner.source)
    if own is not rivals[0]:
        return f"{rivals[0].source.url} can't be read"
    if len(rivals) == 1:
        return "the only source that it's selected from"
    return _compared(source, rivals[1].source)


def _compared(source: SourceState, other: SourceState) -> str:
    """How a source stands against another (rule: source-order)."""
    mine, theirs = source.priority, other.priority
    if mine == theirs:
        return f"same priority, added {'first' if source.id < other.id else 'later'}"
    return f"priority {mine} is {'higher' if mine > theirs else 'lower'} than {theirs}"
