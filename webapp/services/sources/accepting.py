# SPDX-License-Identifier: Apache-2.0
"""A stream that went back, or changed under the same date: show what differs, accept exactly that.

Signatures count as ever. Nothing is accepted by itself: a person names the digest of the
state that was shown, and another one is refused (rule: no-going-back).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from webapp.errors import Conflict
from webapp.extensions import settings
from webapp.models import BootSource
from webapp.services.sources import refreshing, sources
from webapp.services.sources.selections import offers_of
from webapp.services.system import events
from webapp.services.system.wake import wake
from webapp.streamclient import Snapshot, StreamSource, read_stream
from webapp.streams.documents import version_key
from webapp.streams.offers import Offer
from webapp.streams.urls import normalise

# Why a refresh failed, when a person may know better.
STATE_TROUBLES = frozenset({"stream-rollback", "stream-changed-in-place"})


@dataclass(frozen=True, order=True)
class ProductChange:
    """A product that differs. before, after: its version, "" where it's missing.

    kind: gone, new, older, newer, or changed when other files have the same version.
    """

    product: str
    label: str
    kind: str
    before: str
    after: str


@dataclass(frozen=True)
class StateChange:
    """The state that is known, and the one that the stream has now.

    digest: of all its signed documents. fingerprint: who signed it, "" if unsigned.
    """

    digest: str
    updated_before: datetime | None
    updated_after: datetime | None
    signed_at: datetime | None
    fingerprint: str
    changes: tuple[ProductChange, ...]


def is_due(source: BootSource) -> bool:
    """Whether accepting the state of the stream may be what the source needs."""
    return source.is_enabled and source.error_code in STATE_TROUBLES


def propose(source: BootSource) -> StateChange:
    """Read the stream as if nothing were known of it, and compare; saves nothing.

    Raises Conflict when the source has no such trouble, and what reading a stream raises.
    """
    return _compared(source, _read(source))


def accept(source: BootSource, digest: str, actor: str) -> StateChange:
    """Make the state that was shown the known one. Raises Conflict when it's another one now."""
    stamp, snapshot = source.updated_at, _read(source)
    change = _compared(source, snapshot)
    if change.digest != digest.strip().lower():
        raise Conflict(
            "The stream changed since this state was shown. Nothing was accepted.",
            where=source.url,
            expected=f"the state {digest[:12]}",
            got=f"the state {change.digest[:12]}",
            next_step="Review the state again, and accept that.",
        )
    events.record(
        "source.state_accepted",
        actor=actor,
        subject=source.url,
        source=source.id,
        state=change.digest,
        before=_text(change.updated_before),
        after=_text(change.updated_after),
        products=len(change.changes),
    )
    refreshing.replace_known(source.id, stamp, snapshot)
    wake()
    return change


def compare(before: Iterable[Offer], after: Iterable[Offer]) -> tuple[ProductChange, ...]:
    """The products that two catalogues don't have in common, by name. Pure."""
    old, new = _by_name(before), _by_name(after)
    found = []
    for name in old.keys() | new.keys():
        one, other = old.get(name), new.get(name)
        kind = _kind(one, other)
        if kind:
            versions = (one.version if one else "", other.version if other else "")
            found.append(ProductChange(*name, kind, *versions))
    return tuple(sorted(found))


def _kind(one: Offer | None, other: Offer | None) -> str:
    if one is None or other is None:
        return "new" if other else "gone"
    if one.version != other.version:
        is_older = version_key(other.version) < version_key(one.version)
        return "older" if is_older else "newer"
    return "" if _files(one) == _files(other) else "changed"


def _files(offer: Offer) -> Mapping[str, str]:
    return {item.filename: item.sha256 for item in offer.items}


def _by_name(offers: Iterable[Offer]) -> dict[tuple[str, str], Offer]:
    return {(offer.product, offer.label): offer for offer in offers}


def _read(source: BootSource) -> Snapshot:
    if not is_due(source):
        raise Conflict(
            "This boot source's stream didn't go back.",
            where=source.url,
            expected="a check that was refused because the stream is older, or changed in place",
            got=source.error_code or "no such problem",
            next_step="Refresh the boot source, and follow what its page shows.",
        )
    stream = StreamSource(
        normalise(source.url), sources.keyring_of(source), frozenset(source.confirmed_products)
    )
    with sources.fetcher_for(source) as fetcher:
        return read_stream(stream, fetcher, {}, stale_days=settings().stale_days)


def _compared(source: BootSource, snapshot: Snapshot) -> StateChange:
    digests = [[document.path, document.sha256] for document in snapshot.documents]
    return StateChange(
        digest=hashlib.sha256(repr(digests).encode()).hexdigest(),
        updated_before=source.index_updated_at,
        updated_after=snapshot.index_updated_at,
        signed_at=snapshot.signed_at,
        fingerprint=snapshot.fingerprint,
        changes=compare(offers_of(source.id), snapshot.offers),
    )


def _text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
