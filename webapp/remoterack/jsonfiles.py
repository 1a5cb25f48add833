# SPDX-License-Identifier: Apache-2.0
"""Small objects of a rack's data folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webapp import durable


def write(path: Path, tree: Mapping[str, Any], mode: int = 0o640) -> None:
    """Replace a file with an object, in one step. May raise OSError."""
    durable.write(path, json.dumps(tree, indent=1).encode(), mode=mode)


def read(path: Path) -> dict[str, Any]:
    """The object of a file; an empty one when there is none that can be read."""
    try:
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
