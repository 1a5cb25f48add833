# SPDX-License-Identifier: Apache-2.0
"""``/bindings`` and ``/source-changes``: where images come from, shown before it's changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel
from webapp.api.v1.sources import ONE, SourceChangeRequest, api_names, draft_from
from webapp.http.dispatch import MAX_ID
from webapp.services.accounts.rights import Right
from webapp.services.imports import moves, offers
from webapp.services.imports.moves import Moves
from webapp.services.sources import binding, sources, steps

routes = Routes("sources")
BINDING = "/bindings/<string:os>/<string:release>/<string:arch>"
MAX_MOVES = 1000
# Those that a preview needn't read the stream for.
_APART = {"priority", "is_enabled", "name", "schedule", "is_removed"}


class SourcePreviewRequest(SourceChangeRequest):
    """A change of a boot source, or its removal."""

    is_removed: bool = False


class MoveItem(ResponseModel):
    """What happens to an image. bytes_to_fetch: those that aren't stored.

    kind: move, add, remove, or stay for another reason than before.
    """

    kind: str
    name: str
    architecture: str
    source_before: str
    version_before: str
    source: str
    version: str
    bytes: int
    bytes_to_fetch: int
    why: str


class MovesResponse(ResponseModel):
    """What a change does to images. bytes_to_fetch: shared bytes count once.

    is_done: false for a preview.
    """

    moves: list[MoveItem] = Field(description="At most 1000")
    count: int
    bytes_to_fetch: int
    is_done: bool


class BindingRequest(RequestModel):
    """The source that an image comes from; null lets priorities decide again."""

    source_id: int | None = Field(ge=1, le=MAX_ID)
    is_preview: bool = Field(False, description="Only show what would change")


class BoundImageResponse(ResponseModel):
    """An image that is bound to a boot source. source_id: null once that was removed.

    trouble: why the stored image stays as it is, and what to do; empty if all is well.
    """

    os: str
    release: str
    arch: str
    source_id: int | None
    source: str
    trouble: str


class SourceChangeResponse(ResponseModel):
    """A change of priorities, switches or bindings."""

    id: int
    summary: str
    changed_by: str
    changed_at: datetime


class LastChangeResponse(ResponseModel):
    """The change that can be undone; null if there's none."""

    change: SourceChangeResponse | None


class UndoRequest(RequestModel):
    """The change to undo: the last one, as it was read."""

    id: int = Field(ge=1, le=MAX_ID)
    is_preview: bool = Field(False, description="Only show what would change")


@routes("POST", f"{ONE}/preview", Right.MANAGE)
def preview_change(call: Call[Empty, SourcePreviewRequest], id: int) -> MovesResponse:
    """Show which images a change of a source moves; nothing is saved.

    A change of what decides how its stream is read, or what it is, reads that first, unless
    the source is off.
    """
    row, sent = sources.get(id), call.body
    if sent.is_removed:
        return _moves(moves.of_removal(id), is_done=False)
    with api_names():
        draft = draft_from(sent, sources.draft_of(row))
        if sent.model_fields_set <= _APART or not draft.is_enabled:
            priority = row.priority if draft.priority is None else draft.priority
            return _moves(moves.of_values(row, priority, draft.is_enabled), is_done=False)
        found = sources.connect(draft, id)
    return _moves(moves.of_stream(row, draft, found.offers), is_done=False)


@routes("GET", "/bindings", Right.SEE)
def read_bindings(call: PlainCall) -> Page[BoundImageResponse]:
    """List the images that are bound to a boot source."""
    found = offers.read().bound
    return Page[BoundImageResponse](items=[BoundImageResponse.model_validate(one) for one in found])


@routes("PUT", BINDING, Right.MANAGE)
def bind(call: Call[Empty, BindingRequest], os: str, release: str, arch: str) -> MovesResponse:
    """Bind an image to a boot source, or unbind it; the next import carries it out.

    Binding also selects the image at that source.
    """
    line, wanted = (os, release, arch), call.body.source_id
    source = sources.get(wanted) if wanted is not None else None
    made = binding.to_bind(line, source) if source else binding.to_unbind(line)
    found = moves.of_steps(made)
    if not call.body.is_preview:
        if source is not None:
            binding.bind(line, source, call.actor)
        else:
            binding.unbind(line, call.actor)
    return _moves(found, is_done=not call.body.is_preview)


@routes("GET", "/source-changes/last", Right.MANAGE)
def read_last_change(call: PlainCall) -> LastChangeResponse:
    """Read the last change of where images come from."""
    change = steps.last()
    found = SourceChangeResponse.model_validate(change) if change else None
    return LastChangeResponse(change=found)


@routes("POST", "/source-changes/undo", Right.MANAGE)
def undo(call: Call[Empty, UndoRequest]) -> MovesResponse:
    """Undo the last change; versions that are still stored aren't downloaded again."""
    change = steps.checked_last(call.body.id)
    found = moves.of_steps(steps.undoing(change))
    if not call.body.is_preview:
        steps.undo(change.id, call.actor)
    return _moves(found, is_done=not call.body.is_preview)


def _moves(found: Moves, *, is_done: bool) -> MovesResponse:
    shown: Sequence[moves.Move] = found.moves[:MAX_MOVES]
    return MovesResponse(
        moves=[MoveItem.model_validate(one) for one in shown],
        count=len(found.moves),
        bytes_to_fetch=found.bytes_to_fetch,
        is_done=is_done,
    )
