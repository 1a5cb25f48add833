# SPDX-License-Identifier: Apache-2.0
"""Boot sources: try one, add it, change it, read what it offers.

The catalogue of a source is replaced in one transaction after everything was
fetched and verified; whatever goes wrong before that leaves the old one.
"""

from __future__ import annotations

import os  # os.path: pathlib raises for a name that is too long or not allowed
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import undefer

from webapp.errors import InvalidFields, NotFound, Problem
from webapp.extensions import db, settings
from webapp.fetch import Fetcher, Limits, Route, Stopped
from webapp.models import BootSource, BootSourceCache, StreamDocument, utcnow
from webapp.services import events, secrets
from webapp.streamclient import (
    KnownDocument,
    Snapshot,
    StreamSource,
    read_stream,
)
from webapp.streams.errors import KeyringProblem
from webapp.streams.keyrings import KeyInfo, Keyring, load_keyring, read_keyring
from webapp.streams.mapping import Offer
from webapp.streams.urls import normalise

# The key that signs images.maas.io, to compare a keyring with (issue of trust: shown, not assumed).
MAAS_IO_FINGERPRINT = "4A3CE3CD565D7EB5C810E2B97FF3F408476CF100"
MAX_URL = 2000


@dataclass(frozen=True)
class SourceDraft:
    """What a person or a script says about a source; ``auth_secret`` is in clear here."""

    url: str
    name: str = ""
    priority: int | None = None  # None: above all others
    is_enabled: bool = True
    keyring_filename: str = ""
    keyring_data: bytes | None = None
    is_unsigned: bool = False
    proxy_url: str = ""
    ca_file: str = ""
    auth_kind: str = "none"
    auth_username: str = ""
    auth_secret: str = ""


@dataclass(frozen=True)
class Preview:
    """What a source would give, read once and saved nowhere."""

    url: str
    keys: tuple[KeyInfo, ...]
    fingerprint: str
    signed_at: datetime | None
    index_updated_at: datetime | None
    offers: tuple[Offer, ...]
    skipped: int
    warnings: tuple[Problem, ...]


@dataclass(frozen=True)
class RefreshOutcome:
    """How reading one source went; ``problem`` is None when it went well."""

    source_id: int
    is_unchanged: bool
    problem: Problem | None
    warnings: tuple[Problem, ...] = ()


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
            "There is no such boot source.",
            where=f"boot source {source_id}",
            next_step="Look at the list of boot sources; it may have been removed.",
        )
    return source


def check(draft: SourceDraft, source_id: int | None = None) -> tuple[SourceDraft, Keyring | None]:
    """Normalise a draft and test its keyring; raises InvalidFields, touches no network."""
    problems: dict[str, list[str]] = {}
    draft = replace(draft, url=_checked_url(draft.url, source_id, problems))
    keyring = None
    if draft.keyring_filename and draft.keyring_data:
        problems["__all__"] = ["Only one of keyring_filename or keyring_data can be specified."]
    elif not draft.is_unsigned and not draft.keyring_filename and not draft.keyring_data:
        problems["__all__"] = ["One of keyring_data or keyring_filename must be specified."]
    elif not draft.is_unsigned:
        keyring = _tested_keyring(draft, problems)
    if draft.is_unsigned:
        draft = replace(draft, keyring_filename="", keyring_data=None)
    elif draft.url and not normalise(draft.url).is_signed:
        problems["url"] = [
            "This index is not signed. Use the address of the signed one (index.sjson), "
            "or say explicitly that the source is unsigned."
        ]
    _check_route(draft, problems)
    if problems:
        raise InvalidFields(problems)
    return draft, keyring


