# SPDX-License-Identifier: Apache-2.0
"""Soak times, the commissioning release and speeds of past imports on the command line."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from flask import Flask

from tests.cli.shell import Shell, refused
from tests.support import factories
from tests.support.scenery import closed_window
from webapp.extensions import db
from webapp.models import utcnow
from webapp.services.imports import runs
from webapp.services.system import live_settings


def test_soak_times_and_the_commissioning_release_are_steered(
    region: Flask, slipway: Shell
) -> None:
    source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
    for release, version in (("noble", "24.04"), ("jammy", "22.04")):
        title, today = f"Ubuntu {version} LTS", f"{utcnow():%Y%m%d}"
        fields = {"release": release, "release_version": version, "title": title}
        factories.cache_entry(source, version=today, **fields)
        factories.selection(source, release=release)
    id = str(source.id)
    db.session.remove()
    assert "no soak time of its own" in slipway("source", "soak", id).stdout
    assert "at least 7 days old" in slipway("source", "soak", id, "--days", "7").stdout
    plan = slipway("import", "plan").stdout
    assert plan.count("later") == 2
    assert "no version is 7 days old yet" in " ".join(plan.split())
    done = slipway("image", "soak", "ubuntu/noble", "--days", "0")
    assert done.stdout.strip() == "ubuntu/noble amd64: versions must be at least 0 days old"
    assert slipway("import", "plan").stdout.count("later") == 1
    assert slipway("image", "soak", "ubuntu/noble", "--days", "a").returncode == 2
    assert "No boot source offers ubuntu/warty" in refused(slipway("image", "soak", "ubuntu/warty"))
    slipway("setting", "set", "commissioning_distro_series", "jammy")
    assert "must stay selected" in refused(slipway("image", "unselect", "ubuntu/jammy", "--yes"))
    assert "with --commission noble" in refused(slipway("image", "unselect", "ubuntu/jammy"))
    code, screen = slipway.answered("y\n", "image", "unselect", "ubuntu/jammy")
    assert (code, "- ubuntu/jammy amd64" in screen) == (0, True)
    assert "noble" in slipway("setting", "live").stdout


def test_a_plan_says_which_selection_leaves_an_image_out(region: Flask, slipway: Shell) -> None:
    source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
    factories.cache_entry(source, release="noble")
    factories.cache_entry(source, release="jammy", product="jammy")
    factories.selection(source, release="noble", arches=["arm64"])
    db.session.remove()
    assert "out" not in slipway("import", "plan").stdout.split()
    shown = slipway("import", "plan", "--all", COLUMNS="200").stdout
    plan = " ".join(shown.split())
    assert "the selection ubuntu/noble leaves it out: its arches are arm64, this is amd64" in plan
    assert "no selection asks for ubuntu/jammy" in plan


def test_past_imports_show_how_fast_they_were(region: Flask, slipway: Shell) -> None:
    ended = utcnow()
    times = {"started_at": ended - timedelta(seconds=10), "finished_at": ended}
    run = factories.import_run(bytes_done=50_000_000, **times)
    factories.file_transfer(run, state="done", mirror="http://m/", bytes_done=20_000_000, **times)
    id = str(run.id)
    db.session.remove()
    assert "5.0 MB/s" in slipway("import", "list").stdout
    assert "2.0 MB/s" in slipway("import", "show", id).stdout


def test_a_start_outside_the_windows_asks_a_person_and_tells_a_script(
    region: Flask, slipway: Shell
) -> None:
    live_settings.change("import_windows", closed_window(), "ada")
    db.session.remove()
    code, screen = slipway.answered("n\n", "import", "start")
    assert code != 0
    assert re.search(r"No import window is open\. The next one opens at \S+ \S+ UTC", screen)
    assert runs.current() is None
    db.session.remove()
    code, screen = slipway.answered("y\n", "import", "start")
    assert (code, "is queued. Next: slipway import watch" in screen) == (0, True)
    done = slipway("import", "start")
    assert (done.returncode, "This import starts anyway." in done.stderr) == (0, True)
    assert slipway("import", "start", "--now").stderr == ""


def test_a_second_start_names_the_import_that_runs(region: Flask, slipway: Shell) -> None:
    first = json.loads(slipway("import", "start", "--json").stdout)
    done = slipway("import", "start")
    words = f"Import {first['id']} is already running."
    assert (done.returncode, done.stdout) == (0, f"{words} Next: slipway import watch\n")
    assert json.loads(slipway("import", "start", "--json").stdout)["is_new"] is False
    slipway("import", "pause")
    assert slipway("import", "start").stdout.startswith(f"{words} It's paused.")
    db.session.remove()
    assert [run.id for run in runs.recent()] == [first["id"]]


def test_one_image_of_an_import_is_stopped(region: Flask, slipway: Shell) -> None:
    source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
    factories.cache_entry(source)
    factories.selection(source)
    assert "No import is running" in refused(slipway("import", "stop", "ubuntu/noble"))
    action = {"kind": "add", "name": "ubuntu/noble", "architecture": "amd64/ga-24.04"}
    plan: dict[str, object] = {"actions": [{**action, "version": "20260105"}]}
    plan |= {"bytes_to_fetch": 1, "retire": [], "wait": [], "changes": []}
    lease = {"lease_owner": "w", "lease_until": utcnow() + timedelta(minutes=5)}
    run_id = factories.import_run(state="running", finished_at=None, plan=plan, **lease).id
    db.session.remove()
    assert slipway("import", "stop", "--arch", "amd64").returncode == 2
    done = slipway("import", "stop", "ubuntu/noble", "--arch", "amd64")
    words = f"Stopped ubuntu/noble in import {run_id}. The next import takes it up."
    assert done.stdout.strip() == words
    shown = slipway("import", "show", str(run_id)).stdout
    assert "Stopped ubuntu/noble amd64 by command line" in shown
    found = json.loads(slipway("import", "show", str(run_id), "--json").stdout)
    stopped = {"name": "ubuntu/noble", "arch": "amd64", "by": "command line"}
    assert (found["state"], found["stopped_images"]) == ("running", [stopped])
    assert "nothing left to download" in refused(
        slipway("import", "stop", "ubuntu/jammy", "--arch", "amd64")
    )
