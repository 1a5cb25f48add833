# SPDX-License-Identifier: Apache-2.0
"""Read what boot sources offer, and keep it: all of a stream or nothing of it.

The catalogue of a source is replaced in one transaction after everything was
fetched and verified; whatever goes wrong before that leaves the old one and is
noted on the source until the next good read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import undefer

from webapp.errors import Conflict, Problem
from webapp.extensions import db, settings
from webapp.fetch import FetchProblem, Stopped
from webapp.models import BootSource, BootSourceCache, StreamDocument, utcnow
from webapp.services.sources import mirrors, rules, soaking
from webapp.services.sources.drafts import MAX_CONFIRMED
from webapp.services.sources.selections import offer_of
from webapp.services.sources.sources import all_sources, keyring_of
from webapp.services.system.wake import wake
from webapp.streamclient import KnownDocument, Snapshot, StreamSource, read_stream
from webapp.streams.errors import Disagreement
from webapp.streams.offers import Offer
from webapp.streams.urls import normalise
from webapp.trust.keyrings import Keyring

MAX_LEFT_OUT = 200  # shown with a source; its stream may hold thousands
MAX_KEPT_OFFERS = 20_000
MAX_NOTICES = 20
# Warnings that have a place of their own, and those that each refresh gives again.
SHOWN_ELSEWHERE = {"stream-left-out", "stream-stale"}
GIVEN_AGAIN = {"stream-undated", "key-expires-soon"}


@dataclass(frozen=True)
class RefreshOutcome:
    """How reading one source went; ``problem`` is None when it went well."""

    source_id: int
    is_unchanged: bool
    problem: Problem | None
    warnings: tuple[Problem, ...] = ()


def refresh(source: BootSource) -> RefreshOutcome:
    """Read one source and replace its catalogue, or keep it and note why not.

    Rules are evaluated afterwards.
    """
    return _refresh_each([source], lambda: False)[0]


def _refresh_each(
    sources: Iterable[BootSource], is_stopped: Callable[[], bool]
) -> list[RefreshOutcome]:
    """Read sources one after the other, and then evaluate the rules once."""
    outcomes = []
    for source in sources:
        outcomes.append(_refresh(source, is_stopped))
    if any(outcome.problem is None for outcome in outcomes):
        rules.evaluate()
        db.session.commit()
    return outcomes


def _refresh(source: BootSource, is_stopped: Callable[[], bool]) -> RefreshOutcome:
    """Stopped on request, it changes nothing: that is no trouble of the source."""
    source_id, stamp, seen = source.id, source.updated_at, source.refreshed_at
    try:
        keyring = keyring_of(source)
        snapshot = _read(source, keyring, is_stopped)
    except Stopped as problem:
        db.session.rollback()
        return RefreshOutcome(source_id, False, problem)
    except Problem as problem:
        db.session.rollback()
        _note_problem(source_id, problem)
        return RefreshOutcome(source_id, False, problem)
    db.session.rollback()
    _store_snapshot(source_id, stamp, seen, snapshot)
    return RefreshOutcome(source_id, snapshot.is_unchanged, None, snapshot.warnings)


def _read(source: BootSource, keyring: Keyring | None, is_stopped: Callable[[], bool]) -> Snapshot:
    """The stream from the source's own address, else from the first mirror that has it.

    A mirror stands in only while the source itself can't be reached.
    """
    home, confirmed = normalise(source.url), frozenset(source.confirmed_products)
    known, is_partial = _known_documents(source.id), _lacks_versions(source.id)
    first: FetchProblem | None = None
    for root, fetcher in mirrors.routes(source, is_stopped):
        try:
            return read_stream(
                StreamSource(replace(home, root=root), keyring, confirmed),
                fetcher,
                known,
                stale_days=settings().stale_days,
                wants_all=is_partial,
            )
        except Stopped:
            raise
        except Problem as problem:
            if first is None and not isinstance(problem, FetchProblem):
                raise
            first = first or cast(FetchProblem, problem)
    raise cast(FetchProblem, first)


def refresh_all(
    is_stopped: Callable[[], bool], only: Collection[int] | None = None
) -> list[RefreshOutcome]:
    """Read every enabled source for an import, each on its own: one that fails stops no other.

    only: the ids of those to read, None for all.
    """
    return _refresh_each(_importing(is_stopped, only), is_stopped)


def _importing(
    is_stopped: Callable[[], bool], only: Collection[int] | None
) -> Iterator[BootSource]:
    """The sources that an import reads, each noted before it's read."""
    for source in all_sources():
        if is_stopped():
            return
        if source.is_enabled and (only is None or source.id in only):
            _write_health(source.id, {"imported_at": utcnow()})
            db.session.commit()
            yield source


