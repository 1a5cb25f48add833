# SPDX-License-Identifier: Apache-2.0
"""What all schemas of ``/api/v1`` share: strict requests, problems, paged lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from webapp.http.dispatch import MAX_ID

MAX_ITEMS = 1000

R = TypeVar("R")
T = TypeVar("T")


def is_storable(text: str) -> bool:
    """Whether every database can store this text: no NUL, no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _demand_storable(value: object) -> None:
    if isinstance(value, str) and not is_storable(value):
        raise ValueError("This text has a character that can't be stored (NUL or a surrogate).")
    if isinstance(value, dict):
        for key, inner in value.items():
            _demand_storable(key)
            _demand_storable(inner)
    if isinstance(value, list):
        for inner in value:
            _demand_storable(inner)


class RequestModel(BaseModel):
    """What a client sends: known fields only, and only text that can be stored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, values: object) -> object:
        _demand_storable(values)
        return values


class ResponseModel(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)


class PartialModel(ResponseModel):
    """What a client gets of stored JSON: the fields that it has, also ones of other versions."""

    model_config = ConfigDict(extra="allow")

    @model_serializer(mode="wrap")
    def _stored(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {k: v for k, v in serialize(self).items() if k in self.model_fields_set}


class Empty(RequestModel):
    """No fields."""


class Paging(RequestModel):
    """Which page of a list: ``cursor`` is ``next`` of the previous page."""

    limit: int = Field(100, ge=1, le=MAX_ITEMS, description="Maximum number of entries")
    cursor: int = Field(0, ge=0, le=MAX_ID, description="`next` of the previous page")


class WholePaging(Paging):
    """Which part of a list; ``cursor`` is ``next`` of the previous one."""

    limit: int = Field(MAX_ITEMS, ge=1, le=MAX_ITEMS, description="Maximum number of entries")


class Page(ResponseModel, Generic[T]):
    """A page of a list. ``next``: the cursor of the next page, null at the end."""

    items: list[T]
    next: int | None = None


def part_of(rows: Sequence[R], paging: Paging, response_of: Callable[[R], T]) -> Page[T]:
    """A page of rows that are all known; cursors count them."""
    end = paging.cursor + paging.limit
    shown = rows[paging.cursor : end]
    return Page[T](items=[response_of(row) for row in shown], next=end if end < len(rows) else None)


def page_of(
    rows: Sequence[R], limit: int, response_of: Callable[[R], T], id_of: Callable[[R], int]
) -> Page[T]:
    """A page of at most ``limit`` items. rows: one more than that when there's a next page."""
    shown = rows[:limit]
    following = id_of(shown[-1]) if len(rows) > limit else None
    return Page[T](items=[response_of(row) for row in shown], next=following)


class ProblemFields(ResponseModel):
    """What went wrong, where, and what to do about it."""

    code: str = Field(description="Stable word for programs")
    where: str = ""
    expected: str = ""
    got: str = ""
    next_step: str = ""


class StoredProblem(PartialModel):
    """What went wrong with something, and what to do about it; no fields if nothing did."""

    code: str = ""
    what: str = ""
    where: str = ""
    expected: str = ""
    got: str = ""
    next_step: str = ""


class ProblemResponse(ProblemFields):
    """A problem (RFC 9457).

    title: the same for every problem with this code. detail: what happened.
    errors: field name -> messages, for input that has to be corrected.
    """

    type: str = Field(description="URI of the kind of problem")
    title: str
    status: int
    detail: str
    errors: dict[str, list[str]] = Field(default_factory=dict)


class ProblemItem(ProblemFields):
    """A problem inside another response."""

    what: str


class MessageResponse(ResponseModel):
    """What was started or done."""

    message: str
