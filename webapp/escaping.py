# SPDX-License-Identifier: Apache-2.0
"""Text of others, safe to show in a terminal and in a log."""

from __future__ import annotations

_SPACES = "\u00a0\u202f"  # not printable for Python, harmless on a screen


def visible(text: str) -> str:
    """Text on one line, with escapes for what a terminal would act on.

    ESC and other control characters, line breaks, bidirectional and invisible marks,
    and bytes that aren't text become ``\\x1b``, ``\\n``, ``\\u202e`` and the like.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _SPACES else char.encode("unicode_escape").decode()
        for char in text
    )
