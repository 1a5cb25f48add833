# SPDX-License-Identifier: Apache-2.0
"""The versions of an image: which one machines get, what stays, and what changes."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, RequestModel, ResponseModel
from webapp.models import Priority
from webapp.services.accounts.rights import Right
from webapp.services.images import comparing, history, priorities, steering, versions
from webapp.services.images.differences import Change
from webapp.services.images.history import VersionLine
from webapp.services.images.keys import Image
from webapp.services.images.steering import Switched

routes = Routes("images")
ONE = "/images/<string:os>/<string:release>/<string:arch>"
_KERNEL = Field("", max_length=200, description="Only this kernel of the image, e.g. `hwe-24.04`")
_VERSION = Field("", max_length=200)


class KernelFilter(RequestModel):
    """Which kernels: all of the image unless one is named."""

    kernel: str = _KERNEL


class VersionChoice(KernelFilter):
    """A version of an image. ``version``: the current one when it's left out."""

    version: str = _VERSION


class SwitchRequest(KernelFilter):
    """The version that machines will boot; the one before the current when it's left out."""

    version: str = _VERSION


class KeepingRequest(KernelFilter):
    """How many versions stay, and for how many days after a machine last fetched one.

    null: as in the settings.
    """

    keep_versions: int | None = Field(None, ge=1, le=steering.MAX_KEPT)
    keep_days: int | None = Field(None, ge=0, le=steering.MAX_DAYS)


class PriorityFields(RequestModel):
    """When an import downloads the image: high ones come first, low ones last."""

    priority: Priority


class PriorityResponse(ResponseModel):
    """When an import downloads the image."""

    priority: Priority


class DifferenceFilter(KernelFilter):
    """Two versions: by default, the current one and the one before it."""

    before: str = _VERSION
    after: str = _VERSION


class ImageVersionResponse(ResponseModel):
    """A stored version. kernels: those that have it; current: those that machines get it with."""

    version: str
    label: str
    size: int
    kernels: list[str]
    current: list[str]
    is_current: bool
    is_locked: bool
    completed_at: datetime | None
    fetched_at: datetime | None
    kept_because: str
    kept_until: datetime | None


class ImageVersionsResponse(ResponseModel):
    """The stored versions of an image, the newest first.

    keep_versions, keep_days: what the image has of its own, null for the settings. offered:
    versions that aren't stored, and that the next import downloads if the image is pinned to one.
    """

    offered: list[str]
    is_pinned: bool
    is_locked: bool
    keep_versions: int | None
    keep_days: int | None
    versions: list[ImageVersionResponse]


class SwitchResponse(ResponseModel):
    """What machines get now. is_pinned: imports won't change it.

    before: the former version by architecture. stayed: kernels without this version,
    with the one that they still have. coming: those for which the next import fetches it.
    """

    version: str
    is_pinned: bool
    before: dict[str, str]
    stayed: dict[str, str]
    coming: list[str]


class ChangeResponse(ResponseModel):
    """Something that differs; empty on the side that lacks it. kind: added, removed, changed."""

    name: str
    kind: str
    before: str
    after: str


class DifferenceResponse(ResponseModel):
    """What one version changes against another. new_bytes: of files that the first one lacks.

    packages: null when the packages of the versions in ``unknown`` aren't known.
    """

    before: str
    after: str
    packages: list[ChangeResponse] | None
    unknown: list[str]
    kernels: list[ChangeResponse]
    files: list[ChangeResponse]
    size_before: int
    size_after: int
    new_bytes: int


@routes("GET", f"{ONE}/versions", Right.SEE)
def read_versions(
    call: Call[KernelFilter, None], os: str, release: str, arch: str
) -> ImageVersionsResponse:
    """List the stored versions of an image, and what each is kept for."""
    return _versions(versions.ids_of(os, release, arch, call.query.kernel))


@routes("PUT", f"{ONE}/current", Right.SELECT)
def switch(call: Call[Empty, SwitchRequest], os: str, release: str, arch: str) -> SwitchResponse:
    """Make a stored version current: roll back, or forward again, without a download.

    An older version is pinned, so that no import undoes it; the newest one is unpinned.
    """
    ids = versions.ids_of(os, release, arch, call.body.kernel)
    return _switched(steering.roll(ids, call.body.version, call.actor))


