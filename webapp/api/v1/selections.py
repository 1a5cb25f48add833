# SPDX-License-Identifier: Apache-2.0
"""``/catalogue`` and ``/plan``: what's offered, what's selected, what the next import does."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from webapp.api.v1.callers import demand
from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Page, ProblemItem, RequestModel, ResponseModel
from webapp.services.accounts.rights import Right
from webapp.services.imports import offers, preview, selecting
from webapp.services.sources import catalogue
from webapp.services.sources.catalogue import Box, Release

routes = Routes("catalogue")


class CatalogueFilter(RequestModel):
    """Which images: all given fields must match."""

    os: str = Field("", max_length=200)
    release: str = Field("", max_length=200)
    arch: str = Field("", max_length=200)
    is_selected: bool | None = None


class CatalogueImageResponse(ResponseModel):
    """A release for an architecture. size: bytes of its files; new_size: of those not stored."""

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


class ImageChoice(RequestModel):
    """An image: a release of an operating system for an architecture, ``*`` for all."""

    os: str = Field(max_length=200)
    release: str = Field(max_length=200)
    arch: str = Field("*", max_length=200)

    @property
    def key(self) -> selecting.Choice:
        """As the service takes it."""
        return self.os, self.release, self.arch


class SelectionChangeRequest(RequestModel):
    """Images to select and deselect, in one step.

    is_imported: also start the import, which needs the scope import.
    is_preview: only show what would change.
    """

    add: list[ImageChoice] = Field(default_factory=list, max_length=1000)
    remove: list[ImageChoice] = Field(default_factory=list, max_length=1000)
    is_imported: bool = False
    is_preview: bool = False


class SelectionChangeResponse(ResponseModel):
    """What changed, or would change. new_bytes: to download; freed_bytes: on the disk."""

    added: list[str]
    removed: list[str]
    stored_removed: list[str] = Field(description="Those of them that machines can boot now")
    new_bytes: int
    freed_bytes: int
    is_done: bool


class PlannedSetResponse(ResponseModel):
    """A version that the next import downloads. size: bytes that aren't stored yet."""

    name: str
    architecture: str
    version: str
    label: str
    source_id: int
    why: str
    size: int


class PlanReasonResponse(ResponseModel):
    """An image that will be deleted, or stays as it is."""

    name: str
    architecture: str
    why: str


class PlanResponse(ResponseModel):
    """What the next import will do, and why, unless its sources change first."""

    fetch: list[PlannedSetResponse]
    bytes_to_fetch: int
    retire: list[PlanReasonResponse]
    keep: list[PlanReasonResponse]
    refuse: list[ProblemItem]


@routes("GET", "/catalogue", Right.SEE)
def read_all(call: Call[CatalogueFilter, None]) -> Page[CatalogueImageResponse]:
    """List the images that can be selected, with their sizes."""
    picture, wanted = catalogue.read(), call.query
    found = [_image(box, rel) for rel in picture.releases for box in rel.boxes.values()]
    found += [_image(box, None) for box in picture.missing]
    return Page[CatalogueImageResponse](
        items=[
            image
            for image in found
            if wanted.os in ("", image.os)
            and wanted.release in ("", image.release)
            and wanted.arch in ("", image.arch)
            and wanted.is_selected in (None, image.is_selected)
        ]
    )


@routes("POST", "/catalogue", Right.SELECT, state=read_all)
def choose(call: Call[CatalogueFilter, SelectionChangeRequest]) -> SelectionChangeResponse:
    """Select and deselect images, all or none, whichever sources offer them.

    If-Match takes the ETag of the catalogue as read with the same query.
    """
    sent = call.body
    if sent.is_imported:
        demand(call.caller, Right.IMPORT)
    proposal = selecting.of_choices(
        [choice.key for choice in sent.add], [choice.key for choice in sent.remove]
    )
    if not sent.is_preview:
        selecting.save(proposal, call.actor, is_imported=sent.is_imported)
    pending = proposal.pending
    return SelectionChangeResponse(
        added=[_name(box) for box in pending.added],
        removed=[_name(box) for box in pending.removed],
        stored_removed=[_name(box) for box in pending.stored],
        new_bytes=pending.new_bytes,
        freed_bytes=pending.freed_bytes,
        is_done=not sent.is_preview,
    )


class OffersFilter(RequestModel):
    """Which images: those selected or offered by several sources, or all."""

    is_all: bool = False


class ContenderItem(ResponseModel):
    """What a source offers of an image. why: the reason that it's used or not."""

    source_id: int
    source_url: str
    priority: int
    version: str
    label: str
    size: int
    is_selected: bool
    is_winner: bool
    why: str


class OfferedImageResponse(ResponseModel):
    """An image with the sources that offer it. stored_version: empty if none is stored."""

    name: str
    architecture: str
    title: str
    stored_version: str
    sources: list[ContenderItem]


@routes("GET", "/offers", Right.SEE)
def read_offers(call: Call[OffersFilter, None]) -> Page[OfferedImageResponse]:
    """Compare what boot sources offer: who provides each image, and why."""
    found = [
        OfferedImageResponse(
            name=one.key.name,
            architecture=one.key.architecture,
            title=one.title,
            stored_version=one.stored_version,
            sources=[ContenderItem.model_validate(each) for each in one.contenders],
        )
        for one in offers.read(wants_all=call.query.is_all)
    ]
    return Page[OfferedImageResponse](items=found)


@routes("GET", "/plan", Right.SEE)
def plan(call: PlainCall) -> PlanResponse:
    """Preview what the next import will do, and why."""
    found = preview.next_plan()
    missing = {blob.sha256: blob.size - blob.received for blob in found.to_fetch}
    return PlanResponse(
        fetch=[
            PlannedSetResponse(
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
        refuse=[ProblemItem(**one.problem.as_dict()) for one in found.refusals],
    )


def _image(box: Box, release: Release | None) -> CatalogueImageResponse:
    return CatalogueImageResponse(
        os=box.pick.os,
        release=box.pick.release,
        arch=box.pick.arch,
        title=box.title,
        version=box.version,
        size=box.size,
        new_size=box.new_size,
        is_selected=box.is_selected,
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


def _reason(key: tuple[str, str], why: str) -> PlanReasonResponse:
    return PlanReasonResponse(name=key[0], architecture=key[1], why=why)
