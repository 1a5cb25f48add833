# SPDX-License-Identifier: Apache-2.0
"""``/sources``: boot sources and their previews."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from webapp.api.v1.callers import Caller
from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import (
    Empty,
    MessageResponse,
    Page,
    ProblemItem,
    RequestModel,
    ResponseModel,
)
from webapp.api.v1.source_items import (
    ClientCertItem,
    DifferenceItem,
    LeftOutItem,
    MirrorSpeedItem,
    NoticeItem,
)
from webapp.errors import InvalidFields
from webapp.models import BootSource, Role
from webapp.services.accounts.rights import Right
from webapp.services.sources import announcing, catalogue, health, refreshing, sources
from webapp.services.sources.announcing import Announcements
from webapp.services.sources.client_certs import MAX_PEM_BYTES
from webapp.services.sources.drafts import MAX_PRIORITY, SourceDraft
from webapp.services.sources.health import SourceState

routes = Routes("sources")
ONE = "/sources/<int:id>"
_DRAFT = {
    "can_auth_in_clear": "auth_in_clear",
    "client_certificate": "client_cert",
}  # other fields have the same name


class SourceChangeRequest(RequestModel):
    """A boot source; fields left out keep their value.

    keyring: the public keys themselves, armored or in base64. It replaces a keyring file,
    and a keyring file replaces it.
    """

    url: str | None = Field(None, max_length=2000)
    name: str | None = Field(None, max_length=200)
    priority: int | None = Field(None, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    is_enabled: bool | None = None
    is_unsigned: bool | None = None
    keyring_filename: str | None = Field(None, max_length=4000)
    keyring: str | None = None
    mirrors: list[str] | None = Field(
        None, max_length=8, description="Further addresses of the same signed stream"
    )
    proxy_url: str | None = Field(None, max_length=2000)
    is_direct: bool | None = Field(None, description="Without a proxy, even one of the settings")
    ca_file: str | None = Field(None, max_length=4000)
    client_certificate: str | None = Field(
        None, max_length=MAX_PEM_BYTES, description="PEM; empty removes it, with its key"
    )
    client_key: str | None = Field(None, max_length=MAX_PEM_BYTES, description="PEM; never shown")
    auth_kind: str | None = Field(None, pattern="^(none|basic|bearer)$")
    auth_username: str | None = Field(None, max_length=200)
    auth_secret: str | None = Field(None, max_length=4000)
    can_auth_in_clear: bool | None = Field(None, description="Send the login over plain HTTP too")
    schedule: str | None = Field(None, max_length=100, description="Of its imports, e.g. 6 hours")
    confirmed_products: list[str] | None = Field(
        None,
        max_length=1000,
        description="Products that the index lists and the documents lack, or the other way "
        "round; accepted by name for a mirror that was edited by hand",
    )


class SourceRequest(SourceChangeRequest):
    """A new boot source: the URL of its signed stream, and one keyring."""

    url: str = Field(max_length=2000)


class SourceResponse(ResponseModel):
    """A boot source. problem: why its stream couldn't be read at the last check."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset(
        {
            "checked_at",
            "refreshed_at",
            "index_updated_at",
            "signed_at",
            "signer",
            "problem",
            "state",
            "left_out",
            "differences",
            "warnings",
            "notices",
            "mirror_speeds",
            "route",
            "updated_at",
        }
    )

    id: int
    url: str
    name: str
    priority: int
    is_enabled: bool
    is_unsigned: bool
    keyring_filename: str
    has_keyring_data: bool
    mirrors: list[str]
    mirror_speeds: list[MirrorSpeedItem] = Field(
        description="What the last import measured; empty without mirrors"
    )
    proxy_url: str = Field(
        description="Empty unless you're an administrator. *** keeps the password."
    )
    is_direct: bool
    route: str = Field(
        description="How it's reached; for administrators who read this source alone"
    )
    ca_file: str
    client_certificate: ClientCertItem | None
    auth_kind: str
    auth_username: str = Field(description="Empty unless you're an administrator")
    can_auth_in_clear: bool
    schedule: str
    created_at: datetime
    updated_at: datetime
    checked_at: datetime | None
    refreshed_at: datetime | None
    index_updated_at: datetime | None
    signed_at: datetime | None
    signer: str
    left_out: list[LeftOutItem] = Field(description="At most 200")
    confirmed_products: list[str]
    differences: list[DifferenceItem] = Field(
        description="What problem stream-mixed is about; to accept them, add their names to "
        "confirmed_products"
    )
    warnings: list[ProblemItem] = Field(description="E.g. that the signing key expires soon")
    notices: list[NoticeItem]
    state: SourceState
    problem: ProblemItem | None


