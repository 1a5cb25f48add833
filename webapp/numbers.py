# SPDX-License-Identifier: Apache-2.0
"""Numbers in text that others write."""

from __future__ import annotations


def whole(text: str, *, digits: int = 18) -> int | None:
    """The whole number a text consists of: at most so many ASCII digits; else None.

    ``str.isdigit`` also accepts what ``int`` refuses, e.g. a superscript two.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= digits
    return int(text) if is_number else None