def connect(draft: SourceDraft, source_id: int | None = None) -> Preview:
    """Read a source as an import would and say what it offers; nothing is saved.

    Raises InvalidFields for the draft itself and Problem for what the mirror did.
    """
    draft, keyring = check(draft, source_id)
    snapshot = read_stream(
        StreamSource(url=normalise(draft.url), keyring=keyring),
        _fetcher(_route(draft), draft.url),
        {},
        stale_days=settings().stale_days,
    )
    return Preview(
        url=draft.url,
        keys=keyring.keys if keyring else (),
        fingerprint=snapshot.fingerprint,
        signed_at=snapshot.signed_at,
        index_updated_at=snapshot.index_updated_at,
        offers=snapshot.offers,
        skipped=len(snapshot.skipped),
        warnings=snapshot.warnings,
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
    return source


def update_source(source: BootSource, draft: SourceDraft, actor: str) -> BootSource:
    """Change a source; its selections and every other source stay (LP §1.23-4).

    Another URL or keyring makes the old proofs worthless: their documents are
    forgotten for a new URL, and fetched and verified again for a new keyring.
    """
    draft, _ = check(draft, source.id)
    is_moved = draft.url != source.url
    trust = ("keyring_filename", "keyring_data", "is_unsigned")
    is_rekeyed = any(getattr(draft, name) != getattr(source, name) for name in trust)
    before = source.url
    _apply(source, draft)
    if is_moved:
        db.session.execute(delete(StreamDocument).where(StreamDocument.source_id == source.id))
        source.index_updated_at = source.signed_at = source.refreshed_at = None
        source.signer_fingerprint = ""
    elif is_rekeyed:
        db.session.execute(
            update(StreamDocument)
            .where(StreamDocument.source_id == source.id)
            .values(etag="", last_modified="")
        )
    if is_moved or is_rekeyed:
        source.checked_at = None
    events.record(
        "source.changed", actor=actor, subject=source.url, source=source.id, before=before
    )
    db.session.commit()
    return source


def remove(source: BootSource, actor: str) -> None:
    """Delete a source with its selections and catalogue; stored images stay (S9)."""
    events.record("source.removed", actor=actor, subject=source.url, source=source.id)
    db.session.execute(delete(BootSource).where(BootSource.id == source.id))
    db.session.commit()


def draft_of(source: BootSource) -> SourceDraft:
    """The source as a draft, e.g. to change a part of it."""
    names = {f.name for f in fields(SourceDraft)} - {"auth_secret"}
    values = {name: getattr(source, name) for name in names}
    return SourceDraft(**values, auth_secret=secrets.unseal(source.auth_secret))


def keyring_of(source: BootSource) -> Keyring | None:
    """The keys that may sign this source now; None when it is unsigned by consent.

    A keyring file is read at use, so that a changed file counts at once.
    Raises KeyringProblem; for a missing file it names the three ways out.
    """
    if source.is_unsigned:
        return None
    if source.keyring_data is not None:
        return load_keyring(source.keyring_data)
    if not os.path.exists(source.keyring_filename):
        raise _missing_keyring(source.keyring_filename)
    return read_keyring(source.keyring_filename)


def fetcher_for(source: BootSource, is_stopped: Callable[[], bool] | None = None) -> Fetcher:
    """A fetcher that takes this source's route and keeps to our limits."""
    return _fetcher(_route(draft_of(source)), source.url, is_stopped)


def refresh(source: BootSource, is_stopped: Callable[[], bool] | None = None) -> RefreshOutcome:
    """Read one source and replace its catalogue, or keep it and note why not.

    Stopped on request, it changes nothing: that is no trouble of the source.
    """
    source_id, url, stamp = source.id, source.url, source.updated_at
    try:
        keyring = keyring_of(source)
        snapshot = read_stream(
            StreamSource(url=normalise(url), keyring=keyring),
            fetcher_for(source, is_stopped),
            _known_documents(source_id),
            stale_days=settings().stale_days,
        )
    except Stopped as problem:
        db.session.rollback()
        return RefreshOutcome(source_id, False, problem)
    except Problem as problem:
        db.session.rollback()
        _note_problem(source_id, problem)
        return RefreshOutcome(source_id, False, problem)
    db.session.rollback()
    _store_snapshot(source_id, stamp, snapshot)
    return RefreshOutcome(source_id, snapshot.is_unchanged, None, snapshot.warnings)


def refresh_all(is_stopped: Callable[[], bool]) -> list[RefreshOutcome]:
    """Read every enabled source, each on its own: one that fails stops no other."""
    outcomes = []
    for source in all_sources():
        if is_stopped():
            break
        if source.is_enabled:
            outcomes.append(refresh(source, is_stopped))
    return outcomes


def refresh_unread(is_stopped: Callable[[], bool] | None = None) -> int:
    """Read sources that nobody read since they were added or changed; returns how many."""
    unread = db.session.scalars(
        select(BootSource).where(BootSource.checked_at.is_(None), BootSource.is_enabled)
    ).all()
    for source in unread:
        refresh(source, is_stopped)
    return len(unread)


def mark_unread(source: BootSource) -> None:
    """Have the worker read the source at its next look."""
    _write_health(source.id, {"checked_at": None})
    db.session.commit()


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


def _store_snapshot(source_id: int, stamp: datetime, snapshot: Snapshot) -> None:
    """One transaction: documents, catalogue, health. Skipped when the source moved meanwhile."""
    # Locked, so that two processes that read one source store it one after the other.
    source = db.session.get(BootSource, source_id, populate_existing=True, with_for_update=True)
    if source is None or source.updated_at != stamp:
        db.session.rollback()
        return
    now = utcnow()
    health = {"checked_at": now, "refreshed_at": now, **_cleared_error()}
    if not snapshot.is_unchanged:
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
        db.session.add_all(
            BootSourceCache(source_id=source_id, **offer.as_columns()) for offer in snapshot.offers
        )
        health |= {
            "index_updated_at": snapshot.index_updated_at,
            "signed_at": snapshot.signed_at,
            "signer_fingerprint": snapshot.fingerprint,
        }
    _write_health(source_id, health)
    db.session.commit()


def _note_problem(source_id: int, problem: Problem) -> None:
    details = {f"error_{name}": text for name, text in problem.as_dict().items()}
    _write_health(source_id, {"checked_at": utcnow(), **details})
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


# -- checking a draft


def _checked_url(url: str, source_id: int | None, problems: dict[str, list[str]]) -> str:
    if not url.strip():
        problems["url"] = ["This field is required."]
        return ""
    try:
        normal = normalise(url.strip())
    except Problem as problem:
        problems["url"] = ["Enter a valid URL.", problem.what]
        return ""
    address = normal.url
    if len(address) > MAX_URL:
        problems["url"] = [f"Ensure this value has at most {MAX_URL} characters."]
        return ""
    taken = db.session.scalar(
        select(BootSource.id).where(BootSource.url == address, BootSource.id != (source_id or 0))
    )
    if taken is not None:
        problems["url"] = ["Boot source with this Url already exists."]
    return address


def _tested_keyring(draft: SourceDraft, problems: dict[str, list[str]]) -> Keyring | None:
    try:
        if draft.keyring_data:
            return load_keyring(draft.keyring_data)
        if not os.path.exists(draft.keyring_filename):
            raise _missing_keyring(draft.keyring_filename)
        return read_keyring(draft.keyring_filename)
    except Problem as problem:
        name = "keyring_data" if draft.keyring_data else "keyring_filename"
        problems[name] = [str(problem)]
        return None


def _missing_keyring(path: str) -> KeyringProblem:
    return KeyringProblem(
        "The keyring file of this boot source is not on this machine.",
        code="keyring-missing",
        where=path,
        expected="a file with the public keys that sign the source",
        got="no such file",
        next_step=(
            "Install it (on Ubuntu: apt install ubuntu-keyring), or paste or upload the public "
            "key on the source's page, or give the path of another keyring file. Images from "
            "images.maas.io are signed by "
            f"{grouped(MAAS_IO_FINGERPRINT)}: compare before you trust."
        ),
    )


def grouped(fingerprint: str) -> str:
    """A fingerprint in groups of four, as people compare it."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def _check_route(draft: SourceDraft, problems: dict[str, list[str]]) -> None:
    if draft.proxy_url and urlsplit(draft.proxy_url).scheme not in ("http", "https"):
        problems["proxy_url"] = ["Enter the proxy as http://host:port/."]
    if draft.ca_file and not os.path.isfile(draft.ca_file):
        problems["ca_file"] = ["There is no such file on this machine."]
    if draft.auth_kind not in ("none", "basic", "bearer"):
        problems["auth_kind"] = ["Select none, basic or bearer."]
    elif draft.auth_kind == "basic" and not draft.auth_username:
        problems["auth_username"] = ["Enter the user name for the basic login."]
    if draft.auth_kind in ("basic", "bearer") and not draft.auth_secret:
        problems["auth_secret"] = ["Enter the password or token."]


def _apply(source: BootSource, draft: SourceDraft) -> None:
    values = asdict(draft)
    values["auth_secret"] = secrets.seal(draft.auth_secret)
    values["keyring_data"] = draft.keyring_data or None
    if draft.priority is None:
        top = db.session.scalar(select(func.max(BootSource.priority)))
        values["priority"] = 0 if top is None else top + 1
    for name, value in values.items():
        setattr(source, name, value)


def _route(draft: SourceDraft) -> Route:
    return Route(
        proxy_url=draft.proxy_url,
        ca_file=draft.ca_file,
        auth_kind=draft.auth_kind,
        username=draft.auth_username,
        secret=draft.auth_secret,
    )


def _fetcher(route: Route, url: str, is_stopped: Callable[[], bool] | None = None) -> Fetcher:
    limits = Limits(metadata_bytes=settings().metadata_max_mb << 20)
    return Fetcher(route, limits, is_stopped=is_stopped, deny_networks=settings().deny_networks)
