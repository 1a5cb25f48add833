# SPDX-License-Identifier: Apache-2.0
"""``/sources``: boot sources, what they would give, and what is selected of each."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.schemas import Done, Given, Page, Told, Words
from webapp.errors import InvalidFields
from webapp.models import BootSource, BootSourceSelection
from webapp.services.accounts.tokens import Scope
from webapp.services.sources import catalogue, refreshing, selections, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.streams.filters import Wanted

TAG = "sources"
ONE = "/sources/<int:id>"
_DRAFT = {
    "url": "url",
    "name": "name",
    "priority": "priority",
    "enabled": "is_enabled",
    "unsigned": "is_unsigned",
    "keyring_filename": "keyring_filename",
    "proxy_url": "proxy_url",
    "ca_file": "ca_file",
    "auth_kind": "auth_kind",
    "auth_username": "auth_username",
    "auth_secret": "auth_secret",
    "auth_in_clear": "auth_in_clear",
}


class SourceChange(Given):
    """A boot source; what is left out keeps its value.

    keyring: the public keys themselves, armoured or in base64; it takes the place of a
    keyring file, and the other way round.
    """

    url: str | None = Field(None, max_length=2000)
    name: str | None = Field(None, max_length=200)
    priority: int | None = Field(None, ge=-1000000, le=1000000)
    enabled: bool | None = None
    unsigned: bool | None = None
    keyring_filename: str | None = Field(None, max_length=4000)
    keyring: str | None = None
    proxy_url: str | None = Field(None, max_length=2000)
    ca_file: str | None = Field(None, max_length=4000)
    auth_kind: str | None = Field(None, pattern="^(none|basic|bearer)$")
    auth_username: str | None = Field(None, max_length=200)
    auth_secret: str | None = Field(None, max_length=4000)
    auth_in_clear: bool | None = Field(None, description="The login may go over plain http")


class SourceGiven(SourceChange):
    """A new boot source: where its signed stream is, and exactly one keyring."""

    url: str = Field(max_length=2000)


class Source(Told):
    """A boot source. problem: why its stream could not be read the last time."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset(
        {
            "checked_at",
            "refreshed_at",
            "index_updated_at",
            "signed_at",
            "signer",
            "problem",
            "updated_at",
        }
    )

    id: int
    url: str
    name: str
    priority: int
    enabled: bool
    unsigned: bool
    keyring_filename: str
    has_keyring_data: bool
    proxy_url: str = Field(description="Without the user and password it may have")
    ca_file: str
    auth_kind: str
    auth_username: str
    auth_in_clear: bool
    created_at: datetime
    updated_at: datetime
    checked_at: datetime | None
    refreshed_at: datetime | None
    index_updated_at: datetime | None
    signed_at: datetime | None
    signer: str
    problem: Words | None


class OfferedTold(Told):
    """One release that a source would give; bytes of its newest version."""

    title: str
    arches: list[str]
    size: int


class PreviewTold(Told):
    """What a source would give, read once and saved nowhere."""

    url: str
    fingerprint: str
    signed_at: datetime | None
    index_updated_at: datetime | None
    offers: list[OfferedTold]
    skipped: int = Field(description="Products that are of no known kind")
    warnings: list[Words]


class SelectionGiven(Given):
    """What to import from a source; ``*`` means any."""

    os: str = Field(max_length=200)
    release: str = Field(max_length=200)
    arches: list[str] = Field(["*"], min_length=1, max_length=100)
    subarches: list[str] = Field(["*"], min_length=1, max_length=100)
    labels: list[str] = Field(["*"], min_length=1, max_length=100)


class Selection(Told):
    """What is imported from a source."""

    id: int
    source_id: int
    os: str
    release: str
    arches: list[str]
    subarches: list[str]
    labels: list[str]


def read_all(call: Call) -> Page[Source]:
    """List the boot sources, the one that wins first."""
    return Page[Source](items=[told(row) for row in sources.all_sources()])


def create(call: Call) -> Source:
    """Add a boot source; what it offers is read in the background."""
    row = sources.add(_draft(call.body, SourceDraft(url="")), call.actor)
    return told(row)


def read(call: Call, id: int) -> Source:
    """Read a boot source."""
    return told(sources.get(id))


def change(call: Call, id: int) -> Source:
    """Change a boot source; its selections stay."""
    row = sources.get(id)
    sources.update_source(row, _draft(call.body, sources.draft_of(row)), call.actor)
    return told(row)


def remove(call: Call, id: int) -> None:
    """Remove a boot source with its selections; stored images stay until the next import."""
    sources.remove(sources.get(id), call.actor)


def preview(call: Call) -> PreviewTold:
    """Read a source as an import would and tell what it offers; nothing is saved."""
    found = sources.connect(_draft(call.body, SourceDraft(url="")))
    return PreviewTold(
        url=found.url,
        fingerprint=found.fingerprint,
        signed_at=found.signed_at,
        index_updated_at=found.index_updated_at,
        offers=[
            OfferedTold(title=one.title, arches=list(one.arches), size=one.size)
            for one in catalogue.offered(found.offers)
        ],
        skipped=found.skipped,
        warnings=[Words(**warning.as_dict()) for warning in found.warnings],
    )


