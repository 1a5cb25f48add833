# SPDX-License-Identifier: Apache-2.0
"""``/images`` as people see them, ``/resources`` as they are stored, with their versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.schemas import Given, Page, Paging, Told
from webapp.models import BlobState, BootResource, ResourceSet
from webapp.services.accounts.tokens import Scope
from webapp.services.images import listing, versions
from webapp.services.imports import delete_preview
from webapp.services.overview import status
from webapp.services.sources import catalogue
from webapp.services.uploads import removal

TAG = "images"
ONE = "/resources/<int:id>"


class ImageTold(Told):
    """An image that is stored or selected: all kernels of a release for an architecture."""

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
    unsigned: bool
    uploaded: bool
    bootloader: bool
    completed_at: datetime | None
    resource_ids: list[int]


class ResourceFilter(Paging):
    """Which boot resources, and which part of the list."""

    type: Literal["all", "synced", "uploaded"] = "all"
    name: str = Field("", max_length=200)


class ResourceTold(Told):
    """A boot resource: what machines of one architecture get under one name."""

    id: int
    type: str
    name: str
    architecture: str
    title: str
    subarches: list[str]
    base_image: str
    source_id: int | None
    version: str | None = Field(description="What machines get now")
    updated_at: datetime


class FileTold(Told):
    """A file of a version."""

    filename: str
    filetype: str
    sha256: str
    size: int
    complete: bool


class VersionTold(Told):
    """A version of a boot resource. is_current: machines get it."""

    version: str
    label: str
    size: int
    is_current: bool
    is_unsigned: bool
    signer: str
    completed_at: datetime | None
    files: list[FileTold]


class WholeResource(ResourceTold):
    """A boot resource with every version that machines can get of it."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset({"updated_at"})

    versions: list[VersionTold]


class CurrentGiven(Given):
    """Which version machines are to get."""

    version: str = Field(max_length=100)


class DeletionTold(Told):
    """What deleting would do. Bytes that become free, and those that other images share.

    comes_back: images that are still selected, so that the next import fetches them again.
    used_by: machines that fetched it within a week.
    """

    frees: int
    shared: int
    comes_back: list[str]
    used_by: int


def read_images(call: Call) -> Page[ImageTold]:
    """List what is stored or selected, with its status, cause and next step."""
    found = listing.listed(catalogue.read(datetime.now(UTC).date()))
    return Page[ImageTold](
        items=[
            ImageTold(**status.image_dict(one), resource_ids=list(one.resource_ids))
            for one in found
        ]
    )


def read_all(call: Call) -> Page[ResourceTold]:
    """List boot resources in the order they were made."""
    wanted: ResourceFilter = call.query
    rows = listing.page_of_resources(
        rtype=None if wanted.type == "all" else wanted.type,
        name=wanted.name,
        after=wanted.cursor,
        limit=wanted.limit + 1,
    )
    more = len(rows) > wanted.limit
    rows = rows[: wanted.limit]
    return Page[ResourceTold](
        items=[ResourceTold(**_values(row, version)) for row, version in rows],
        next=rows[-1][0].id if more else None,
    )


def read(call: Call, id: int) -> WholeResource:
    """Read a boot resource with its versions and files."""
    row = listing.resource_with_sets(id)
    current = next((s.version for s in row.sets if s.id == row.current_set_id), None)
    kept = [s for s in row.sets if s.completed_at and not s.retired_at]
    kept.sort(key=lambda one: one.version, reverse=True)
    return WholeResource(**_values(row, current), versions=_versions(row, kept))


def remove(call: Call, id: int) -> None:
    """Delete a boot resource; what is being uploaded to it is dropped as well."""
    removal.remove([id], call.actor)


def foresee_removal(call: Call, id: int) -> DeletionTold:
    """Tell what deleting would do; nothing is deleted."""
    listing.resource_with_sets(id)
    found = delete_preview.delete_preview([id])
    return DeletionTold(
        frees=found.frees,
        shared=found.shared,
        comes_back=list(found.comes_back),
        used_by=found.used_by,
    )


def make_current(call: Call, id: int) -> WholeResource:
    """Let machines get another version of an uploaded image: roll back, or forward again."""
    versions.make_current(id, call.body.version, call.actor)
    return read(call, id)


def remove_version(call: Call, id: int, version: str) -> None:
    """Delete a version of an uploaded image that machines do not get."""
    versions.delete(id, version, call.actor)


def _image_of_version(call: Call, id: int, version: str) -> WholeResource:
    return read(call, id)


def _values(row: BootResource, version: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "type": row.rtype,
        "name": row.name,
        "architecture": row.architecture,
        "title": row.title,
        "subarches": row.subarches,
        "base_image": row.base_image,
        "source_id": row.source_id,
        "version": version,
        "updated_at": row.updated_at,
    }


def _versions(row: BootResource, kept: Sequence[ResourceSet]) -> list[VersionTold]:
    return [
        VersionTold(
            version=one.version,
            label=one.label,
            size=sum(file.blob.size for file in one.files),
            is_current=one.id == row.current_set_id,
            is_unsigned=one.is_unsigned,
            signer=one.signer_fingerprint,
            completed_at=one.completed_at,
            files=[
                FileTold(
                    filename=file.filename,
                    filetype=file.ftype,
                    sha256=file.blob.sha256,
                    size=file.blob.size,
                    complete=file.blob.state == BlobState.READY,
                )
                for file in sorted(one.files, key=lambda file: file.filename)
            ],
        )
        for one in kept
    ]


ENDPOINTS = (
    Endpoint("GET", "/images", read_images, Scope.READ, TAG, answer=Page[ImageTold]),
    Endpoint(
        "GET",
        "/resources",
        read_all,
        Scope.READ,
        TAG,
        query=ResourceFilter,
        answer=Page[ResourceTold],
    ),
    Endpoint("GET", ONE, read, Scope.READ, TAG, answer=WholeResource),
    Endpoint("DELETE", ONE, remove, Scope.ADMIN, TAG, state=read),
    Endpoint("GET", f"{ONE}/deletion", foresee_removal, Scope.READ, TAG, answer=DeletionTold),
    Endpoint(
        "PUT",
        f"{ONE}/current",
        make_current,
        Scope.ADMIN,
        TAG,
        body=CurrentGiven,
        answer=WholeResource,
        state=read,
    ),
    Endpoint(
        "DELETE",
        f"{ONE}/versions/<string:version>",
        remove_version,
        Scope.ADMIN,
        TAG,
        state=_image_of_version,
    ),
)
