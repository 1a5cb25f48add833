# SPDX-License-Identifier: Apache-2.0
"""What all bodies of ``/api/v1`` share: strict input, problems, pages of a list."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST = 1000
LARGEST_ID = 2**31 - 1  # PostgreSQL compares no larger one with an id

T = TypeVar("T")


def is_storable(text: str) -> bool:
    """Whether every database takes this text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _demand_storable(value: Any) -> None:
    if isinstance(value, str) and not is_storable(value):
        raise ValueError("A text holds a character that cannot be stored (NUL or a surrogate).")
    if isinstance(value, dict):
        for key, inner in value.items():
            _demand_storable(key)
            _demand_storable(inner)
    if isinstance(value, list):
        for inner in value:
            _demand_storable(inner)


class Given(BaseModel):
    """What a client sends: nothing that is not known, and only texts that can be stored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, values: Any) -> Any:
        _demand_storable(values)
        return values


class Told(BaseModel):
    """What we answer."""

    model_config = ConfigDict(from_attributes=True)


class Empty(Given):
    """A body or a query without anything."""


class Paging(Given):
    """Which part of a list: ``cursor`` is ``next`` of the part before."""

    limit: int = Field(100, ge=1, le=MOST, description="Entries in one answer")
    cursor: int = Field(0, ge=0, le=LARGEST_ID, description="Where the part before ended")


class Page(Told, Generic[T]):
    """A part of a list. ``next``: the cursor of the part that follows, null at the end."""

    items: list[T]
    next: int | None = None


class Trouble(Told):
    """A problem (RFC 9457): what is wrong, where, and what to do about it.

    errors: field name -> messages, for input that has to be corrected.
    """

    type: str = Field(description="URI of the kind of problem")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable word for programs")
    where: str = ""
    expected: str = ""
    got: str = ""
    next_step: str = ""
    errors: dict[str, list[str]] = Field(default_factory=dict)


class Words(Told):
    """A problem inside of an answer."""

    code: str
    what: str
    where: str = ""
    expected: str = ""
    got: str = ""
    next_step: str = ""


class Done(Told):
    """Something was done."""

    message: str
