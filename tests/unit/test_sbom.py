# SPDX-License-Identifier: Apache-2.0
"""The bill of materials that ``make sbom`` writes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from functools import cache
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from webapp.config import ROOT

DECLARE_NO_LICENCE = {"huey"}  # in their metadata
VENDOR = ROOT / "static" / "vendor"


@cache
def written(**environ: str) -> str:
    known = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, str(ROOT / "deploy" / "sbom.py")]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**known, **environ}, cwd="/"
    )
    assert done.stderr == ""
    return done.stdout


def components() -> dict[str, dict[str, Any]]:
    return {one["purl"]: one for one in json.loads(written())["components"]}


def test_it_is_valid_and_the_same_each_time() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written()) is None
    assert written(PYTHONHASHSEED="7") == written()
    assert "timestamp" not in json.loads(written())["metadata"]
    dated = json.loads(written(SOURCE_DATE_EPOCH="1767225600"))
    assert dated["metadata"]["timestamp"] == "2026-01-01T00:00:00+00:00"


def test_it_lists_every_locked_package_with_its_licence_and_hashes() -> None:
    found = components()
    for lock, scope in (("requirements.txt", "required"), ("requirements-build.txt", "excluded")):
        pins = re.findall(r"^(\S+)==(\S+) (?!.*win32)", (ROOT / lock).read_text(), re.M)
        assert pins
        for name, version in pins:
            one = found[f"pkg:pypi/{name.lower()}@{version}"]
            assert (one["scope"], bool(one["hashes"])) == (scope, True)
            assert one.get("licenses") or name in DECLARE_NO_LICENCE
    assert not any("pytest" in purl for purl in found)


def test_it_lists_every_vendored_file() -> None:
    files = {
        file["name"]: file["hashes"][0]["content"]
        for one in components().values()
        for file in one.get("components", ())
    }
    there = [path for path in VENDOR.iterdir() if path.name != "MANIFEST"]
    assert files == {
        f"static/vendor/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in there
    }


def test_the_application_depends_on_what_it_asks_for() -> None:
    document = json.loads(written())
    needs = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    root = needs[document["metadata"]["component"]["bom-ref"]]
    names = [ref.partition("@")[0] for ref in root if ref.startswith("pkg:pypi/")]
    asked = re.findall(r"^([\w.-]+)", (ROOT / "requirements.in").read_text(), re.M)
    wanted = {re.sub(r"[-_.]+", "-", name).lower() for name in asked if name[0] != "#"}
    assert {name.removeprefix("pkg:pypi/") for name in names} == wanted
    assert any(ref.startswith("pkg:pypi/markupsafe@") for refs in needs.values() for ref in refs)


def test_it_tells_nothing_of_this_machine() -> None:
    text = written()
    assert str(ROOT) not in text
    hosts = set(re.findall(r"https?://([^/\"]+)", text))
    assert hosts <= {"cyclonedx.org"}
