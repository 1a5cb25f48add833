# SPDX-License-Identifier: Apache-2.0
"""Numbers in text: of others, and as users read them."""

from __future__ import annotations


def whole(text: str, *, digits: int = 18) -> int | None:
    """The whole number a text consists of: at most so many ASCII digits; else None.

    ``str.isdigit`` also accepts what ``int`` refuses, e.g. a superscript two.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= digits
    return int(text) if is_number else None


def counted(number: int, noun: str) -> str:
    """A number and what it counts: 1 image, 2 images."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
