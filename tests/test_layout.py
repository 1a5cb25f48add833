# SPDX-License-Identifier: Apache-2.0
"""The architecture of docs/architecture.md, read off the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST_MODULE = 375

LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"
NO_NAME = {"utils", "util", "helpers", "common", "misc"}

# Each room and the rooms of ours that it may import. "" is webapp/__init__.py.
BASE = {"errors", "config", "extensions"}
EDGE = BASE | {"services", "models", "streams", "storage", "jobs"}
MAY_IMPORT: dict[str, set[str]] = {
    "": {"api", "config", "database", "extensions", "logs", "middleware", "rack", "storage", "web"},
    "errors": set(),
    "config": {"errors"},
    "logs": {"config"},
    "database": {"config", "errors"},
    "extensions": {"config", "models", "storage"},
    "middleware": {"config", "errors"},
    "hx": set(),
    "connections": set(),
    # Leaves: whoever reads them needs nothing else of ours.
    "models": set(),
    "streams": {"errors"},
    "storage": {"errors"},
    "fetch": {"errors", "storage"},
    "streamclient": {"errors", "fetch", "streams"},
    "mirror": {"errors", "fetch", "storage", "streamclient", "streams"},
    "services": BASE | {"fetch", "inspection", "models", "storage", "streamclient", "streams"},
    # Edges: what the outside touches.
    "web": EDGE | {"bodies", "hx", "inspection", "middleware", "tus", "vmware"},
    "api": EDGE | {"bodies", "inspection", "middleware", "tus", "vmware"},
    "bodies": set(),
    "tus": {"bodies", "errors", "models", "services"},
    "rack": EDGE | {"middleware"},
    "jobs": BASE | {"services", "models", "storage"},
    "serve": BASE | {"", "connections", "database", "logs", "supervisor"},
    # It imports the planes before it forks, so that their children share the memory.
    "supervisor": BASE
    | {"", "api", "database", "jobs", "logs", "rack", "serve", "services", "web"},
    # Commands that speak to /api/v1, and so know no service; "api" and "services" only locally.
    # "fetch" has the words for what goes wrong on the way to a server.
    "commands": {
        *("api", "cli_context", "config", "errors", "fetch", "inspection", "services", "storage"),
    },
    "vmware": {"errors"},
    "inspection": set(),
    "inspect_cli": {"commands", "inspection"},
    "esxi_cli": {"errors", "vmware"},
    "mirror_cli": {"errors", "fetch", "mirror", "streams"},
    "cli_context": {"", "config", "database", "errors", "extensions"},
    "admin_cli": {"cli_context", "commands", "errors", "keys_cli", "models", "services"},
    "keys_cli": {"cli_context", "commands", "services"},
    "cli": EDGE
    | {
        "",
        "admin_cli",
        "cli_context",
        "commands",
        "database",
        "esxi_cli",
        "inspect_cli",
        "mirror_cli",
        "serve",
    },
}
# Only these speak of the request that is being answered.
KNOW_THE_REQUEST = {"web", "api", "rack", "middleware", "hx"}
REQUEST_WORDS = {"request", "session", "g", "after_this_request", "stream_with_context"}
KNOW_FLASK = KNOW_THE_REQUEST | {"", "bodies", "tus", "extensions", "services", "jobs"}
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
    first = path.relative_to(ROOT / "webapp").parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every (module, name) that a module imports, also inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    """The rooms of ours that a module imports from."""
    found, rooms = set(), set(MAY_IMPORT)
    for module, name in imports(path):
        parts = module.split(".")
        if parts[0] != "webapp":
            continue
        if len(parts) > 1:
            found.add(parts[1])
        else:
            found.add(name if name in rooms else "")
    return found - {room(path)}


def test_every_room_has_its_rule() -> None:
    assert {room(path) for path in modules()} - set(MAY_IMPORT) == set()


def test_a_module_imports_only_what_its_room_may() -> None:
    wrong = {
        path.relative_to(ROOT).as_posix(): sorted(extra)
        for path in modules()
        if (extra := rooms_imported(path) - MAY_IMPORT[room(path)])
    }
    assert wrong == {}


def test_modules_are_short() -> None:
    lines = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in modules()}
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
        or (room(path) in {"streams", "fetch", "streamclient"} and module.startswith("sqlalchemy"))
    }
    assert knowing == set()


def test_only_services_commit() -> None:
    committing = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules()
        if room(path) in {"web", "api", "rack", "cli", "jobs", "serve", "middleware", "hx"}
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
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in modules()
    ]
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
