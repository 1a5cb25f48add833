# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import platform
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from webapp.config import Settings
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection
from webapp.services.sources import refreshing, sources
from webapp.services.sources.first_start import ensure_defaults


def rows() -> tuple[list[BootSource], list[BootSourceSelection]]:
    found = list(db.session.scalars(select(BootSource)))
    return found, list(db.session.scalars(select(BootSourceSelection)))


@pytest.mark.settings(defaults="on")
def test_a_first_start_makes_one_source_and_one_selection_and_a_second_none(
    region: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert ensure_defaults(settings)
    assert not ensure_defaults(settings)
    (source,), (selection,) = rows()
    assert source.url == "https://images.maas.io/ephemeral-v3/daily/"
    assert source.keyring_filename == "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"
    assert (selection.os, selection.release) == ("ubuntu", "noble")
    assert (selection.arches, selection.subarches, selection.labels) == (["amd64"], ["*"], ["*"])


@pytest.mark.settings(defaults="on")
def test_another_machine_wants_its_own_architecture_too(
    region: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    ensure_defaults(settings)
    assert rows()[1][0].arches == ["arm64", "amd64"]


@pytest.mark.settings(defaults="on")
def test_what_an_administrator_emptied_stays_empty(region: Flask, settings: Settings) -> None:
    ensure_defaults(settings)
    sources.remove(rows()[0][0], "ada")
    assert not ensure_defaults(settings)
    assert rows() == ([], [])


def test_automation_gets_nothing_by_default(region: Flask, settings: Settings) -> None:
    assert not ensure_defaults(settings)
    assert rows() == ([], [])


def test_the_default_source_says_that_its_keyring_is_missing(
    region: Flask, environ: dict[str, str], tmp_path: Path
) -> None:
    missing = tmp_path / "ubuntu-cloudimage-keyring.gpg"
    settings = Settings.load(
        environ | {"SLIPWAY_DEFAULTS": "on", "SLIPWAY_DEFAULT_KEYRING": str(missing)}
    )
    ensure_defaults(settings)
    (source,), _ = rows()
    problem = refreshing.refresh(source).problem
    assert problem is not None
    assert (problem.code, problem.where) == ("keyring-missing", str(missing))
    for way in ("apt install ubuntu-keyring", "paste or upload", "another keyring file"):
        assert way in problem.next_step
    assert "4A3C E3CD 565D 7EB5 C810 E2B9 7FF3 F408 476C F100" in problem.next_step
