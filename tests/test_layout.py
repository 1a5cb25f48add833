# SPDX-License-Identifier: Apache-2.0
"""The architecture of docs/architecture.md, read off the imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST_MODULE = 375

LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"
NO_NAME = {"utils", "util", "helpers", "common", "misc"}

# Subjects of the services, from the ground up: each may use those before it.
SUBJECTS = (
    "system",
    "accounts",
    "sources",
    "images",
    "blobs",
    "imports",
    "uploads",
    "boot",
    "mirror",
    "racks",
    "overview",
    "backups",
)

# Each room and the rooms of ours that it may import. "" is webapp/__init__.py.
BASE = {"durable", "errors", "numbers", "severity", "config", "extensions"}
EDGE = BASE | {"services", "models", "streams", "trust", "storage"}
SERVICES = BASE | {
    *("fetch", "sealing", "inspection", "models", "storage", "streamclient", "streams", "trust"),
}
MAY_IMPORT: dict[str, set[str]] = {
    "": {
        "api",
        "config",
        "database",
        "extensions",
        "logs",
        "middleware",
        "publication",
        "rack",
        "readiness",
        "routing",
        "storage",
        "web",
    },
    "durable": set(),
    "errors": set(),
    "readiness": {"errors"},
    "severity": set(),
    "numbers": set(),
    "escaping": set(),
    "sealing": set(),
    "config": {"setting_values"},
    "setting_values": {"errors", "numbers"},
    "logs": {"config", "escaping"},
    "database": {"config", "errors", "sealing"},
    "publication": {"models"},
    "extensions": {"config", "models", "storage"},
    "middleware": {"config", "errors"},
    "hx": set(),
    "routing": set(),
    # Leaves: whoever reads them needs nothing else of ours.
    "models": set(),
    "trust": {"errors"},
    "streams": {"errors", "trust"},
    "storage": {"durable", "errors", "numbers"},
    "fetch": {"errors", "storage"},
    "streamclient": {"errors", "fetch", "streams", "trust"},
    "mirror": {"durable", "errors", "fetch", "storage", "streamclient", "streams", "trust"},
    "bundle": {"durable", "errors", "fetch", "streams", "trust"},
    "vmware": {"errors", "numbers", "severity"},
    "inspection": {"severity"},
    "conversion": {"inspection"},
    # Use cases, by subject.
    "services": SERVICES,
    "services.system": BASE | {"database", "fetch", "models", "sealing"},
    "services.accounts": BASE | {"models"},
    "services.sources": BASE | {"fetch", "models", "streamclient", "streams", "trust"},
    "services.images": BASE | {"models", "publication", "streams"},
    "services.blobs": BASE | {"models", "publication", "storage"},
    "services.imports": BASE | {"fetch", "models", "storage", "streams"},
    "services.uploads": BASE | {"conversion", "fetch", "inspection", "models", "storage"},
    "services.mirror": BASE
    | {"bundle", "fetch", "mirror", "models", "storage", "streams", "trust"},
    "services.racks": BASE | {"models", "streams"},
    "services.boot": BASE | {"inspection", "models", "storage", "streams"},
    "services.overview": BASE | {"models"},
    "services.backups": BASE | {"database", "models", "storage"},
    # Edges: what the outside touches.
    "http": {"errors", "extensions", "models", "services"},
    "web": EDGE | {"http", "hx", "inspection", "middleware", "vmware"},
    "api": EDGE | {"escaping", "http", "inspection", "middleware", "vmware"},
    "rack": EDGE | {"middleware"},
    # A rack without a database: no query is made in it.
    "remoterack": BASE | {"fetch", "rack", "readiness", "services", "storage", "streams", "trust"},
    # It imports the planes before it forks, so that their children share the memory.
    "server": EDGE | {"", "api", "database", "logs", "rack", "remoterack", "web"},
    # Most commands speak to /api/v1, and so know no service.
    "cli": EDGE
    | {"", "api", "bundle", "database", "escaping", "fetch", "inspection", "mirror", "server"}
    | {"vmware"},
}
# Only these speak of the request that is being answered.
KNOW_THE_REQUEST = {"web", "api", "rack", "middleware", "hx"}
REQUEST_WORDS = {"request", "session", "g", "after_this_request", "stream_with_context"}
KNOW_FLASK = KNOW_THE_REQUEST | {"", "http", "extensions", "services", "server"}
KNOW_NO_DATABASE = {"trust", "streams", "fetch", "streamclient"}
KNOW_THE_DATABASE = {"models", "extensions", "database", "storage", "services"}


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted((ROOT / "webapp").rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text())


def room(path: Path) -> str:
    """The first name below webapp; nothing for webapp itself."""
    return floor(path).partition(".")[0]


def floor(path: Path) -> str:
    """The room; of a service its subject too, as ``services.images``."""
    return room_of(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."))


def room_of(module: str) -> str:
    """The room of a module's dotted name, with its subject below services."""
    parts = [part for part in module.split(".")[1:] if part != "__init__"]
    return ".".join(parts[:2] if parts[:1] == ["services"] else parts[:1])


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every (module, name) that a module imports, also inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


@cache
def ours() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules()
    }


