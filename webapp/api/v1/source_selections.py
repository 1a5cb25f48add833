# SPDX-License-Identifier: Apache-2.0
"""``/sources/<id>/selections``: what is imported from a boot source."""

from __future__ import annotations

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel
from webapp.api.v1.sources import ONE
from webapp.models import BootSourceSelection
from webapp.services.accounts.rights import Right
from webapp.services.sources import selections, sources
from webapp.streams.filters import Wanted

routes = Routes("sources")
ONE_SELECTION = f"{ONE}/selections/<int:selection_id>"


class SelectionRequest(RequestModel):
    """What to import from a source; ``*`` means all."""

    os: str = Field(max_length=200)
    release: str = Field(max_length=200)
    arches: list[str] = Field(["*"], min_length=1, max_length=100)
    subarches: list[str] = Field(["*"], min_length=1, max_length=100)
    labels: list[str] = Field(["*"], min_length=1, max_length=100)


class SelectionResponse(ResponseModel):
    """What is imported from a source."""

    id: int
    source_id: int
    os: str
    release: str
    arches: list[str]
    subarches: list[str]
    labels: list[str]


@routes("GET", f"{ONE}/selections", Right.SEE)
def read_selections(call: PlainCall, id: int) -> Page[SelectionResponse]:
    """List the selections of a boot source."""
    sources.get(id)
    return Page[SelectionResponse](items=[_selection(row) for row in selections.of_source(id)])


@routes("POST", f"{ONE}/selections", Right.SELECT, status=201)
def select(call: Call[Empty, SelectionRequest], id: int) -> SelectionResponse:
    """Add a selection; the next import downloads it."""
    return _selection(selections.add(sources.get(id), _wanted(call.body), call.actor))


@routes("GET", ONE_SELECTION, Right.SEE)
def read_selection(call: PlainCall, id: int, selection_id: int) -> SelectionResponse:
    """Read a selection."""
    return _selection(selections.get(id, selection_id))


@routes("PUT", ONE_SELECTION, Right.SELECT, state=read_selection)
def change_selection(
    call: Call[Empty, SelectionRequest], id: int, selection_id: int
) -> SelectionResponse:
    """Replace a selection."""
    row = selections.get(id, selection_id)
    return _selection(selections.change(row, _wanted(call.body), call.actor))


@routes("DELETE", ONE_SELECTION, Right.SELECT, state=read_selection)
def unselect(call: PlainCall, id: int, selection_id: int) -> None:
    """Remove a selection; the next import deletes its images."""
    selections.remove(selections.get(id, selection_id), call.actor)


def _wanted(request: SelectionRequest) -> Wanted:
    return Wanted(
        os=request.os,
        release=request.release,
        arches=tuple(request.arches),
        subarches=tuple(request.subarches),
        labels=tuple(request.labels),
    )


def _selection(row: BootSourceSelection) -> SelectionResponse:
    return SelectionResponse.model_validate(row)
