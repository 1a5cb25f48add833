# SPDX-License-Identifier: Apache-2.0
"""``/bin``: images that were removed, restored without a download or given up for good."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, RequestModel, ResponseModel
from webapp.models import Role
from webapp.services.accounts.rights import Right
from webapp.services.images import binning
from webapp.services.imports import restoring

routes = Routes("images")
ONE = "/bin/<string:os>/<string:release>/<string:arch>"


class KernelChoice(RequestModel):
    """Which kernels: all of the image unless one is named."""

    kernel: str = Field("", max_length=200, description="Only this kernel, e.g. `hwe-24.04`")


class BinnedImageResponse(ResponseModel):
    """An image in the bin. bytes: those that emptying it frees. left_s: seconds until it goes.

    removed_by: empty for viewers, who see no names of users.
    """

    os: str
    release: str
    name: str
    arch: str
    title: str
    version: str
    kernels: list[str]
    why: str
    removed_by: str
    removed_at: datetime
    goes_at: datetime
    left_s: int
    bytes: int


class BinResponse(ResponseModel):
    """What is in the bin, the latest first. bytes: what emptying all of it frees."""

    bytes: int
    images: list[BinnedImageResponse]


class RestoredResponse(ResponseModel):
    """What came back. is_selected: it was selected again as well.

    warning: why the next import would remove it again, and what to do; empty if it wouldn't.
    """

    name: str
    arch: str
    kernels: list[str]
    is_selected: bool
    warning: str


class EmptiedResponse(ResponseModel):
    """What was given up. bytes: freed once no machine can still be booting from it."""

    images: int
    bytes: int


@routes("GET", "/bin", Right.SEE)
def read_bin(call: PlainCall) -> BinResponse:
    """List the images in the bin, with the time left and the bytes held."""
    found = binning.read()
    is_named = call.caller.sees != Role.VIEWER
    return BinResponse(
        bytes=found.bytes,
        images=[
            BinnedImageResponse(
                **one.link,
                name=one.name,
                title=one.title,
                version=one.version,
                kernels=list(one.kernels),
                why=one.why,
                removed_by=one.by if is_named else "",
                removed_at=one.binned_at,
                goes_at=one.until,
                left_s=one.left_s,
                bytes=one.bytes,
            )
            for one in found.images
        ],
    )


@routes("POST", f"{ONE}/restore", Right.SELECT)
def restore(call: Call[Empty, KernelChoice], os: str, release: str, arch: str) -> RestoredResponse:
    """Restore an image from the bin, without a download, and select it again if need be."""
    found = binning.find(os, release, arch, call.body.kernel)
    done = restoring.restore(found, call.actor)
    return RestoredResponse(
        name=done.name,
        arch=done.arch,
        kernels=list(done.kernels),
        is_selected=done.is_selected,
        warning=done.warning,
    )


@routes("POST", f"{ONE}/discard", Right.MANAGE)
def discard_binned(call: PlainCall, os: str, release: str, arch: str) -> EmptiedResponse:
    """Give up one image in the bin; this can't be undone."""
    done = binning.empty(binning.find(os, release, arch), call.actor)
    return EmptiedResponse(images=done.images, bytes=done.bytes)


@routes("POST", "/bin/empty", Right.MANAGE)
def empty_bin(call: PlainCall) -> EmptiedResponse:
    """Give up all images in the bin; this can't be undone."""
    done = binning.empty(None, call.actor)
    return EmptiedResponse(images=done.images, bytes=done.bytes)