def refresh(call: Call, id: int) -> Done:
    """Let the worker read a boot source again, now."""
    refreshing.mark_unread(sources.get(id))
    return Done(message="The source is being read.")


def read_selections(call: Call, id: int) -> Page[Selection]:
    """List what is selected of a boot source."""
    sources.get(id)
    return Page[Selection](items=[_selection(row) for row in selections.of_source(id)])


def select(call: Call, id: int) -> Selection:
    """Select something; it comes with the next import."""
    return _selection(selections.add(sources.get(id), _wanted(call.body), call.actor))


def read_selection(call: Call, id: int, selection_id: int) -> Selection:
    """Read a selection."""
    return _selection(selections.get(id, selection_id))


def change_selection(call: Call, id: int, selection_id: int) -> Selection:
    """Replace what a selection says."""
    row = selections.get(id, selection_id)
    return _selection(selections.change(row, _wanted(call.body), call.actor))


def unselect(call: Call, id: int, selection_id: int) -> None:
    """Remove a selection; its images go with the next import."""
    selections.remove(selections.get(id, selection_id), call.actor)


def told(row: BootSource) -> Source:
    """A source as clients read it, without its secrets."""
    problem = refreshing.problem_of(row)
    return Source(
        id=row.id,
        url=row.url,
        name=row.name,
        priority=row.priority,
        enabled=row.is_enabled,
        unsigned=row.is_unsigned,
        keyring_filename=row.keyring_filename,
        has_keyring_data=row.keyring_data is not None,
        proxy_url=_without_user(row.proxy_url),
        ca_file=row.ca_file,
        auth_kind=row.auth_kind,
        auth_username=row.auth_username,
        auth_in_clear=row.auth_in_clear,
        created_at=row.created_at,
        updated_at=row.updated_at,
        checked_at=row.checked_at,
        refreshed_at=row.refreshed_at,
        index_updated_at=row.index_updated_at,
        signed_at=row.signed_at,
        signer=row.signer_fingerprint,
        problem=Words(**problem.as_dict()) if problem else None,
    )


def _draft(given: SourceChange, before: SourceDraft) -> SourceDraft:
    """The draft that a body makes of another one; what was sent wins."""
    sent = given.model_dump(exclude_unset=True, exclude_none=True)
    values: dict[str, Any] = {_DRAFT[name]: sent[name] for name in sent if name in _DRAFT}
    if sent.get("keyring"):
        values["keyring_data"] = _keys(sent["keyring"])
        values.setdefault("keyring_filename", "")
    elif sent.get("keyring_filename"):
        values["keyring_data"] = None
    return replace(before, **values)


def _keys(text: str) -> bytes:
    """Armoured text as it is, all else as base64."""
    if text.lstrip().startswith("-----BEGIN PGP"):
        return text.encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidFields(
            {"keyring": ["Send the armoured text of the keys, or the keyring in base64."]}
        ) from None


def _without_user(url: str) -> str:
    if "@" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _wanted(given: SelectionGiven) -> Wanted:
    return Wanted(
        os=given.os,
        release=given.release,
        arches=tuple(given.arches),
        subarches=tuple(given.subarches),
        labels=tuple(given.labels),
    )


def _selection(row: BootSourceSelection) -> Selection:
    return Selection.model_validate(row)


_ONE_SELECTION = f"{ONE}/selections/<int:selection_id>"
ENDPOINTS = (
    Endpoint("GET", "/sources", read_all, Scope.READ, TAG, answer=Page[Source]),
    Endpoint(
        "POST", "/sources", create, Scope.ADMIN, TAG, body=SourceGiven, answer=Source, status=201
    ),
    Endpoint(
        "POST", "/sources/preview", preview, Scope.ADMIN, TAG, body=SourceGiven, answer=PreviewTold
    ),
    Endpoint("GET", ONE, read, Scope.READ, TAG, answer=Source),
    Endpoint("PATCH", ONE, change, Scope.ADMIN, TAG, body=SourceChange, answer=Source, state=read),
    Endpoint("DELETE", ONE, remove, Scope.ADMIN, TAG, state=read),
    Endpoint("POST", f"{ONE}/refresh", refresh, Scope.IMPORT, TAG, answer=Done, status=202),
    Endpoint("GET", f"{ONE}/selections", read_selections, Scope.READ, TAG, answer=Page[Selection]),
    Endpoint(
        "POST",
        f"{ONE}/selections",
        select,
        Scope.ADMIN,
        TAG,
        body=SelectionGiven,
        answer=Selection,
        status=201,
    ),
    Endpoint("GET", _ONE_SELECTION, read_selection, Scope.READ, TAG, answer=Selection),
    Endpoint(
        "PUT",
        _ONE_SELECTION,
        change_selection,
        Scope.ADMIN,
        TAG,
        body=SelectionGiven,
        answer=Selection,
        state=read_selection,
    ),
    Endpoint("DELETE", _ONE_SELECTION, unselect, Scope.ADMIN, TAG, state=read_selection),
)