def refresh_unread(is_stopped: Callable[[], bool]) -> int:
    """Read sources that weren't read since they were added or changed; returns how many."""
    unread = db.session.scalars(
        select(BootSource).where(BootSource.checked_at.is_(None), BootSource.is_enabled)
    ).all()
    return len(_refresh_each(unread, is_stopped))


def mark_unread(source: BootSource) -> None:
    """Have the worker read the source at its next check."""
    _write_health(source.id, {"checked_at": None})
    db.session.commit()
    wake()


def problem_of(source: BootSource) -> Problem | None:
    """What the last refresh failed with, as it was raised; None when it went well."""
    if not source.error_code:
        return None
    names = ("where", "expected", "got", "next_step")
    return Problem(
        source.error_what,
        code=source.error_code,
        **{name: getattr(source, f"error_{name}") for name in names},
    )


# -- saving what was read


def replace_known(source_id: int, stamp: datetime, snapshot: Snapshot) -> None:
    """Make a state the known one, however old it is: a person accepted it.

    stamp: the source's ``updated_at`` when it was read. Commits what the caller recorded too.
    Raises Conflict when someone changed the source since.
    """
    source = db.session.get(BootSource, source_id, populate_existing=True, with_for_update=True)
    if source is None or source.updated_at != stamp:
        db.session.rollback()
        raise Conflict(
            "The boot source was changed since this state was shown. Nothing was accepted.",
            next_step="Refresh it, and review its state again.",
        )
    _replace(source, snapshot)
    rules.evaluate()
    db.session.commit()


def _store_snapshot(
    source_id: int, stamp: datetime, seen: datetime | None, snapshot: Snapshot
) -> None:
    """One transaction: documents, catalogue, health.

    Skipped when the source was changed meanwhile, or when another refresh, which began
    later, has stored a newer state: a source never goes back in time.
    """
    # Locked, so that two processes that read one source store it one after the other.
    source = db.session.get(BootSource, source_id, populate_existing=True, with_for_update=True)
    if source is None or source.updated_at != stamp:
        db.session.rollback()
        return
    if source.refreshed_at != seen and _is_older(snapshot, source.index_updated_at):
        db.session.rollback()
        return
    _replace(source, snapshot)
    db.session.commit()


def _replace(source: BootSource, snapshot: Snapshot) -> None:
    source_id, now = source.id, utcnow()
    warnings = [one.as_dict() for one in snapshot.warnings if one.code not in SHOWN_ELSEWHERE]
    if snapshot.is_unchanged:
        warnings += [one for one in source.warnings if one["code"] not in GIVEN_AGAIN]
    health = {"checked_at": now, "refreshed_at": now, "differences": [],
              "warnings": warnings, **_cleared_error()}  # fmt: skip
    if snapshot.documents:
        offers = [*snapshot.offers, *_still_offered(source_id, snapshot)]
        sightings = _sightings(source_id)
        db.session.execute(delete(StreamDocument).where(StreamDocument.source_id == source_id))
        db.session.execute(delete(BootSourceCache).where(BootSourceCache.source_id == source_id))
        db.session.add_all(
            StreamDocument(
                source_id=source_id,
                path=document.path,
                content_id=document.content_id,
                content=document.content,
                sha256=document.sha256,
                etag=document.etag,
                last_modified=document.last_modified,
                updated_at=document.updated_at,
                signed_at=document.signed_at,
                signer_fingerprint=document.fingerprint,
                fetched_at=document.fetched_at,
            )
            for document in snapshot.documents
        )
        rows = [
            {
                "source_id": source_id,
                "versions": soaking.sightings(offer, sightings.get(offer.product, {}), now),
                **offer.as_columns(),
            }
            for offer in offers
        ]
        if rows:
            db.session.execute(insert(BootSourceCache), rows)
        health |= {
            "index_updated_at": snapshot.index_updated_at,
            "signed_at": snapshot.signed_at,
            "signer_fingerprint": snapshot.fingerprint,
            "notices": [one.as_dict() for one in snapshot.notifications[:MAX_NOTICES]],
            "left_out": [one.as_dict() for one in snapshot.skipped[:MAX_LEFT_OUT]],
        }
    _write_health(source_id, health)


