# SPDX-License-Identifier: Apache-2.0
"""``/sources/ID/soak`` and ``/images/IMAGE/soak``: how old versions must be to be imported."""

from __future__ import annotations

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, RequestModel, ResponseModel
from webapp.services.accounts.rights import Right
from webapp.services.sources import soaking, sources
from webapp.services.system.live_settings import MAX_SOAK_DAYS

routes = Routes("soak times")
SOURCE = "/sources/<int:id>/soak"
IMAGE = "/images/<string:os>/<string:release>/<string:arch>/soak"


class SoakRequest(RequestModel):
    """Days that versions must be old; null: as its source, or else the setting, has it."""

    days: int | None = Field(ge=0, le=MAX_SOAK_DAYS)


class SoakResponse(ResponseModel):
    """Days that versions must be old, null where the source or the setting decides."""

    days: int | None


@routes("GET", SOURCE, Right.SEE)
def read_source(call: PlainCall, id: int) -> SoakResponse:
    """Read the soak time of a boot source."""
    return SoakResponse(days=sources.get(id).soak_days)


@routes("PUT", SOURCE, Right.MANAGE, state=read_source)
def change_source(call: Call[Empty, SoakRequest], id: int) -> SoakResponse:
    """Import only versions of a boot source that are at least this many days old."""
    soaking.set_source(sources.get(id), call.body.days, call.actor)
    return SoakResponse(days=call.body.days)


@routes("GET", IMAGE, Right.SEE)
def read_image(call: PlainCall, os: str, release: str, arch: str) -> SoakResponse:
    """Read the soak time of an image."""
    return SoakResponse(days=soaking.of_image(f"{os}/{release}", arch))


@routes("PUT", IMAGE, Right.SELECT, state=read_image)
def change_image(call: Call[Empty, SoakRequest], os: str, release: str, arch: str) -> SoakResponse:
    """Import only versions of an image that are at least this many days old.

    Stored versions stay, whatever their age.
    """
    soaking.set_image(f"{os}/{release}", arch, call.body.days, call.actor)
    return SoakResponse(days=call.body.days)
