# SPDX-License-Identifier: Apache-2.0
"""docs/security.md: complete, and true where reading can tell."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from webapp.config import ROOT
from webapp.services.accounts.passwords import is_common
from webapp.services.accounts.rights import Right

TEXT = (ROOT / "docs" / "security.md").read_text()
TABLES, _, LEFT_OUT = TEXT.partition("### What doesn't apply")
# Items of levels 1 and 2 in each section of ASVS 5.0.0; those that follow are of level 3.
FIRST_ITEMS = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2,
    "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
    "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2,
    "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
    "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3,
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,
    "14.1": 2, "14.2": 4, "14.3": 3,
    "15.1": 3, "15.2": 3, "15.3": 7,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
}  # fmt: skip
WHOLE_CHAPTERS = ("10.", "17.")  # that don't apply
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"}
FORBIDDEN_IMPORTS = ("pickle", "marshal", "shelve", "dill", "xml.", "lxml")
TEMPLATE_TEXT = {"render_template_string", "from_string"}


def rows() -> list[list[str]]:
    lines = re.findall(r"^\| (\d+\.\d+\.\d+ \|.*) \|$", TABLES, re.MULTILINE)
    return [line.split(" | ") for line in lines]


def test_every_item_of_levels_1_and_2_is_there_once() -> None:
    wanted = [f"{section}.{n}" for section, last in FIRST_ITEMS.items() for n in range(1, last + 1)]
    left_out = re.findall(r"^\| (\d[\d., ]*(?: to [\d.]+)?) \|", LEFT_OUT, re.MULTILINE)
    found = [row[0] for row in rows()]
    found += [item for cell in left_out if " to " not in cell for item in cell.split(", ")]
    assert Counter(found) == Counter(wanted)
    for chapter in WHOLE_CHAPTERS:
        assert any(cell.startswith(chapter) and " to " in cell for cell in left_out)


def test_every_row_names_tests_that_exist() -> None:
    known: dict[str, set[str]] = {}
    wrong = []
    for item, _requirement, how, shown in rows():
        assert len(how) > 3, item
        names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown)
        assert names, item
        for path, name in names:
            if path not in known:
                file = ROOT / path
                text = file.read_text() if file.exists() else ""
                known[path] = set(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))
            if name not in known[path]:
                wrong.append(f"{item}: {path}::{name} isn't there; it moved or has another name")
    assert wrong == []


def test_the_rights_in_the_docs_are_those_of_the_code() -> None:
    found = re.findall(r"^\| ([A-Z_]+) \| (\w+) \| (\w+) \|", TEXT, re.MULTILINE)
    assert found == [(right.name, str(right.role), str(right.scope)) for right in Right]


def test_the_words_that_passwords_may_not_be_made_of_are_listed() -> None:
    words = TEXT.partition("count as known to an attacker:\n")[2].partition(".\n")[0].split(",")
    assert len(words) > 15
    for word in words:
        assert is_common(f"{word.strip()}-2026"), word


# -- what reading the code shows


def code() -> Iterator[tuple[str, ast.AST]]:
    """Every node of the program's modules, with the module's path."""
    for path in sorted((ROOT / "webapp").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path.relative_to(ROOT).as_posix(), node


def test_no_code_runs_a_shell_or_text_as_code() -> None:
    wrong = []
    for path, node in code():
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            has_shell = any(
                word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords
            )
            is_text = name.rpartition(".")[2] in TEMPLATE_TEXT
            if name in FORBIDDEN_CALLS or has_shell or is_text:
                wrong.append((path, ast.unparse(node)))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = [module] if module else [alias.name for alias in node.names]
            if any(n.startswith(FORBIDDEN_IMPORTS) for n in names):
                wrong.append((path, ast.unparse(node)))
    # It writes XML, by escaping texts, and reads none.
    allowed = ("webapp/vmware/picture.py", "from xml.sax.saxutils import escape, quoteattr")
    assert wrong == [allowed]


def test_patterns_are_constants() -> None:
    """An f-string in a pattern may hold names in capitals, which are constants, only."""
    wrong = []
    for path, node in code():
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.")):
            continue
        if not node.args or ast.unparse(node.func) == "re.escape":
            continue
        names = {n.id for n in ast.walk(node.args[0]) if isinstance(n, ast.Name)}
        if any(not name.isupper() for name in names - {"re"}):
            wrong.append((path, ast.unparse(node)))
    assert wrong == [
        ("webapp/api/v1/dispatch.py", "re.compile(API + _PARAM.sub('[^/]+', self.path))"),  # ours
        # Whoever runs `slipway mirror pull --filter` asks for a pattern.
        ("webapp/streams/filters.py", "re.compile(value)"),
    ]


def scripts() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "static").glob("*.js")))


def test_no_page_listens_to_other_windows() -> None:
    text = scripts()
    assert not re.search(r"""window\.(onmessage|addEventListener\(\s*["']message)""", text)
    assert not re.search(r"""^\s*addEventListener\(\s*["']message""", text, re.MULTILINE)


def test_no_script_uses_browser_storage() -> None:
    assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", scripts())


def test_the_nginx_site_speaks_modern_tls_only() -> None:
    text = (ROOT / "deploy" / "nginx" / "slipway.conf").read_text()
    assert re.findall(r"^\s*ssl_protocols\s+(.*);", text, re.MULTILINE) == ["TLSv1.2 TLSv1.3"]
    (ciphers,) = re.findall(r"^\s*ssl_ciphers\s+(.*);", text, re.MULTILINE)
    for cipher in ciphers.split(":"):
        assert re.fullmatch(
            r"ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM-SHA\d+|CHACHA20-POLY1305)", cipher
        )
    assert not re.search(r"listen\s+(\S+:)?80\b", text)
