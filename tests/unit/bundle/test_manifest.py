# SPDX-License-Identifier: Apache-2.0
"""The manifest of a bundle, also one of a publisher who means harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webapp.bundle import manifest
from webapp.bundle.manifest import BundleProblem
from webapp.errors import Problem


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"format": "x", "sha256": []}', b"\xff"])
def test_what_is_no_statement_is_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(raw)
    with pytest.raises(BundleProblem, match="says nothing"):
        manifest.held_at(tmp_path / "it")


def crafted(**changes: object) -> bytes:
    digest = "a" * 64
    good = {"sha256": digest, "size": 3, "paths": [f"sha256/{digest}/x"], "is_here": True}
    entry = {**good, **{k: v for k, v in changes.items() if k in good}}
    whole: dict[str, object] = {
        "format": "slipway-bundle:1",
        "made_at": "2026-01-05T10:00:00+00:00",
        "images": 1,
        "split": 10,
        "files": [entry],
        "pieces": [{"size": 3, "sha256": digest}],
    }
    return json.dumps({**whole, **{k: v for k, v in changes.items() if k in whole}}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": ["../x"]},
        {"paths": ["/etc/passwd"]},
        {"paths": [f"sha256/{'a' * 64}/../../x"]},
        {"paths": [f"sha256/{'b' * 64}/x"]},
        {"paths": ["x"]},
        {"paths": []},
        {"paths": [7]},
        {"paths": [f"sha256/{'a' * 64}/x"] * 2},
        {"sha256": "../../x"},
        {"size": -1},
        {"size": 1 << 60},
        {"size": True},
        {"size": 4},
        {"is_here": 1},
        {"split": 0},
        {"split": 1},
        {"pieces": []},
        {"pieces": [{"size": 3, "sha256": "x"}]},
        {"files": {}},
        {"made_at": "2026-01-05T10:00:00"},
        {"format": "slipway-bundle:2"},
    ],
    ids=str,
)
def test_a_manifest_with_odd_values_is_refused(changes: dict[str, object]) -> None:
    assert manifest.parse(crafted(), where="it").size == 3
    with pytest.raises(Problem) as caught:
        manifest.parse(crafted(**changes), where="it")
    assert caught.value.code in ("bundle-invalid", "document-bad-path")