class OfferedReleaseResponse(ResponseModel):
    """A release that a source offers. size: bytes of its newest version."""

    title: str
    arches: list[str]
    size: int


class PreviewResponse(ResponseModel):
    """What a source offers; not saved."""

    url: str
    fingerprint: str
    signed_at: datetime | None
    index_updated_at: datetime | None
    offers: list[OfferedReleaseResponse]
    skipped: int = Field(description="Number of products of unknown kinds")
    left_out: list[LeftOutItem] = Field(description="Those skipped, at most 200")
    warnings: list[ProblemItem]


@routes("GET", "/sources", Right.SEE)
def read_all(call: PlainCall) -> Page[SourceResponse]:
    """List boot sources, highest priority first."""
    role, told = call.caller.sees, announcing.told(call.caller.user_id)
    rows = sources.all_sources()
    return Page[SourceResponse](items=[response_of(row, role, told) for row in rows])


@routes("POST", "/sources", Right.MANAGE, status=201)
def create(call: Call[Empty, SourceRequest]) -> SourceResponse:
    """Add a boot source; its catalogue is read in the background."""
    with api_names():
        row = sources.add(draft_from(call.body, SourceDraft(url="")), call.actor)
    return _response(row, call.caller)


@routes("GET", ONE, Right.SEE)
def read(call: PlainCall, id: int) -> SourceResponse:
    """Read a boot source."""
    row = sources.get(id)
    found = _response(row, call.caller)
    if call.caller.sees == Role.ADMINISTRATOR:
        found.route = sources.route_of(row)
    return found


@routes("PATCH", ONE, Right.MANAGE, state=read)
def change(call: Call[Empty, SourceChangeRequest], id: int) -> SourceResponse:
    """Change a boot source; its selections stay."""
    row = sources.get(id)
    with api_names():
        sources.update_source(row, draft_from(call.body, sources.draft_of(row)), call.actor)
    return _response(row, call.caller)


@routes("DELETE", ONE, Right.MANAGE, state=read)
def remove(call: PlainCall, id: int) -> None:
    """Remove a boot source and its selections; stored images stay until the next import."""
    sources.remove(sources.get(id), call.actor)


@routes("POST", "/sources/preview", Right.MANAGE)
def preview(call: Call[Empty, SourceRequest]) -> PreviewResponse:
    """Read a source as an import would, and show what it offers; nothing is saved."""
    with api_names():
        found = sources.connect(draft_from(call.body, SourceDraft(url="")))
    return PreviewResponse(
        url=found.url,
        fingerprint=found.fingerprint,
        signed_at=found.signed_at,
        index_updated_at=found.index_updated_at,
        offers=[
            OfferedReleaseResponse(title=one.title, arches=list(one.arches), size=one.size)
            for one in catalogue.offered(found.offers)
        ],
        skipped=len(found.skipped),
        left_out=[LeftOutItem(**one.as_dict()) for one in found.skipped[: refreshing.MAX_LEFT_OUT]],
        warnings=[ProblemItem(**warning.as_dict()) for warning in found.warnings],
    )


