# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/rules: every citation leads to one, and every one is cited and kept."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "docs" / "rules"
FOLDERS = ("bench", "cli", "deploy", "docs", "migrations", "static", "templates", "tests", "webapp")
SUFFIXES = {".py", ".html", ".js", ".css", ".md", ".sh", ".conf", ".yaml", ".yml", ".toml"}

NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
CITATION = re.compile(r"\(rules?:(?! Rule\b)([^)]*)\)")  # a parameter of that type isn't one
KEPT_IN = re.compile(r"\*\*Kept in:\*\*(.+?)(?:\n\n|\Z)", re.DOTALL)
PATH = re.compile(r"`([^`]+)`")
# Sections and cases of documents that a reader doesn't have.
UNKNOWN_SECTION = re.compile(
    r"\bspec (?:maas|api|esxi|trust|[A-Z]?\d)|\(spec\b|\b[ab]\.\d\b|(?<!\w)\(\d\.\d{1,2}[,)]"
    r"|\(sections? \d|\bof section \d|\bsections? \d[\d, and]* of the contract|\bLP \d{5,}"
)
CASE = re.compile(r"(?<![\w./-])[A-Z]\d{1,2}(?![\w./%-])")
NO_CASE = {"U2", "S3"}  # ESXi 7.0 U2; the protocol of object storage


@cache
def rules() -> dict[str, str]:
    """The text of each rule by its name."""
    found: dict[str, str] = {}
    for page in pages():
        _, *parts = HEADING.split(page.read_text())
        found |= dict(zip(parts[::2], parts[1::2], strict=True))
    return found


def pages() -> list[Path]:
    return sorted(page for page in RULES.glob("*.md") if page.name != "README.md")


@cache
def sources() -> list[Path]:
    """Every file of ours that may cite a rule; not the rules, nor this test."""
    found = [path for path in ROOT.iterdir() if path.suffix in SUFFIXES]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    hidden = {RULES, ROOT / "static" / "vendor"}
    return [p for p in found if p != Path(__file__) and not hidden.intersection(p.parents)]


@cache
def citations() -> dict[str, list[str]]:
    """Each citation as it's written, by the file that it's in."""
    found = {str(p.relative_to(ROOT)): CITATION.findall(p.read_text()) for p in sources()}
    return {path: texts for path, texts in found.items() if texts}


def cited_in(path: str) -> set[str]:
    """The rules cited in a file, or in any file of a folder."""
    found = citations()
    files = [file for file in found if file == path or file.startswith(f"{path}/")]
    return {name for file in files for citation in found[file] for name in names(citation)}


def kept_in(rule: str) -> list[str]:
    found = KEPT_IN.search(rule)
    return PATH.findall(found[1]) if found else []


def names(citation: str) -> list[str]:
    return citation.strip().split(", ")


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a Python file with their lines; all of any other file."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and "noqa" not in token.string:
            yield token.start[0], token.string
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, kinds) and (docstring := ast.get_docstring(node, clean=False)):
            yield from enumerate(docstring.splitlines(), node.body[0].lineno)


def unknown_citations(path: Path) -> list[str]:
    """Citations of documents that aren't here, each with its line."""
    text = path.read_text()
    if not UNKNOWN_SECTION.search(text) and not CASE.search(text):
        return []
    found = []
    for number, line in prose(path):
        marks = [match[0] for match in UNKNOWN_SECTION.finditer(line)]
        if path.suffix == ".py":
            marks += [case for case in CASE.findall(line) if case not in NO_CASE]
        found += [f"{path}:{number}: {mark}" for mark in marks]
    return found


def test_rules_are_named_once_in_kebab_case() -> None:
    headings = [name for page in pages() for name in HEADING.findall(page.read_text())]
    assert [name for name, count in Counter(headings).items() if count > 1] == []
    assert [name for name in headings if not NAME.fullmatch(name)] == []


@pytest.mark.parametrize("name", rules())
def test_a_rule_states_its_source_and_where_it_is_kept(name: str) -> None:
    text = rules()[name]
    assert "- **Source:** " in text
    assert kept_in(text)
    assert [path for path in kept_in(text) if not (ROOT / path).exists()] == []


def test_every_cited_rule_exists() -> None:
    cited = {(path, name) for path in citations() for name in cited_in(path)}
    assert sorted(place for place in cited if place[1] not in rules()) == []


def test_every_rule_is_cited_where_it_is_kept() -> None:
    idle = [
        name
        for name, text in rules().items()
        if not any(name in cited_in(path) for path in kept_in(text))
    ]
    assert idle == []


def test_nothing_is_cited_that_is_not_here() -> None:
    assert [mark for path in sources() for mark in unknown_citations(path)] == []


@pytest.mark.parametrize(
    ("line", "is_refused"),
    [
        ("# as it has to be (spec maas-images 1.8, 1.23-23)", True),
        ("# (I34, LP 2059710)", True),
        ("# the active NIC first (a.3)", True),
        ("# names of kernels (1.16)", True),
        ("# section 4 of the contract", True),
        ("# check S6", True),
        ("# RFC 9110 13.1.5, ASVS 5.0, 3.5 and UEFI 2.10 section 5", False),
        ("# since 7.0 U2 (rule: esxi-clones)", False),
        ('name = "E9"', False),
    ],
)
def test_citations_of_the_old_kinds_are_found(tmp_path: Path, line: str, is_refused: bool) -> None:
    path = tmp_path / "module.py"
    path.write_text(f"{line}\n")
    assert bool(unknown_citations(path)) is is_refused
