# SPDX-License-Identifier: Apache-2.0
"""A page of a list whose order is known: what it shows, and where its neighbours begin. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[T]):
    """A page. after: the entry before it as the URL names it, "" for the first page.

    previous, next: the same of the neighbours, None where there is none.
    """

    shown: Sequence[T]
    after: str = ""
    previous: str | None = None
    next: str | None = None


def after(entries: Sequence[T], name: str, size: int) -> Part[T]:
    """The entries that follow the one of that name; the first page where it's unknown."""
    names = [str(entry) for entry in entries]
    start = names.index(name) + 1 if name in names else 0
    end = start + size
    before = max(start - size, 0)
    return Part(
        entries[start:end],
        names[start - 1] if start else "",
        (names[before - 1] if before else "") if start else None,
        names[end - 1] if end < len(entries) else None,
    )