@routes("PUT", f"{ONE}/pin", Right.SELECT)
def pin(call: Call[Empty, VersionChoice], os: str, release: str, arch: str) -> SwitchResponse:
    """Pin the image to a version, so imports don't replace it.

    One that isn't stored is downloaded by the next import, if a boot source offers it.
    """
    ids = versions.ids_of(os, release, arch, call.body.kernel)
    return _switched(steering.pin(ids, call.body.version, call.actor))


@routes("DELETE", f"{ONE}/pin", Right.SELECT)
def unpin(call: Call[KernelFilter, None], os: str, release: str, arch: str) -> None:
    """Unpin the image, so the next import can update it."""
    steering.unpin(versions.ids_of(os, release, arch, call.query.kernel), call.actor)


@routes("PUT", f"{ONE}/lock", Right.SELECT)
def lock(
    call: Call[Empty, VersionChoice], os: str, release: str, arch: str
) -> ImageVersionsResponse:
    """Protect the image or, if one is named, a version of it from deletion."""
    ids = versions.ids_of(os, release, arch, call.body.kernel)
    steering.lock(ids, call.body.version, call.actor)
    return _versions(ids)


@routes("DELETE", f"{ONE}/lock", Right.SELECT)
def unlock(call: Call[VersionChoice, None], os: str, release: str, arch: str) -> None:
    """Unlock the image or, if one is named, a version of it."""
    ids = versions.ids_of(os, release, arch, call.query.kernel)
    steering.unlock(ids, call.query.version, call.actor)


@routes("PUT", f"{ONE}/keeping", Right.SELECT)
def keep(
    call: Call[Empty, KeepingRequest], os: str, release: str, arch: str
) -> ImageVersionsResponse:
    """Set how many versions of the image to keep, and for how long."""
    ids = versions.ids_of(os, release, arch, call.body.kernel)
    steering.keep(ids, call.body.keep_versions, call.body.keep_days, call.actor)
    return _versions(ids)


@routes("GET", f"{ONE}/priority", Right.SEE)
def read_priority(call: PlainCall, os: str, release: str, arch: str) -> PriorityResponse:
    """Read the priority of an image, stored or not."""
    return PriorityResponse(priority=priorities.of(Image(f"{os}/{release}", arch)))


@routes("PUT", f"{ONE}/priority", Right.SELECT)
def change_priority(
    call: Call[Empty, PriorityFields], os: str, release: str, arch: str
) -> PriorityResponse:
    """Set the priority of an image, stored or not, from the next import on."""
    priorities.change(Image(f"{os}/{release}", arch), call.body.priority, call.actor)
    return PriorityResponse(priority=call.body.priority)


@routes("GET", f"{ONE}/difference", Right.SEE)
def compare(
    call: Call[DifferenceFilter, None], os: str, release: str, arch: str
) -> DifferenceResponse:
    """Compare two stored versions: packages, kernels, files and bytes."""
    ids = versions.ids_of(os, release, arch, call.query.kernel)
    found = comparing.compare(ids, call.query.before, call.query.after)
    return DifferenceResponse(
        before=found.before,
        after=found.after,
        packages=None if found.packages is None else [_change(one) for one in found.packages],
        unknown=list(found.unknown),
        kernels=[_change(one) for one in found.kernels],
        files=[_change(one) for one in found.files],
        size_before=found.size_before,
        size_after=found.size_after,
        new_bytes=found.new_bytes,
    )


def _versions(ids: list[int]) -> ImageVersionsResponse:
    found = history.of(ids)
    return ImageVersionsResponse(
        offered=list(found.offered),
        is_pinned=found.is_pinned,
        is_locked=found.is_locked,
        keep_versions=found.keep_versions,
        keep_days=found.keep_days,
        versions=[_version(line) for line in found.lines],
    )


def _version(line: VersionLine) -> ImageVersionResponse:
    return ImageVersionResponse(
        version=line.version,
        label=line.label,
        size=line.size,
        kernels=list(line.kernels),
        current=list(line.current),
        is_current=line.is_current,
        is_locked=line.is_locked,
        completed_at=line.completed_at,
        fetched_at=line.fetched_at,
        kept_because=line.why,
        kept_until=line.until,
    )


def _switched(done: Switched) -> SwitchResponse:
    return SwitchResponse(
        version=done.version,
        is_pinned=done.is_pinned,
        before=done.before,
        stayed=done.stayed,
        coming=done.coming,
    )


def _change(one: Change) -> ChangeResponse:
    return ChangeResponse(name=one.name, kind=one.kind, before=one.before, after=one.after)
