# SPDX-License-Identifier: Apache-2.0
"""Templates lay out; what a state is called is decided in webapp/web."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
LONGEST_LINE = 160
# A dictionary of words that is looked up by a state, e.g. {"done": "ok"}[row.state].
LOOKUP = re.compile(
    r'\{("[^"]*": ("[^"]*"|\([^)]*\)),? ?)+\}\s*(\[|\.get\()|set \w+ = \{"[^"]*": ["(]'
)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_has_short_lines_and_no_words_by_state(path: Path) -> None:
    text = path.read_text()
    too_long = [n for n, line in enumerate(text.splitlines(), 1) if len(line) > LONGEST_LINE]
    assert too_long == []
    assert LOOKUP.findall(text) == []