@cache
def modules_imported(path: Path) -> frozenset[str]:
    """The modules of ours that a module imports, also inside functions."""
    names = set(ours())
    return frozenset(
        full if (full := f"{module}.{name}") in names else module
        for module, name in imports(path)
        if module in names
    )


def rooms_imported(path: Path) -> set[str]:
    """The rooms of ours that a module imports from, below services with the subject."""
    return {room_of(module) for module in modules_imported(path)} - {floor(path)}


def allowed(path: Path) -> set[str]:
    """The rooms that a module may import; for a service the subjects below its own, too."""
    rooms = set(MAY_IMPORT[floor(path)])
    if room(path) != "services" and "services" in rooms:
        return rooms | {f"services.{subject}" for subject in SUBJECTS}
    subject = floor(path).partition(".")[2]
    below = SUBJECTS[: SUBJECTS.index(subject)] if subject else ()
    return rooms | {f"services.{name}" for name in below}


def test_every_room_has_its_rule() -> None:
    assert {floor(path) for path in modules()} == set(MAY_IMPORT)


def test_a_module_imports_only_what_its_room_may() -> None:
    wrong = {
        path.relative_to(ROOT).as_posix(): sorted(extra)
        for path in modules()
        if (extra := rooms_imported(path) - allowed(path))
    }
    assert wrong == {}


def test_modules_run_in_no_circle() -> None:
    graph = {name: modules_imported(path) - {name} for name, path in ours().items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {error.args[1]}")


def test_modules_are_short() -> None:
    lines = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in modules()}
    assert {name: n for name, n in lines.items() if n > LONGEST_MODULE} == {}


def test_test_modules_are_short() -> None:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    lines = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in paths}
    assert {name: n for name, n in lines.items() if n > LONGEST_MODULE} == {}


def test_modules_say_what_they_are() -> None:
    full = [path for path in modules() if path.read_text()]
    assert [path for path in full if not path.read_text().startswith(LICENCE)] == []
    assert [path for path in full if not ast.get_docstring(tree(path))] == []
    assert [path for path in full if path.stem in NO_NAME] == []


def test_only_the_edges_know_the_request() -> None:
    knowing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules()
        for module, name in imports(path)
        if module == "flask" and name in REQUEST_WORDS and room(path) not in KNOW_THE_REQUEST
    }
    assert knowing == set()


def test_leaves_know_neither_flask_nor_the_regions_database() -> None:
    knowing = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in modules()
        for module, _ in imports(path)
        if (module.partition(".")[0].startswith("flask") and room(path) not in KNOW_FLASK)
        or (module.partition(".")[0] == "alembic" and room(path) != "database")
        or (
            room(path) in {"trust", "streams", "fetch", "streamclient"}
            and module.startswith("sqlalchemy")
        )
    }
    assert knowing == set()


def test_only_a_migration_loads_alembic() -> None:
    loading = {
        str(path.relative_to(ROOT))
        for path in modules()
        for node in tree(path).body
        if (isinstance(node, ast.Import) and node.names[0].name.startswith("alembic"))
        or (isinstance(node, ast.ImportFrom) and str(node.module).startswith("alembic"))
    }
    assert loading == set(), "a quarter of the time that every process takes to start"


def test_only_services_commit() -> None:
    committing = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules()
        if room(path) in {"web", "api", "rack", "cli", "http", "server", "middleware", "hx"}
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in {"commit", "flush"}
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "session"
    }
    assert committing == set()


def test_migrations_import_nothing_of_ours() -> None:
    ours = {
        f"{path.name}: {module}"
        for path in sorted((ROOT / "migrations" / "versions").glob("*.py"))
        for module, _ in imports(path)
        if module.partition(".")[0] in {"webapp", "tests"}
    }
    assert ours == set()


def test_nothing_that_runs_imports_the_tests() -> None:
    assert not [
        (path, module)
        for path in [*modules(), ROOT / "wsgi.py"]
        for module, _ in imports(path)
        if module.partition(".")[0] in {"tests", "bench"}
    ]


def test_importing_every_module_has_no_effect(tmp_path: Path) -> None:
    names = list(ours())
    # In an empty folder and without a network, an import may read code and nothing else.
    script = f"""
import os, sys, importlib
def watch(event, args):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove"):
        raise RuntimeError(f"{{event}} {{args}} while importing")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise RuntimeError(f"wrote {{args[0]}} while importing")
sys.addaudithook(watch)
for name in {names!r}:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_the_architecture_document_names_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    paths = set(re.findall(r"`((?:webapp|tests|templates)/[\w/.-]+)`", text))
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    named = re.search(r"\n      services/.*?\n      http/", text, re.DOTALL)
    assert named is not None
    assert tuple(re.findall(r"^        (\w+)/", named[0], re.MULTILINE)) == SUBJECTS


def test_numbers_in_text_are_read_in_one_place() -> None:
    """``str.isdigit`` and its like accept what ``int`` refuses."""
    odd = re.compile(r"\.is(digit|decimal|numeric)\(")
    users = {
        path.relative_to(ROOT).as_posix() for path in modules() if odd.search(path.read_text())
    }
    # tar_headers asks bytes, for which isdigit means ASCII.
    assert users == {"webapp/numbers.py", "webapp/inspection/tar_headers.py"}