@routes("POST", f"{ONE}/refresh", Right.IMPORT, status=202)
def refresh(call: PlainCall, id: int) -> MessageResponse:
    """Check a boot source for changes now, in the background."""
    refreshing.mark_unread(sources.get(id))
    return MessageResponse(message="Refreshing the boot source.")


@routes("POST", f"{ONE}/notices/dismiss", Right.SEE, status=202)
def dismiss(call: PlainCall, id: int) -> MessageResponse:
    """Hide what the publisher announces from yourself, for two weeks."""
    announcing.dismiss(sources.get(id), call.caller.user_id, call.actor)
    return MessageResponse(message="Hidden from you for two weeks.")


def _response(row: BootSource, caller: Caller) -> SourceResponse:
    return response_of(row, caller.sees, announcing.told(caller.user_id))


def response_of(row: BootSource, role: Role, told: Announcements) -> SourceResponse:
    """A source without its secrets; how it is reached is for administrators."""
    is_whole = role == Role.ADMINISTRATOR
    found = health.judge(row)
    return SourceResponse(
        id=row.id,
        url=row.url,
        name=row.name,
        priority=row.priority,
        is_enabled=row.is_enabled,
        is_unsigned=row.is_unsigned,
        keyring_filename=row.keyring_filename,
        has_keyring_data=row.keyring_data is not None,
        mirrors=row.mirrors,
        mirror_speeds=[MirrorSpeedItem(**one) for one in row.mirror_speeds],
        proxy_url=row.proxy_url if is_whole else "",
        is_direct=row.is_direct,
        route="",
        ca_file=row.ca_file,
        client_certificate=ClientCertItem.of(row),
        auth_kind=row.auth_kind,
        auth_username=row.auth_username if is_whole else "",
        can_auth_in_clear=row.auth_in_clear,
        schedule=row.schedule,
        created_at=row.created_at,
        updated_at=row.updated_at,
        checked_at=row.checked_at,
        refreshed_at=row.refreshed_at,
        index_updated_at=row.index_updated_at,
        signed_at=row.signed_at,
        signer=row.signer_fingerprint,
        left_out=[LeftOutItem(**one) for one in row.left_out],
        confirmed_products=row.confirmed_products,
        differences=[DifferenceItem(**one) for one in row.differences],
        warnings=[ProblemItem(**one) for one in row.warnings],
        notices=[NoticeItem(**one) for one in told.of(row)],
        state=found.state,
        problem=ProblemItem(**found.problem.as_dict()) if found.problem else None,
    )


def draft_from(request: SourceChangeRequest, before: SourceDraft) -> SourceDraft:
    """A draft with the fields that were sent."""
    sent = request.model_dump(exclude_unset=True, exclude_none=True)
    keyring = sent.pop("keyring", "")
    values: dict[str, Any] = {_DRAFT.get(name, name): value for name, value in sent.items()}
    if values.get("client_cert") == "":
        values["client_key"] = ""
    elif "client_cert" in values:
        values.setdefault("client_key", "")  # it may be in the same text
    if keyring:
        values["keyring_data"] = keys_of(keyring)
        values.setdefault("keyring_filename", "")
    elif sent.get("keyring_filename"):
        values["keyring_data"] = None
    return replace(before, **values)


@contextmanager
def api_names() -> Iterator[None]:
    """Name fields in errors as this API does."""
    try:
        yield
    except InvalidFields as problem:
        names = {name: field for field, name in _DRAFT.items()} | {"keyring_data": "keyring"}
        fields = {names.get(name, name): words for name, words in problem.fields.items()}
        raise InvalidFields(fields) from None


def keys_of(text: str) -> bytes:
    """Armored text as it is, anything else decoded from base64."""
    if text.lstrip().startswith("-----BEGIN PGP"):
        return text.encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidFields({"keyring": ["Send the keys as armored text or base64."]}) from None
