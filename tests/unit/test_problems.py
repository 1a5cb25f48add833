# SPDX-License-Identifier: Apache-2.0
"""The table of problems: every code that is raised has its row, and docs/problems.md shows it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from http import HTTPStatus
from pathlib import Path

import pytest

from webapp.errors import KINDS, Kind, NotFound, Problem, kind_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "problems.md"
CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
FINDINGS = {"inspection", "vmware"}  # where a code= may also be one of a finding
CHECKSUM_MISMATCH = 460  # of tus, known to no registry


@cache
def raised() -> dict[str, set[str]]:
    """Every code in webapp, as a pattern where a part of it is computed, with its places."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "webapp").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if path.parent.name in FINDINGS and not _makes_a_problem(node):
                continue
            for value in _codes(node):
                where = f"{path.relative_to(ROOT)}:{value.lineno}"
                for pattern in _patterns(value):
                    found.setdefault(pattern, set()).add(where)
    return found


def _codes(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.ClassDef):
        for line in node.body:
            targets = line.targets if isinstance(line, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == "code" for target in targets):
                yield line.value  # type: ignore[attr-defined]
    if isinstance(node, ast.Call):
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")


def _makes_a_problem(node: ast.AST) -> bool:
    name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    return isinstance(node, ast.ClassDef) or name.endswith("Problem")


def _patterns(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        yield "".join(p.value if isinstance(p, ast.Constant) else "*" for p in value.values)
    elif isinstance(value, ast.IfExp):
        yield from (*_patterns(value.body), *_patterns(value.orelse))


@pytest.mark.parametrize(("code", "places"), sorted(raised().items()), ids=sorted(raised()))
def test_every_code_that_is_raised_has_a_row(code: str, places: set[str]) -> None:
    rows = [known for known in KINDS if fnmatchcase(known, code)] or [
        known for known in KINDS if known.endswith("-*") and fnmatchcase(code, known)
    ]
    assert rows, f"add {code!r} to webapp/errors.py (raised in {sorted(places)})"


def test_the_walk_sees_classes_arguments_and_computed_codes() -> None:
    found = raised()
    assert {"not-found", "store-full", "hash-mismatch", "document-*", "http-status"} <= set(found)


def test_rows_are_well_formed() -> None:
    known = {status.value for status in HTTPStatus} | {CHECKSUM_MISMATCH}
    for code, kind in KINDS.items():
        assert CODE.fullmatch(code.removesuffix("-*")), code
        assert kind.status in known, code
        assert kind.status >= 400, code
        assert kind.title.strip(" .") == kind.title != "", code


def test_a_code_of_a_family_and_an_unknown_one_have_a_kind() -> None:
    assert kind_of("upload-iso") == KINDS["upload-*"]
    assert kind_of("never-heard-of") == KINDS["problem"]
    assert NotFound("No image.").kind.status == 404
    assert Problem("Full.", code="store-full").kind == Kind("Not enough disk space", 507)


def test_the_docs_show_the_table() -> None:
    rows = "".join(
        f"| `{code}` | {kind.status} | {kind.title} | {kind.retry_after_s or ''} |\n".replace(
            "|  |", "| |"
        )
        for code, kind in sorted(KINDS.items())
    )
    assert rows in PAGE.read_text(), f"copy the table into {PAGE.name}:\n{rows}"
