# SPDX-License-Identifier: Apache-2.0
"""``/restrictions`` and ``/images/IMAGE/restriction``: to whom images are kept."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel
from webapp.models import ImageRestriction
from webapp.services.accounts.rights import Right
from webapp.services.images import restricting
from webapp.services.images.restricting import MAX_NOTE
from webapp.streams.restrictions import MAX_ENTRIES

routes = Routes("restrictions")
IMAGE = "/images/<string:os>/<string:release>/<string:arch>/restriction"


class RestrictionRequest(RequestModel):
    """Who may have the image: whoever is in one of the networks or has one of the MAC addresses."""

    networks: list[str] = Field(
        default_factory=list, max_length=MAX_ENTRIES, description="e.g. `192.0.2.0/24`"
    )
    macs: list[str] = Field(
        default_factory=list, max_length=MAX_ENTRIES, description="e.g. `52:54:00:12:34:56`"
    )
    note: str = Field("", max_length=MAX_NOTE, description="For people, e.g. the license")


class RestrictionResponse(ResponseModel):
    """Who may have an image; everyone, if it isn't restricted.

    name: `custom/NAME` for uploads without an operating system. is_stored: whether there's such
    an image now.
    """

    name: str
    arch: str
    is_restricted: bool
    networks: list[str]
    macs: list[str]
    note: str
    updated_at: datetime | None
    is_stored: bool


class RestrictionPreview(ResponseModel):
    """Who would lose access.

    is_narrower: whether fewer may have it than now. machines: addresses that fetched the image
    within 30 days and aren't in the networks. entries: MAC addresses with a boot entry for it
    that aren't permitted. Some of either may keep it by the other.
    """

    is_narrower: bool
    machines: list[str]
    entries: list[str]


@routes("GET", "/restrictions", Right.SEE)
def read_all(call: PlainCall) -> Page[RestrictionResponse]:
    """List the images that are kept to networks and machines."""
    stored = restricting.stored()
    items = [
        _response(row, row.os, row.release, row.arch, (row.os, row.release, row.arch) in stored)
        for row in restricting.listing()
    ]
    return Page[RestrictionResponse](items=items)


@routes("GET", IMAGE, Right.SEE)
def read(call: PlainCall, os: str, release: str, arch: str) -> RestrictionResponse:
    """Read to whom an image is kept."""
    return _read(os, release, arch)


@routes("PUT", IMAGE, Right.MANAGE, state=read)
def change(
    call: Call[Empty, RestrictionRequest], os: str, release: str, arch: str
) -> RestrictionResponse:
    """Keep an image to networks and machines, from now on.

    The image needn't be stored yet. For all others it isn't there.
    """
    sent = call.body
    new = restricting.read(sent.networks, sent.macs)
    restricting.restrict(call.actor, os, release, arch, new, sent.note)
    return _read(os, release, arch)


@routes("POST", f"{IMAGE}/preview", Right.MANAGE)
def preview(
    call: Call[Empty, RestrictionRequest], os: str, release: str, arch: str
) -> RestrictionPreview:
    """See who would lose access to an image by a restriction."""
    new = restricting.read(call.body.networks, call.body.macs)
    return RestrictionPreview.model_validate(restricting.loss(os, release, arch, new))


@routes("DELETE", IMAGE, Right.MANAGE, state=read)
def lift(call: PlainCall, os: str, release: str, arch: str) -> None:
    """Give an image to everyone again."""
    restricting.lift(call.actor, os, release, arch)


def _read(os: str, release: str, arch: str) -> RestrictionResponse:
    row = restricting.of(os, release, arch)
    is_stored = (os, release, arch) in restricting.stored()
    return _response(row, os, release, arch, is_stored)


def _response(
    row: ImageRestriction | None, os: str, release: str, arch: str, is_stored: bool
) -> RestrictionResponse:
    return RestrictionResponse(
        name=f"{os}/{release}",
        arch=arch,
        is_restricted=row is not None,
        networks=row.networks if row else [],
        macs=row.macs if row else [],
        note=row.note if row else "",
        updated_at=row.updated_at if row else None,
        is_stored=is_stored,
    )
