# SPDX-License-Identifier: Apache-2.0
"""Boot sources: try one, add it, change it, read what it offers.

The catalogue of a source is replaced in one transaction after everything was
fetched and verified; whatever goes wrong before that leaves the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime

from sqlalchemy import delete, func, select, update

from webapp.errors import Conflict, NotFound, Problem
from webapp.extensions import db, settings
from webapp.fetch import Fetcher, FetchProblem, Route, is_file_url, origin_of
from webapp.models import BootSource, StreamDocument
from webapp.services.sources import client_certs, naming, steps
from webapp.services.sources.drafts import MAX_CONFIRMED, SourceDraft, check, keyring_file
from webapp.services.sources.steps import ENABLED, PRIORITY, Step
from webapp.services.system import events, fetching, live_settings, proxies, secrets
from webapp.services.system.wake import wake
from webapp.streamclient import (
    StreamSource,
    check_items,
    nearby,
    read_stream,
)
from webapp.streams.mapping import Offer, Skipped
from webapp.streams.urls import normalise
from webapp.trust.keyrings import KeyInfo, Keyring, load_keyring, read_keyring


@dataclass(frozen=True)
class Preview:
    """What a source would give, read once and saved nowhere."""

    url: str
    keys: tuple[KeyInfo, ...]
    fingerprint: str
    signed_at: datetime | None
    index_updated_at: datetime | None
    offers: tuple[Offer, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[Problem, ...]


def all_sources() -> Sequence[BootSource]:
    """Every source, the one that wins first: higher priority, then the older one."""
    return db.session.scalars(
        select(BootSource).order_by(BootSource.priority.desc(), BootSource.id)
    ).all()


def get(source_id: int) -> BootSource:
    """The source, or NotFound."""
    source = db.session.get(BootSource, source_id)
    if source is None:
        raise NotFound(
            "Boot source not found.",
            where=f"boot source {source_id}",
            next_step="It may have been removed. See the list of boot sources.",
        )
    return source


def connect(draft: SourceDraft, source_id: int | None = None) -> Preview:
    """Read a source as an import would and say what it offers; nothing is saved.

    Raises InvalidFields for the draft itself and Problem for what the mirror did.
    """
    draft, keyring = check(draft, source_id)
    confirmed = frozenset(draft.confirmed_products)
    source = StreamSource(normalise(draft.url), keyring, confirmed)
    fetcher = fetcher_of(draft)
    try:
        snapshot = read_stream(
            source, fetcher, {}, stale_days=settings().stale_days, keeps_content=False
        )
    except FetchProblem as problem:
        raise nearby.explained(problem, source, fetcher) from None
    # The index alone doesn't show which files are missing (rule: filtered-mirrors).
    missing = check_items(source, snapshot.offers, fetcher).problem
    return Preview(
        url=draft.url,
        keys=keyring.keys if keyring else (),
        fingerprint=snapshot.fingerprint,
        signed_at=snapshot.signed_at,
        index_updated_at=snapshot.index_updated_at,
        offers=snapshot.offers,
        skipped=snapshot.skipped,
        warnings=(*snapshot.warnings, missing) if missing else snapshot.warnings,
    )


def add(draft: SourceDraft, actor: str) -> BootSource:
    """Save a new source; the worker or the caller reads it afterwards."""
    draft, _ = check(draft)
    source = BootSource()
    _apply(source, draft)
    db.session.add(source)
    db.session.flush()
    events.record("source.added", actor=actor, subject=source.url, source=source.id)
    db.session.commit()
    wake()
    return source


def update_source(source: BootSource, draft: SourceDraft, actor: str) -> BootSource:
    """Change a source; its selections and every other source stay (LP §1.23-4).

    Another URL or keyring makes the old proofs worthless: their documents are
    forgotten for a new URL, and fetched and verified again for a new keyring.
    """
    draft, _ = check(draft, source.id)
    is_moved = draft.url != source.url
    if is_moved and list(draft.confirmed_products) == source.confirmed_products:
        draft = replace(draft, confirmed_products=())  # they were about the old address
    trust = ("keyring_filename", "keyring_data", "is_unsigned")
    is_rekeyed = any(getattr(draft, name) != getattr(source, name) for name in trust)
    before, ranked = source.url, (source.priority, source.is_enabled)
    if list(draft.mirrors) != source.mirrors:
        source.mirror_speeds = []
    _apply(source, draft)
    if is_moved:
        db.session.execute(delete(StreamDocument).where(StreamDocument.source_id == source.id))
        source.index_updated_at = source.signed_at = source.refreshed_at = None
        source.signer_fingerprint = ""
        source.left_out = source.differences = source.warnings = source.notices = []
    elif is_rekeyed:
        db.session.execute(
            update(StreamDocument)
            .where(StreamDocument.source_id == source.id)
            .values(etag="", last_modified="")
        )
    source.checked_at = None  # whatever changed may be what was wrong, so it is read again
    _remember(source, *ranked, actor)
    events.record(
        "source.changed", actor=actor, subject=source.url, source=source.id, before=before
    )
    db.session.commit()
    wake()
    return source


def accept(source: BootSource, products: Collection[str], actor: str) -> None:
    """Accept the products on which the index and the documents disagree, as they were shown.

    Raises Conflict when they are others by now, or more than can be accepted.
    """
    differing = {one["product"] for one in source.differences}
    confirmed = list(dict.fromkeys([*source.confirmed_products, *sorted(differing)]))
    if not differing or differing != set(products):
        raise Conflict(
            "What differs has changed since it was shown.",
            expected="the differences that the boot source's page shows",
            next_step="Review them on the boot source's page and accept again.",
        )
    if len(confirmed) > MAX_CONFIRMED:
        raise Conflict(
            "The index and the documents disagree on too many products.",
            expected=f"at most {MAX_CONFIRMED}",
            got=str(len(confirmed)),
            next_step="Contact the publisher of the stream.",
        )
    source.confirmed_products, source.differences, source.checked_at = confirmed, [], None
    events.record("source.accepted", actor=actor, subject=source.url, source=source.id,
                  products=len(differing))  # fmt: skip
    db.session.commit()
    wake()


def switch(source: BootSource, is_on: bool, actor: str) -> None:
    """Turn a source on or off; nothing of it is lost, and it is read when it is turned on."""
    before = source.is_enabled
    source.is_enabled, source.checked_at = is_on, None
    _remember(source, source.priority, before, actor)
    events.record("source.switched", actor=actor, subject=source.url, source=source.id, on=is_on)
    db.session.commit()
    wake()


def titles() -> Mapping[int, str]:
    """What every source is called, by its id."""
    columns = select(BootSource.id, BootSource.name, BootSource.url)
    return naming.titles(db.session.execute(columns))


def rank(source: BootSource, priority: int, actor: str) -> None:
    """Give a source another priority."""
    before = source.priority
    source.priority, source.checked_at = priority, None
    _remember(source, before, source.is_enabled, actor)
    events.record("source.ranked", actor=actor, subject=source.url, source=source.id,
                  before=before, after=priority)  # fmt: skip
    db.session.commit()
    wake()


def remove(source: BootSource, actor: str) -> None:
    """Delete a source, its selections and its catalogue (rule: source-removal-keeps-images)."""
    steps.forget(source.id)
    events.record("source.removed", actor=actor, subject=source.url, source=source.id)
    db.session.execute(delete(BootSource).where(BootSource.id == source.id))
    db.session.commit()


def _remember(source: BootSource, priority: int, is_enabled: bool, actor: str) -> None:
    """Let a change of these two be undone."""
    name = naming.title_of(source)
    made, words = [], []
    if source.priority != priority:
        made.append(Step(PRIORITY, priority, source.priority, source.id))
        words.append(f"priority {priority} to {source.priority}")
    if source.is_enabled != is_enabled:
        made.append(Step(ENABLED, is_enabled, source.is_enabled, source.id))
        words.append("enabled" if source.is_enabled else "disabled")
    steps.record(made, f"{name}: {', '.join(words)}", actor)


def draft_of(source: BootSource) -> SourceDraft:
    """The source as a draft, e.g. to change a part of it."""
    names = {f.name for f in fields(SourceDraft)} - {"auth_secret", "client_key", "proxy_url"}
    values = {name: getattr(source, name) for name in names}
    return SourceDraft(
        **values,
        auth_secret=secrets.unseal(source.auth_secret),
        client_key=secrets.unseal(source.client_key),
        proxy_url=proxies.join(source.proxy_url, secrets.unseal(source.proxy_login)),
    )


def keyring_of(source: BootSource) -> Keyring | None:
    """The keys that may sign this source now; None when it is unsigned by consent.

    A keyring file is read at use, so that a changed file counts at once.
    Raises KeyringProblem; for a missing file it names the three ways out.
    """
    if source.is_unsigned:
        return None
    if source.keyring_data is not None:
        return load_keyring(source.keyring_data)
    return read_keyring(keyring_file(source.keyring_filename))


def fetcher_for(source: BootSource, is_stopped: Callable[[], bool] | None = None) -> Fetcher:
    """A fetcher that takes this source's route and keeps to our limits."""
    return fetcher_of(draft_of(source), is_stopped)


