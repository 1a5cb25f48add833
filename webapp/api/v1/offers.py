# SPDX-License-Identifier: Apache-2.0
"""``/offers``: who offers an image, who provides it, and why."""

from __future__ import annotations

from webapp.api.v1.dispatch import Call, Routes
from webapp.api.v1.schemas import Page, ResponseModel, WholePaging, part_of
from webapp.services.accounts.rights import Right
from webapp.services.imports import offers
from webapp.services.imports.offers import Contest

routes = Routes("catalogue")


class OffersFilter(WholePaging):
    """Which images: those selected or offered by several sources, or all."""

    is_all: bool = False


class ContenderItem(ResponseModel):
    """What a source offers of an image. why: the reason that it's used or not."""

    source_id: int
    source_url: str
    source_name: str
    priority: int
    version: str
    label: str
    size: int
    is_selected: bool
    is_winner: bool
    why: str


class OfferedImageResponse(ResponseModel):
    """An image with the sources that offer it. stored_version: empty if none is stored.

    bound_to: the source that it's bound to, empty when priorities decide.
    """

    name: str
    architecture: str
    title: str
    stored_version: str
    bound_to: str
    sources: list[ContenderItem]


@routes("GET", "/offers", Right.SEE)
def read_offers(call: Call[OffersFilter, None]) -> Page[OfferedImageResponse]:
    """Compare what boot sources offer: who provides each image, and why."""
    return part_of(offers.read(wants_all=call.query.is_all).contests, call.query, _offered)


def _offered(one: Contest) -> OfferedImageResponse:
    return OfferedImageResponse(
        name=one.key.name,
        architecture=one.key.architecture,
        title=one.title,
        stored_version=one.stored_version,
        bound_to=one.bound_to,
        sources=[ContenderItem.model_validate(each) for each in one.contenders],
    )
