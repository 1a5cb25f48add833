# SPDX-License-Identifier: Apache-2.0
"""``/catalogue`` and ``/plan``: what's offered, what's selected, what the next import does."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from webapp.api.v1.callers import demand
from webapp.api.v1.dispatch import Call, Routes
from webapp.api.v1.run_items import StartedRunItem, started_item
from webapp.api.v1.schemas import (
    Page,
    ProblemItem,
    RequestModel,
    ResponseModel,
)
from webapp.errors import InvalidFields
from webapp.services.accounts.rights import Right
from webapp.services.imports import preview, selecting
from webapp.services.imports.plan_report import Reason
from webapp.services.sources import catalogue
from webapp.services.sources.kernels import KernelChange
from webapp.services.sources.picture import Box, Release

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
    rules: list[str] = Field(description="Titles of the rules that select it")
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
    kernels: list[str] | None = Field(
        None,
        max_length=100,
        description="Names of the kernels that the release has on all its architectures, "
        "`*` for all; left out: those it has. Only for images to select",
    )

    @property
    def key(self) -> selecting.Choice:
        """As the service takes it."""
        return self.os, self.release, self.arch


class SelectionChangeRequest(RequestModel):
    """Images to select and deselect, in one step.

    is_imported: also start the import, which needs the scope import.
    is_preview: only show what would change. commission: the release to commission with in
    place of the commissioning release that's deselected.
    """

    add: list[ImageChoice] = Field(default_factory=list, max_length=1000)
    remove: list[ImageChoice] = Field(default_factory=list, max_length=1000)
    is_imported: bool = False
    is_preview: bool = False
    commission: str = Field("", max_length=200)


class SelectionChangeResponse(ResponseModel):
    """What changed, or would change. new_bytes: to download; freed_bytes: on the disk.

    loses_commissioning: the commissioning release, if it's among what is deselected;
    replacements: those to choose ``commission`` from.
    """

    added: list[str]
    removed: list[str]
    stored_removed: list[str] = Field(description="Those of them that machines can boot now")
    kernels_added: list[str]
    kernels_removed: list[str]
    warnings: list[str] = Field(description="What machines would miss")
    new_bytes: int
    freed_bytes: int
    loses_commissioning: str
    replacements: list[str]
    is_done: bool
    run: StartedRunItem | None = Field(description="The import, null if none was asked for")


class PlannedSetResponse(ResponseModel):
    """A version that machines will get. size: bytes that aren't stored yet; bytes: of all files.

    kind: add, replace or repair. before: the version that it replaces.
    """

    kind: str
    name: str
    architecture: str
    version: str
    before: str
    label: str
    source_id: int
    source: str
    why: str
    size: int
    bytes: int


class PlanReasonResponse(ResponseModel):
    """An image that will be removed, stays as it is or isn't wanted, and why.

    source: of one that isn't wanted. version: the stored one, or else the offered one.
    due: the day on which a version is old enough to be imported, empty where none waits.
    """

    name: str
    architecture: str
    version: str
    source: str
    why: str
    due: str


class PlanFilter(RequestModel):
    """What to tell of a plan."""

    has_unwanted: bool = Field(False, description="Also what is offered and not wanted")


class PlanResponse(ResponseModel):
    """What the next import will do, and why, unless its sources change first.

    digest: start exactly this plan with it (`POST /imports`). wait: images that only go
    when the plan is started that way. later: images without a version that is old enough.
    bytes_used, bytes_peak, bytes_final: use of the disk now, at most, and once the bin has
    let go; bytes_free: null where that's unknown.
    """

    digest: str
    fetch: list[PlannedSetResponse]
    bytes_to_fetch: int
    bytes_held: int
    bytes_used: int
    bytes_peak: int
    bytes_final: int
    bytes_free: int | None
    bytes_lacking: int
    retire: list[PlanReasonResponse]
    wait: list[PlanReasonResponse]
    keep: list[PlanReasonResponse]
    later: list[PlanReasonResponse]
    out: list[PlanReasonResponse]
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
        [choice.key for choice in sent.add], [choice.key for choice in sent.remove], _kernels(sent)
    )
    started = None
    if not sent.is_preview:
        started = selecting.save(
            proposal, call.actor, is_imported=sent.is_imported, commission=sent.commission
        )
    pending = proposal.pending
    return SelectionChangeResponse(
        added=[_name(box) for box in pending.added],
        removed=[_name(box) for box in pending.removed],
        stored_removed=[
            *(_name(box) for box in pending.stored),
            *(f"{_release(one)} {name}" for one in pending.kernels for name in one.lost),
        ],
        kernels_added=[f"{_release(k)} {name}" for k in pending.kernels for name in k.added],
        kernels_removed=[f"{_release(k)} {name}" for k in pending.kernels for name in k.removed],
        warnings=list(proposal.warnings),
        new_bytes=pending.new_bytes,
        freed_bytes=pending.freed_bytes,
        loses_commissioning=proposal.loss.release if proposal.loss else "",
        replacements=list(proposal.loss.replacements) if proposal.loss else [],
        is_done=not sent.is_preview,
        run=started_item(started),
    )


@routes("GET", "/plan", Right.SEE)
def plan(call: Call[PlanFilter, None]) -> PlanResponse:
    """Preview what the next import will do, and why."""
    found = preview.next_report()
    return PlanResponse(
        digest=found.digest,
        fetch=[
            PlannedSetResponse(
                kind=one.kind,
                name=one.name,
                architecture=one.architecture,
                version=one.version,
                before=one.before,
                label=one.label,
                source_id=one.source_id,
                source=one.source,
                why=one.why,
                size=one.bytes_to_fetch,
                bytes=one.bytes,
            )
            for one in found.actions
        ],
        bytes_to_fetch=found.bytes_to_fetch,
        bytes_held=found.bytes_held,
        bytes_used=found.used,
        bytes_peak=found.peak,
        bytes_final=found.final,
        bytes_free=found.free,
        bytes_lacking=found.lacks,
        retire=[_reason(one) for one in found.retire],
        wait=[_reason(one) for one in found.wait],
        keep=[_reason(one) for one in found.keep],
        later=[_reason(one) for one in found.later],
        out=[_reason(one) for one in found.out] if call.query.has_unwanted else [],
        refuse=[ProblemItem(**one) for one in found.refuse],
    )


def _kernels(sent: SelectionChangeRequest) -> dict[selecting.Release, list[str]]:
    """The choices of kernels by release; InvalidFields for two that differ."""
    chosen: dict[selecting.Release, list[str]] = {}
    for choice in sent.add:
        if choice.kernels is None:
            continue
        known = chosen.setdefault((choice.os, choice.release), choice.kernels)
        if set(known) != set(choice.kernels):
            name = f"{choice.os}/{choice.release}"[:200]
            message = f"{name} has the same kernels on all its architectures. Choose them once."
            raise InvalidFields({"kernels": [message]})
    return chosen


def _release(change: KernelChange) -> str:
    _, os, release = change.line
    return f"{os}/{release}"


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
        rules=list(box.rules),
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


def _reason(one: Reason) -> PlanReasonResponse:
    return PlanReasonResponse(
        name=one.name,
        architecture=one.architecture,
        version=one.version,
        source=one.source,
        why=one.why,
        due=one.due,
    )
