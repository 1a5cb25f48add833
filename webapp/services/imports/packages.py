# SPDX-License-Identifier: Apache-2.0
"""Fetch the lists of the packages inside stored images, as far as their streams have them.

They're only told to people: an image is published without waiting for its list, and a
list that can't be had fails nothing. The next run tries again.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import select, update

from webapp.extensions import db
from webapp.fetch import Fetched, Fetcher, FetchProblem
from webapp.models import BootResource, BootSource, PackageList, ResourceSet
from webapp.services.images.keys import key_of
from webapp.services.imports.plans import SourceState
from webapp.services.sources import sources
from webapp.services.system import statements
from webapp.streams.mapping import MAX_PACKAGE_LIST, Item
from webapp.streams.urls import normalise

MAX_LISTS = 100  # fetched by one run
TIME_S = 15.0  # for one of them

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Wish:
    """A list that stored versions lack, and who has it."""

    source_id: int
    item: Item
    set_ids: tuple[int, ...]


def collect(states: Iterable[SourceState], is_stopped: Callable[[], bool]) -> int:
    """Fetch what is missing; returns how many lists there are more. Commits."""
    wishes = _wishes(states)
    known = _known({wish.item.sha256 for wish in wishes})
    for wish in wishes:
        if wish.item.sha256 in known:
            _assign(wish)
    db.session.commit()
    missing = [wish for wish in wishes if wish.item.sha256 not in known][:MAX_LISTS]
    rows = db.session.scalars(
        select(BootSource).where(BootSource.id.in_({wish.source_id for wish in missing}))
    ).all()
    added = 0
    for source in rows:
        mine = [wish for wish in missing if wish.source_id == source.id]
        added += _fetch(normalise(source.url).root, sources.fetcher_for(source, is_stopped), mine)
    return added


def _wishes(states: Iterable[SourceState]) -> list[_Wish]:
    """Stored versions without a list that their source has; one wish a list."""
    offered: dict[tuple[int | str | None, ...], Item] = {
        (state.id, *key_of(offer), version, offer.label): item
        for state in states
        if state.is_judged
        for offer in state.offers
        for version, item in offer.package_lists
    }
    columns = (BootResource.source_id, BootResource.name, BootResource.architecture)
    rows = db.session.execute(
        select(ResourceSet.id, *columns, ResourceSet.version, ResourceSet.label)
        .join(BootResource, BootResource.id == ResourceSet.resource_id)
        .where(ResourceSet.packages_sha256 == "", BootResource.current_set_id.is_not(None))
    )
    wishes: dict[str, _Wish] = {}
    for set_id, *line in rows:
        if tuple(line) in offered:
            item = offered[tuple(line)]
            wish = wishes.setdefault(item.sha256, _Wish(int(line[0] or 0), item, ()))
            wishes[item.sha256] = replace(wish, set_ids=(*wish.set_ids, set_id))
    return list(wishes.values())


def _known(digests: Iterable[str]) -> set[str]:
    query = select(PackageList.sha256).where(PackageList.sha256.in_(sorted(digests)))
    return set(db.session.scalars(query))


def _fetch(root: str, fetcher: Fetcher, wishes: Iterable[_Wish]) -> int:
    """Fetch these lists from one source, until it fails in a way that others will too."""
    fetcher.limits = replace(
        fetcher.limits, metadata_bytes=MAX_PACKAGE_LIST, total_metadata_s=TIME_S
    )
    added = 0
    with closing(fetcher):
        for wish in wishes:
            db.session.commit()  # no transaction while the network takes its time
            try:
                answer = fetcher.metadata(root + wish.item.path)
            except FetchProblem as problem:
                log.info("a package list could not be fetched", problem=str(problem))
                if problem.code != "http-status" or problem.is_temporary:
                    break
                continue
            if isinstance(answer, Fetched) and _is_right(answer.content, wish.item):
                _store(wish, answer.content)
                added += 1
    return added


def _is_right(content: bytes, item: Item) -> bool:
    return len(content) == item.size and hashlib.sha256(content).hexdigest() == item.sha256


def _store(wish: _Wish, content: bytes) -> None:
    db.session.execute(
        statements.insert_new(PackageList),
        [{"sha256": wish.item.sha256, "content": zlib.compress(content, 6)}],
    )
    _assign(wish)
    db.session.commit()


def _assign(wish: _Wish) -> None:
    statements.execute(
        update(ResourceSet)
        .where(ResourceSet.id.in_(wish.set_ids))
        .values(packages_sha256=wish.item.sha256)
    )