def _apply(source: BootSource, draft: SourceDraft) -> None:
    values = asdict(draft)
    values["auth_secret"] = secrets.seal(draft.auth_secret)
    values["client_key"] = secrets.seal(draft.client_key)
    values["client_cert_ends_at"] = client_certs.ends_at(draft.client_cert)
    values["proxy_url"], login = proxies.split(draft.proxy_url)
    values["proxy_login"] = secrets.seal(login)
    values["keyring_data"] = draft.keyring_data or None
    values["confirmed_products"] = list(draft.confirmed_products)
    values["mirrors"] = list(draft.mirrors)
    if draft.priority is None:
        top = db.session.scalar(select(func.max(BootSource.priority)))
        values["priority"] = 0 if top is None else top + 1
    for name, value in values.items():
        setattr(source, name, value)


def proxy_of(draft: SourceDraft) -> str:
    """The proxy that a draft is reached through, with its password; "" for none."""
    if draft.is_direct or is_file_url(draft.url):
        return ""
    return draft.proxy_url or live_settings.proxy_for_sources(draft.url)


def route_of(source: BootSource) -> str:
    """How a source is reached now, in words, without any password."""
    if is_file_url(source.url):
        return "from a folder of this server"
    if source.is_direct:
        return "directly"
    if source.proxy_url:
        return f"through {source.proxy_url}, its own proxy"
    try:
        proxy = proxies.shown(live_settings.proxy_for_sources(source.url))
    except Problem as problem:  # its password can't be read
        return problem.what
    return f"through {proxy}, the proxy of the settings" if proxy else "directly"


def fetcher_of(
    draft: SourceDraft,
    is_stopped: Callable[[], bool] | None = None,
    *,
    retries: int | None = None,
) -> Fetcher:
    """A fetcher that takes a draft's route. retries: after the first try, the usual if None."""
    return fetching.fetcher(
        Route(
            proxy_url=proxy_of(draft),
            ca_file=draft.ca_file,
            client_cert=draft.client_cert,
            client_key=draft.client_key,
            client_origin=origin_of(draft.url) if draft.client_cert else "",
            auth_kind=draft.auth_kind,
            username=draft.auth_username,
            secret=draft.auth_secret,
            is_clear_fine=draft.auth_in_clear,
        ),
        is_stopped,
        retries=retries,
        files=fetching.folders(),
    )
