# SPDX-License-Identifier: Apache-2.0
"""``/images`` as pages show them, ``/resources`` as they're stored, with their versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import (
    Empty,
    Page,
    Paging,
    RequestModel,
    ResponseModel,
    WholePaging,
    page_of,
    part_of,
)
from webapp.models import BlobState, BootResource, Priority, ResourceSet
from webapp.services.accounts.rights import Right
from webapp.services.images import listing, ordering, steering, versions
from webapp.services.imports import delete_preview
from webapp.services.overview import status
from webapp.services.sources import catalogue
from webapp.services.uploads import removal

routes = Routes("images")
ONE = "/resources/<int:id>"


class ImageFields(ResponseModel):
    """An image that's stored or selected: all kernels of a release for an architecture."""

    name: str
    arch: str
    title: str
    status: str
    cause: str
    next_step: str
    percent: int | None
    stored_version: str | None
    label: str
    kernels: list[str]
    size: int
    source: str
    is_unsigned: bool
    is_uploaded: bool
    is_bootloader: bool
    completed_at: datetime | None
    is_pinned: bool = Field(description="Imports leave its version as it is")
    is_locked: bool = Field(description="Nothing may remove it")
    update: str = Field(description="The version that the pin keeps away, empty if there's none")
    pinned_version: str = Field(
        description="The version that the next import fetches and pins, empty for the current one"
    )
    priority: Priority = Field(description="When an import downloads it: high ones come first")


class ImageResponse(ImageFields):
    """An image with the ids of its boot resources, one per kernel."""

    resource_ids: list[int]


class ResourceFilter(Paging):
    """Which boot resources, and which page of the list."""

    type: Literal["all", "synced", "uploaded"] = "all"
    name: str = Field("", max_length=200)


class ResourceResponse(ResponseModel):
    """A boot resource: what machines of one architecture get under one name."""

    id: int
    type: str
    name: str
    architecture: str
    title: str
    subarches: list[str]
    base_image: str
    source_id: int | None
    version: str | None = Field(description="The current version, which machines boot")
    is_pinned: bool
    is_locked: bool
    updated_at: datetime


class FileResponse(ResponseModel):
    """A file of a version."""

    filename: str
    filetype: str
    sha256: str
    size: int
    is_complete: bool


class VersionResponse(ResponseModel):
    """A version of a boot resource. is_current: machines boot it."""

    version: str
    label: str
    size: int
    is_current: bool
    is_locked: bool
    is_unsigned: bool
    signer: str
    completed_at: datetime | None
    files: list[FileResponse]


class ResourceDetailResponse(ResourceResponse):
    """A boot resource with all its complete versions."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset({"updated_at"})

    versions: list[VersionResponse]


class CurrentVersionRequest(RequestModel):
    """The version machines will boot."""

    version: str = Field(max_length=100)


class DeletionResponse(ResponseModel):
    """What deleting would do. frees, shared: bytes freed, and bytes that other images share.

    comes_back: images that are still selected, so the next import downloads them again.
    used_by: number of machines that fetched it within the last week.
    """

    frees: int
    shared: int
    comes_back: list[str]
    used_by: int


@routes("GET", "/images", Right.SEE)
def read_images(call: Call[WholePaging, None]) -> Page[ImageResponse]:
    """List stored and selected images with their status, its cause and the next step."""
    picture = catalogue.read()
    part = part_of(tuple(ordering.read(picture)), call.query, lambda image: image)
    return Page[ImageResponse](
        items=[
            ImageResponse(**status.image_dict(one), resource_ids=list(one.resource_ids))
            for one in listing.listed(picture, set(part.items))
        ],
        next=part.next,
    )


@routes("GET", "/resources", Right.SEE)
def read_all(call: Call[ResourceFilter, None]) -> Page[ResourceResponse]:
    """List boot resources, oldest first."""
    wanted = call.query
    rows = listing.page_of_resources(
        rtype=None if wanted.type == "all" else wanted.type,
        name=wanted.name,
        after=wanted.cursor,
        limit=wanted.limit + 1,
    )
    return page_of(
        rows,
        wanted.limit,
        lambda found: _resource(*found),
        lambda found: found[0].id,
    )


@routes("GET", ONE, Right.SEE)
def read(call: PlainCall, id: int) -> ResourceDetailResponse:
    """Read a boot resource with its versions and files."""
    return _detail(id)


@routes("DELETE", ONE, Right.MANAGE, state=read)
def remove(call: PlainCall, id: int) -> None:
    """Delete a boot resource, and discard uploads to it."""
    removal.remove([id], call.actor)


@routes("GET", f"{ONE}/deletion", Right.SEE)
def preview_removal(call: PlainCall, id: int) -> DeletionResponse:
    """Preview what deleting would do; nothing is deleted."""
    listing.resource_with_sets(id)
    found = delete_preview.delete_preview([id])
    return DeletionResponse(
        frees=found.frees,
        shared=found.shared,
        comes_back=list(found.comes_back),
        used_by=found.used_by,
    )


@routes("PUT", f"{ONE}/current", Right.SELECT, state=read)
def make_current(call: Call[Empty, CurrentVersionRequest], id: int) -> ResourceDetailResponse:
    """Make another version current: roll back, or forward again.

    See `/images/{os}/{release}/{arch}/current`, which does it for all kernels at once.
    """
    steering.roll([id], call.body.version, call.actor)
    return _detail(id)


def _resource_of_version(call: PlainCall, id: int, version: str) -> ResourceDetailResponse:
    return _detail(id)


@routes("DELETE", f"{ONE}/versions/<string:version>", Right.MANAGE, state=_resource_of_version)
def remove_version(call: PlainCall, id: int, version: str) -> None:
    """Delete a version that is neither current nor locked."""
    versions.delete([id], version, call.actor)


def _detail(id: int) -> ResourceDetailResponse:
    row = listing.resource_with_sets(id)
    current = next((s.version for s in row.sets if s.id == row.current_set_id), None)
    kept = versions.of(id)
    found = _resource(row, current).model_dump()
    return ResourceDetailResponse(**found, versions=_versions(row, kept))


def _resource(row: BootResource, version: str | None) -> ResourceResponse:
    return ResourceResponse(
        id=row.id,
        type=row.rtype,
        name=row.name,
        architecture=row.architecture,
        title=row.title,
        subarches=row.subarches,
        base_image=row.base_image,
        source_id=row.source_id,
        version=version,
        is_pinned=row.pinned_at is not None,
        is_locked=row.locked_at is not None,
        updated_at=row.updated_at,
    )


def _versions(row: BootResource, kept: Sequence[ResourceSet]) -> list[VersionResponse]:
    return [
        VersionResponse(
            version=one.version,
            label=one.label,
            size=sum(file.blob.size for file in one.files),
            is_current=one.id == row.current_set_id,
            is_locked=one.locked_at is not None,
            is_unsigned=one.is_unsigned,
            signer=one.signer_fingerprint,
            completed_at=one.completed_at,
            files=[
                FileResponse(
                    filename=file.filename,
                    filetype=file.ftype,
                    sha256=file.blob.sha256,
                    size=file.blob.size,
                    is_complete=file.blob.state == BlobState.READY,
                )
                for file in sorted(one.files, key=lambda file: file.filename)
            ],
        )
        for one in kept
    ]
