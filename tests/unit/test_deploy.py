# SPDX-License-Identifier: Apache-2.0
"""The files of deploy/ name things that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from webapp.cli.main import cli
from webapp.config import ROOT, env_name, setting_fields

DEPLOY = ROOT / "deploy"
FILES = [
    ROOT / "Procfile",
    DEPLOY / "Containerfile",
    DEPLOY / "compose.yaml",
    *sorted((DEPLOY / "systemd").iterdir()),
    *sorted((DEPLOY / "nginx").iterdir()),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    known = {env_name(spec.name) for spec in setting_fields()}
    known |= {"SLIPWAY_DATABASE_PASSWORD", "SLIPWAY_NAME"}  # compose's own, and a placeholder
    assert set(re.findall(r"SLIPWAY_[A-Z_]+", path.read_text())) <= known


def test_commands_that_are_started_exist() -> None:
    procfile = re.findall(r"^(\w+): slipway (\w+)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    assert procfile == [("web", "web"), ("rack", "rack"), ("worker", "worker")]
    compose = (DEPLOY / "compose.yaml").read_text()
    commands = re.findall(r'^ +command: \["(\w+)"', compose, re.MULTILINE)
    assert commands == ["db", "web", "rack", "worker"]
    target = (DEPLOY / "systemd" / "slipway.target").read_text()
    units = re.findall(r"slipway@(\w+)\.service", target)
    assert {*units, *commands, *(name for name, _ in procfile)} <= set(cli.commands)


def test_the_container_gets_everything_that_runs() -> None:
    containerfile = (DEPLOY / "Containerfile").read_text()
    sources = [
        source
        for line in re.findall(r"^COPY (.+)$", containerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert {source for source in sources if not (ROOT / source).exists()} == set()
    assert {"webapp", "templates", "static", "migrations"} <= set(sources)
    locks = re.findall(r"requirements[\w-]*\.txt", containerfile)
    assert set(locks) <= set(sources)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text().replace("/opt/slipway/.venv/bin/slipway", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    (tmp_path / "slipway@rack.service").symlink_to("slipway@.service")
    units = ["slipway.target", "slipway@rack.service", "slipway-prepare.service"]
    units.append("slipway-remote-rack.service")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(f"./{unit}" for unit in units)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
