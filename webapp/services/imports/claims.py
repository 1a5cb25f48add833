# SPDX-License-Identifier: Apache-2.0
"""Who provides an image, and in which version. Pure (rules: source-order, soak-time)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from webapp.services.images.keys import Key, key_of
from webapp.services.imports.plans import SourceState, StoredResource
from webapp.services.sources.soaking import Hold
from webapp.streams.documents import version_key
from webapp.streams.filters import is_wanted
from webapp.streams.offers import Offer


@dataclass(frozen=True, slots=True)
class Claim:
    """One source's wanted offer of one image. hold: its version that isn't old enough yet."""

    source: SourceState
    offer: Offer
    hold: Hold | None = None


def of(enabled: Sequence[SourceState]) -> dict[Key, list[Claim]]:
    """Each wanted image with the sources that offer it, the best one first."""
    claims: dict[Key, list[Claim]] = defaultdict(list)
    for source in enabled:
        newest: dict[Key, Claim] = {}
        for offer in source.offers:
            if not is_wanted(offer, source.wanted):
                continue
            key, claim = key_of(offer), Claim(source, offer)
            if source.soak:
                claim = Claim(source, *source.soak.choose(offer))
            if key not in newest or _age(newest[key]) < _age(claim):
                newest[key] = claim
        for key, claim in newest.items():
            claims[key].append(claim)
    return claims


def pinned(enabled: Sequence[SourceState], resource: StoredResource) -> list[Claim]:
    """The readable sources that offer the version to which an image is to be pinned.

    Those from which it's selected come first.
    """
    version = resource.pinned_version
    if not version:
        return []
    found = [
        Claim(source, one)
        for source in enabled
        for offer in source.offers
        if source.is_judged and key_of(offer) == resource.key
        for one in (offer, *(offer.of_build(build) for build in offer.older))
        if one.version == version
    ]
    return sorted(found, key=lambda claim: not is_wanted(claim.offer, claim.source.wanted))


def winner(claims: Sequence[Claim], resource: StoredResource | None) -> Claim | None:
    """Whose offer counts; None to leave the image as it is.

    While the best source cannot be read, an image stays with the source that it
    has, so that it does not move to and fro; one that is not stored at all is
    taken from the next source.
    """
    best, *others = claims
    if best.source.is_judged:
        return best
    readable = [claim for claim in others if claim.source.is_judged]
    if resource is None:
        return readable[0] if readable else None
    return next((claim for claim in readable if claim.source.id == resource.source_id), None)


def soaked(claim: Claim, resource: StoredResource | None) -> Claim:
    """The claim once the stored version counts as old enough.

    What is stored stays, and can be repaired (rule: soak-time).
    """
    if claim.hold is None or resource is None or resource.label != claim.offer.label:
        return claim
    source = claim.source
    offers = (offer for offer in source.offers if offer.product == claim.offer.product)
    whole = next(offers, claim.offer)
    return Claim(source, *source.soak.choose(whole, resource.current.version))


def must_wait(claim: Claim, resource: StoredResource | None) -> bool:
    """Whether a soak time leaves an image as it is."""
    hold = claim.hold
    if hold is None or resource is None:
        return hold is not None and hold.is_first
    return hold.is_first or version_key(resource.current.version) > version_key(claim.offer.version)


def _age(claim: Claim) -> tuple[object, ...]:
    # Machines get one version of an image whatever its label, as in MAAS; one that may come.
    is_ready = claim.hold is None or not claim.hold.is_first
    return is_ready, version_key(claim.offer.version), claim.offer.label
