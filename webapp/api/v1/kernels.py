# SPDX-License-Identifier: Apache-2.0
"""``/kernels``: the kernels of the images on offer, with the bytes that each adds."""

from __future__ import annotations

from pydantic import Field

from webapp.api.v1.dispatch import Call, Routes
from webapp.api.v1.schemas import Page, ResponseModel, WholePaging, part_of
from webapp.services.accounts.rights import Right
from webapp.services.sources import catalogue, kernels
from webapp.services.sources.kernels import KernelOffer

routes = Routes("catalogue")


class KernelFilter(WholePaging):
    """Which images: all given fields must match."""

    os: str = Field("", max_length=200)
    release: str = Field("", max_length=200)
    arch: str = Field("", max_length=200)


class KernelResponse(ResponseModel):
    """A kernel of an image. adds: bytes that none of the image's other kernels has.

    new_size: bytes of its files that aren't stored yet. is_generic: machines without a
    kernel of their own boot it. is_chosen: the release's selection has it.
    """

    os: str
    release: str
    arch: str
    kernel: str
    title: str
    version: str
    answers_to: list[str]
    adds: int
    new_size: int
    is_generic: bool
    is_chosen: bool
    is_selected: bool = Field(description="Whether the image is selected")
    is_stored: bool
    source_id: int
    source: str


@routes("GET", "/kernels", Right.SEE)
def read_kernels(call: Call[KernelFilter, None]) -> Page[KernelResponse]:
    """List the kernels of the images that can be selected, with the bytes that each adds."""
    picture, wanted = catalogue.read(), call.query
    found = [
        one
        for box in picture.boxes
        if wanted.os in ("", box.pick.os)
        and wanted.release in ("", box.pick.release)
        and wanted.arch in ("", box.pick.arch)
        for one in kernels.offers(box, picture.ready)
    ]
    return part_of(found, wanted, _kernel)


def _kernel(one: KernelOffer) -> KernelResponse:
    box, kernel = one.box, one.kernel
    return KernelResponse(
        os=box.pick.os,
        release=box.pick.release,
        arch=box.pick.arch,
        kernel=kernel.name,
        title=one.title,
        version=kernel.version,
        answers_to=list(kernel.answers_to),
        adds=one.adds,
        new_size=one.new_size,
        is_generic=one.is_generic,
        is_chosen=one.is_chosen,
        is_selected=box.is_selected,
        is_stored=one.is_stored,
        source_id=box.pick.source_id,
        source=box.source_name,
    )
