# SPDX-License-Identifier: Apache-2.0
"""``/catalogue`` and ``/plan``: what could be had, what is ticked, what the next import does."""

from __future__ import annotations

from datetime import UTC, date, datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.schemas import Given, Page, Told, Words
from webapp.errors import InvalidFields
from webapp.services.accounts.tokens import Scope
from webapp.services.imports import preview, runs
from webapp.services.sources import catalogue, changes, selections
from webapp.services.sources.catalogue import Box, Picture, Release

TAG = "catalogue"


class CatalogueFilter(Given):
    """Which of it: everything that is named must match."""

    os: str = Field("", max_length=200)
    release: str = Field("", max_length=200)
    arch: str = Field("", max_length=200)
    selected: bool | None = None


class CatalogueImage(Told):
    """One architecture of a release. Sizes in bytes: of all its files, of those not stored yet."""

    os: str
    release: str
    arch: str
    title: str
    version: str
    size: int
    new_size: int
    is_selected: bool
    is_stored: bool
    is_offered: bool
    source_id: int
    source: str
    other_sources: list[str]
    is_lts: bool
    support_until: date | None


class Choice(Given):
    """One image: an operating system's release for an architecture, ``*`` for every one."""

    os: str = Field(max_length=200)
    release: str = Field(max_length=200)
    arch: str = Field("*", max_length=200)


class ChoiceChange(Given):
    """What to tick and what to untick, in one step.

    imports: also start the import. is_preview: only tell what would change.
    """

    add: list[Choice] = Field(default_factory=list, max_length=1000)
    remove: list[Choice] = Field(default_factory=list, max_length=1000)
    imports: bool = False
    is_preview: bool = False


class ChoiceChanged(Told):
    """What changed, or would change. Bytes to fetch, and bytes that become free."""

    added: list[str]
    removed: list[str]
    stored_removed: list[str] = Field(description="Of those, what machines boot from today")
    new_bytes: int
    freed_bytes: int
    is_done: bool


class PlannedTold(Told):
    """A version that the next import fetches. size: bytes of it that are missing here."""

    name: str
    architecture: str
    version: str
    label: str
    source_id: int
    why: str
    size: int


class ReasonTold(Told):
    """An image that goes, or that stays as it is."""

    name: str
    architecture: str
    why: str


class PlanTold(Told):
    """What the next import does, and why, if the sources are still as they were last read."""

    fetch: list[PlannedTold]
    bytes_to_fetch: int
    retire: list[ReasonTold]
    keep: list[ReasonTold]
    refuse: list[Words]


def read_all(call: Call) -> Page[CatalogueImage]:
    """List what can be selected, with sizes."""
    picture = catalogue.read(datetime.now(UTC).date())
    wanted = call.query
    found = []
    for release in picture.releases:
        found += [_told(box, release) for box in release.boxes.values()]
    found += [_told(box, None) for box in picture.missing]
    return Page[CatalogueImage](
        items=[
            image
            for image in found
            if wanted.os in ("", image.os)
            and wanted.release in ("", image.release)
            and wanted.arch in ("", image.arch)
            and wanted.selected in (None, image.is_selected)
        ]
    )


def choose(call: Call) -> ChoiceChanged:
    """Tick and untick images, all or nothing, whichever source they come from.

    If-Match takes the ETag of the catalogue, as it was read with the same query.
    """
    given: ChoiceChange = call.body
    picture = catalogue.read(datetime.now(UTC).date())
    before = picture.ticked
    add = {pick for choice in given.add for pick in _picks(picture, choice, "add")}
    remove = {pick for choice in given.remove for pick in _picks(picture, choice, "remove")}
    ticked = (before | add) - remove
    pending = changes.pending(picture, ticked)
    if pending and not given.is_preview:
        selections.replace_picks(changes.spoken_for(picture, ticked), ticked, call.actor)
    if given.imports and not given.is_preview:
        runs.queue("manual", call.actor)
    return ChoiceChanged(
        added=[_name(box) for box in pending.added],
        removed=[_name(box) for box in pending.removed],
        stored_removed=[_name(box) for box in pending.stored],
        new_bytes=pending.new_bytes,
        freed_bytes=pending.freed_bytes,
        is_done=not given.is_preview,
    )


def plan(call: Call) -> PlanTold:
    """Tell what the next import would do and why, before it does it."""
    found = preview.next_plan()
    missing = {blob.sha256: blob.size - blob.received for blob in found.to_fetch}
    return PlanTold(
        fetch=[
            PlannedTold(
                name=one.key.name,
                architecture=one.key.architecture,
                version=one.offer.version,
                label=one.offer.label,
                source_id=one.source_id,
                why=one.why,
                size=sum(missing.get(digest, 0) for digest in one.digests),
            )
            for one in found.sets
        ],
        bytes_to_fetch=sum(missing.values()),
        retire=[_reason(one.key, one.why) for one in found.retire],
        keep=[_reason(one.key, one.why) for one in found.untouched],
        refuse=[Words(**one.problem.as_dict()) for one in found.refusals],
    )


def _picks(picture: Picture, choice: Choice, field: str) -> set[selections.Pick]:
    found = {
        box.pick
        for box in picture.boxes
        if (box.pick.os, box.pick.release) == (choice.os, choice.release)
        and choice.arch in ("*", box.pick.arch)
    }
    if not found:
        name = f"{choice.os}/{choice.release} {choice.arch}"
        raise InvalidFields({field: [f"No source offers {name[:200]}. See the catalogue."]})
    return found


def _told(box: Box, release: Release | None) -> CatalogueImage:
    return CatalogueImage(
        os=box.pick.os,
        release=box.pick.release,
        arch=box.pick.arch,
        title=box.title,
        version=box.version,
        size=box.size,
        new_size=box.new_size,
        is_selected=box.is_ticked,
        is_stored=box.is_stored,
        is_offered=release is not None,
        source_id=box.pick.source_id,
        source=box.source_name,
        other_sources=list(box.others),
        is_lts=release is not None and release.is_lts,
        support_until=release.support_eol if release else None,
    )


def _name(box: Box) -> str:
    return f"{box.pick.os}/{box.pick.release} {box.pick.arch}"


def _reason(key: tuple[str, str], why: str) -> ReasonTold:
    return ReasonTold(name=key[0], architecture=key[1], why=why)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/catalogue",
        read_all,
        Scope.READ,
        TAG,
        query=CatalogueFilter,
        answer=Page[CatalogueImage],
    ),
    Endpoint(
        "POST",
        "/catalogue",
        choose,
        Scope.ADMIN,
        TAG,
        query=CatalogueFilter,
        body=ChoiceChange,
        answer=ChoiceChanged,
        state=read_all,
    ),
    Endpoint("GET", "/plan", plan, Scope.READ, TAG, answer=PlanTold),
)