def _is_older(snapshot: Snapshot, stored: datetime | None) -> bool:
    dated = snapshot.index_updated_at
    return dated is not None and stored is not None and dated < stored


def _sightings(source_id: int) -> dict[str, soaking.Sightings]:
    """When versions were first seen, by product."""
    columns = (BootSourceCache.product, BootSourceCache.versions)
    rows = db.session.execute(select(*columns).where(BootSourceCache.source_id == source_id))
    return {row.product: row.versions for row in rows}


def _lacks_versions(source_id: int) -> bool:
    """Whether the catalogue was stored by a Slipway that kept the newest versions alone."""
    newest = select(BootSourceCache.version, BootSourceCache.versions)
    row = db.session.execute(newest.where(BootSourceCache.source_id == source_id).limit(1)).first()
    return row is not None and row.version not in row.versions


def _still_offered(source_id: int, snapshot: Snapshot) -> list[Offer]:
    """What stays in the catalogue beside what the stream offers now.

    While a document of it can't be read, nothing is known to be gone (rule: odd-entries).
    """
    if not snapshot.unusable:
        return []
    products = {offer.product for offer in snapshot.offers}
    names = {_name_of(offer) for offer in snapshot.offers}
    query = select(BootSourceCache).where(BootSourceCache.source_id == source_id)
    rows = db.session.scalars(query.order_by(BootSourceCache.id).limit(MAX_KEPT_OFFERS))
    known = [offer_of(row) for row in rows]
    return [one for one in known if one.product not in products and _name_of(one) not in names]


def _name_of(offer: Offer) -> tuple[str, ...]:
    """What distinguishes the images of one source."""
    return (offer.os, offer.arch, offer.subarch, offer.release, offer.kflavor, offer.label)


def _note_problem(source_id: int, problem: Problem) -> None:
    details = {f"error_{name}": text for name, text in problem.as_dict().items()}
    found = problem.differences if isinstance(problem, Disagreement) else []
    differences = found[: MAX_CONFIRMED + 1]  # one too many to be accepted
    _write_health(source_id, {"checked_at": utcnow(), "differences": differences, **details})
    db.session.commit()


def _write_health(source_id: int, values: dict[str, object]) -> None:
    # updated_at means "changed by a person" and guards refreshes, so it is kept as it is.
    db.session.execute(
        update(BootSource)
        .where(BootSource.id == source_id)
        .values(**values, updated_at=BootSource.updated_at)
    )


def _cleared_error() -> dict[str, str]:
    names = ("code", "what", "where", "expected", "got", "next_step")
    return {f"error_{name}": "" for name in names}


def _known_documents(source_id: int) -> dict[str, KnownDocument]:
    rows = db.session.scalars(
        select(StreamDocument)
        .where(StreamDocument.source_id == source_id)
        .options(undefer(StreamDocument.content))
    )
    return {
        row.path: KnownDocument(
            path=row.path,
            content=row.content,
            sha256=row.sha256,
            etag=row.etag,
            last_modified=row.last_modified,
            updated_at=row.updated_at,
            signed_at=row.signed_at,
            fingerprint=row.signer_fingerprint,
        )
        for row in rows
    }
