# SPDX-License-Identifier: Apache-2.0
"""Kernels and rules on the command line."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from sqlalchemy import select

from tests.cli.shell import Shell, refused
from tests.support import factories
from webapp.extensions import db
from webapp.models import BootSourceSelection, SelectionRule, utcnow


@pytest.fixture
def _source(region: Flask) -> None:
    """A source with two kernels of noble, and jammy."""
    source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
    factories.cache_entry(source)
    factories.cache_entry(source, subarch="hwe-24.04", answers_to=["hwe-24.04"])
    factories.cache_entry(source, release="jammy", release_version="22.04")


@pytest.mark.usefixtures("_source")
def test_kernels_are_listed_and_chosen(slipway: Shell) -> None:
    listed = slipway("image", "kernels", "ubuntu/noble").stdout
    assert "ga-24.04" in listed
    assert "generic" in listed
    words = ("image", "select", "ubuntu/noble", "--arch", "amd64", "--kernel")
    code, screen = slipway.answered("n\n", *words, "hwe-24.04")
    assert (code, "ask for as generic" in screen) == (130, True)
    assert db.session.scalars(select(BootSourceSelection)).all() == []
    assert "--kernel: No source offers hwe-99" in refused(slipway(*words, "hwe-99"))
    done = slipway(*words, "ga-24.04")
    assert "+ ubuntu/noble amd64" in done.stdout
    assert db.session.scalars(select(BootSourceSelection)).one().subarches == ["ga-24.04"]
    assert "+ ubuntu/noble hwe-24.04" in slipway(*words, "all").stdout
    assert "Import 1 is queued." in slipway(*words, "all", "--import").stdout
    assert "Import 1 is already running." in slipway(*words, "all", "--import").stdout


@pytest.mark.usefixtures("_source")
def test_a_rule_is_previewed_added_changed_listed_and_removed(slipway: Shell) -> None:
    newest = ("newest-lts", "--count", "1", "--kernel", "ga")
    shown = slipway("rules", "preview", *newest).stdout
    assert "ubuntu/noble amd64: the newest of the LTS releases" in shown
    assert "+ ubuntu/noble amd64/ga-24.04" in shown
    assert db.session.scalars(select(SelectionRule)).all() == []
    assert "Added rule 1: Newest Ubuntu LTS, ga." in slipway("rule", "add", *newest).stdout
    assert "ubuntu/noble amd64" in slipway("rule", "list").stdout
    done = slipway("rule", "change", "1", "--count", "2", "--import")
    assert "Import 1 is queued." in done.stdout
    assert "+ ubuntu/jammy amd64/ga-22.04" in done.stdout
    assert "Changed rule 1: Newest 2 Ubuntu LTS, ga." in done.stdout
    for given, kept in (("1", 1), ("all", None)):
        rule = json.loads(slipway("rule", "change", "1", "--source", given, "--json").stdout)
        assert rule["source_id"] == kept
    assert "Give a number, or all" in slipway("rule", "change", "1", "--source", "x").stderr
    [rule] = json.loads(slipway("rule", "list", "--json").stdout)["items"]
    assert [match["release"] for match in rule["matches"]] == ["jammy", "noble"]
    wrong = ("pattern", "--pattern", "(a")
    assert "--pattern: This expression can't be read" in refused(slipway("rule", "add", *wrong))
    none = slipway("rule", "preview", "every", "--os", "debian")
    assert "matches nothing" in none.stderr
    assert "Removed rule 1" in slipway("rule", "remove", "1").stdout
    assert "No rules yet" in slipway("rule", "list").stdout
