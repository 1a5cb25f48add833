# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.support import factories
from tests.support.databases import Queries
from tests.web.visitors import Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import ImportFailure, ImportRun, Role, utcnow
from webapp.services.system import live_settings

Visit = Callable[..., Visitor]
Count = Callable[[], AbstractContextManager[Queries]]
POLL = 'data-poll hx-get="/imports/" hx-trigger="every 2s"'


def running(**values: Any) -> ImportRun:
    defaults = {
        "state": "running", "phase": "downloading", "started_at": utcnow(), "finished_at": None,
        "lease_owner": "worker", "lease_until": utcnow() + timedelta(minutes=5),
        "bytes_total": 1000, "bytes_done": 350, "bytes_per_s": 65,
    }  # fmt: skip
    return factories.import_run(**{**defaults, **values})


def every_run() -> list[ImportRun]:
    db.session.rollback()
    return list(db.session.scalars(db.select(ImportRun).order_by(ImportRun.id)))


def announced(page: str) -> str:
    found = re.search(r'id="current-import" data-announce="([^"]*)"', page)
    assert found
    return found[1]


# -- what runs


def test_nothing_runs_and_nothing_ran(viewer: Visitor) -> None:
    page = viewer.get("/imports/")
    assert "No import is running" in text_of(page)
    assert "No imports yet" in text_of(page)
    assert POLL not in page.text
    assert announced(page.text) == ""


def test_a_running_import_shows_bytes_speed_and_time_left(region: Flask, viewer: Visitor) -> None:
    running()
    page = viewer.get("/imports/")
    shown = text_of(page)
    assert "350 bytes of 1.0 kB (35 %)" in shown
    assert "65 bytes/s, 10 s left" in shown
    assert '<progress id="run-progress" value="350" max="1000"' in page.text
    assert '<label for="run-progress">All files</label>' in page.text
    assert POLL in page.text


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("refreshing", "Checking boot sources"),
        ("planning", "Planning"),
        ("downloading", "Downloading"),
        ("publishing", "Publishing"),
        ("", "Running"),
    ],
)
def test_each_phase_has_its_words(region: Flask, viewer: Visitor, phase: str, words: str) -> None:
    running(phase=phase, bytes_total=0, bytes_done=0, bytes_per_s=0)
    page = viewer.get("/imports/")
    assert f"<h2>{words}</h2>" in page.text
    assert '<progress id="run-progress">' in page.text  # the total is unknown


def test_a_queued_import_waits_for_the_worker(region: Flask, viewer: Visitor) -> None:
    factories.import_run(state="queued", finished_at=None)
    page = viewer.get("/imports/")
    assert "Queued" in text_of(page)
    assert POLL in page.text


def test_files_are_grouped_by_image_and_kernel(region: Flask, viewer: Visitor) -> None:
    factories.cache_entry(title="Ubuntu 24.04 LTS")
    run = running()
    for kernel in ("ga-24.04", "hwe-24.04"):
        factories.file_transfer(run, architecture=f"amd64/{kernel}", filename="boot-kernel")
    factories.file_transfer(run, filename="squashfs", state="downloading", size=1000,
                            bytes_done=400, bytes_per_s=100, retries=2)  # fmt: skip
    factories.file_transfer(run, image="centos/centos70", architecture="amd64/generic",
                            filename="root-tgz", state="waiting", bytes_done=0)  # fmt: skip
    page = viewer.get("/imports/")
    shown = text_of(page)
    assert "Ubuntu 24.04 LTS amd64 Version 20260105, 3.0 kB, 80 %" in shown
    assert "boot-kernel hwe-24.04 Done" in shown
    assert "squashfs ga-24.04 Downloading 400 bytes of 1.0 kB 100 bytes/s 6 s 2" in shown
    assert "root-tgz Waiting 0 bytes of 1.0 kB" in shown
    assert re.findall(r'<details class="card" id="(run-image-\d)"( open)?', page.text) == [
        ("run-image-1", " open"),
        ("run-image-2", ""),
    ]


def test_a_file_that_waits_says_why_from_where_and_how_long(
    region: Flask, viewer: Visitor, operator: Visitor
) -> None:
    run = running()
    factories.file_transfer(run, state="downloading", bytes_done=0, retries=1,
                            mirror="http://m.example.test/", cause="The server is busy.",
                            next_step="Try later.",
                            retry_at=utcnow() + timedelta(minutes=90))  # fmt: skip
    shown = text_of(viewer.get("/imports/"))
    assert re.search(r"The server is busy\. Next try in \S+ .*From http://m\.example\.test/", shown)
    assert "Next: Try later." in shown
    assert "Try again now" not in shown
    assert "Try again now" in text_of(operator.get("/imports/"))
    assert operator.post("/imports/retry").status_code == 303
    db.session.expire_all()
    assert run.retry_asked_at is not None


def test_an_import_of_no_bytes_divides_by_nothing(region: Flask, viewer: Visitor) -> None:
    run = running(bytes_total=0, bytes_done=0, bytes_per_s=0)
    factories.file_transfer(run, size=0, bytes_done=0, state="done")
    assert "100 %" in text_of(viewer.get("/imports/"))


def test_progress_is_announced_in_quarters_and_not_every_percent(
    region: Flask, viewer: Visitor
) -> None:
    run = running()
    announcements = []
    for done in (0, 100, 240, 260, 490, 510, 999):
        run.bytes_done = done
        db.session.commit()
        announcements.append(announced(viewer.get("/imports/", HX_Request="true").text))
    assert announcements == [
        *["Import running: 0 percent"] * 3,
        *["Import running: 25 percent"] * 2,
        "Import running: 50 percent",
        "Import running: 75 percent",
    ]


def test_the_part_ends_by_itself_and_brings_the_result(region: Flask, viewer: Visitor) -> None:
    run = running()
    assert POLL in viewer.get("/imports/", HX_Request="true").text
    run.state, run.finished_at, run.summary = "succeeded", utcnow(), "2 images stored."
    db.session.commit()
    part = viewer.get("/imports/", HX_Request="true")
    assert POLL not in part.text
    assert "No import is running" in text_of(part)
    assert "Completed 2 images stored." in text_of(part)
    assert announced(part.text) == "Import finished: 2 images stored."


# -- what ran


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("succeeded", "Completed"),
        ("partial", "Completed with errors"),
        ("failed", "Failed"),
        ("stopped", "Stopped"),
    ],
)
def test_the_last_imports_are_listed_with_their_result(
    region: Flask, operator: Visitor, state: str, words: str
) -> None:
    run = factories.import_run(state=state, summary="A summary.", requested_by="ada")
    page = operator.get("/imports/")
    assert f"Import {run.id} {words} A summary. ada" in text_of(page)
    assert f'href="/imports/{run.id}"' in page.text


def test_a_failure_says_what_where_expected_got_and_the_next_step(
    region: Flask, viewer: Visitor
) -> None:
    factories.cache_entry(title="Ubuntu 24.04 LTS")
    run = factories.import_run(state="partial")
    factories.saved(
        ImportFailure(run_id=run.id, image="ubuntu/noble", architecture="amd64/ga-24.04",
                      filename="squashfs", code="hash-mismatch", what="It is damaged.",
                      source_url="http://mirror.example.test/", where="noble/squashfs",
                      expected="sha256 aa", got="sha256 bb", next_step="Ask who runs it.")
    )  # fmt: skip
    source = factories.boot_source()
    factories.saved(
        ImportFailure(run_id=run.id, code="http-status", what="The source is gone.",
                      source_id=source.id, source_url=source.url)
    )  # fmt: skip
    page = viewer.get(f"/imports/{run.id}")
    assert f'<a href="/sources/{source.id}">{source.url}</a>' in page.text
    shown = text_of(page)
    assert "Error: Ubuntu 24.04 LTS amd64/ga-24.04 squashfs: It is damaged." in shown
    assert (
        "Source http://mirror.example.test/ Where noble/squashfs Expected sha256 aa Got sha256 bb "
        "Next: Ask who runs it."
    ) in shown
    assert "Error: The source is gone." in shown


def test_an_unknown_import_is_404(viewer: Visitor) -> None:
    for path in ("/imports/4711", "/imports/99999999999999"):
        assert viewer.get(path).status_code == 404


def test_one_import_asks_again_only_while_it_runs(region: Flask, viewer: Visitor) -> None:
    run = running()
    poll = f'data-poll hx-get="/imports/{run.id}"'
    assert poll in viewer.get(f"/imports/{run.id}").text
    run.state, run.finished_at = "stopped", utcnow()
    db.session.commit()
    assert poll not in viewer.get(f"/imports/{run.id}", HX_Request="true").text


# -- start, stop, automatic


def test_starting_twice_is_one_import(region: Flask, operator: Visitor) -> None:
    for _ in range(2):
        answer = operator.post("/imports/start")
        assert (answer.status_code, leads_to(answer)) == (303, "/imports/")
    (run,) = every_run()
    assert run.requested_by == operator.username
    page = operator.get("/imports/")
    assert "An import is already running:" in text_of(page)
    assert f'<a href="/imports/{run.id}">import {run.id}</a>' in page.text
    assert "already running" not in operator.get("/imports/").text


def test_stopping_says_so_until_it_has_stopped(region: Flask, operator: Visitor) -> None:
    running()
    assert "Stop import" in text_of(operator.get("/imports/"))
    assert operator.post("/imports/stop").status_code == 303
    page = operator.get("/imports/")
    assert re.search(r'<button[^>]*id="stop-import" disabled>', page.text)
    assert "Stopping…" in text_of(page)
    assert announced(page.text) == "Stopping the import"
    assert every_run()[0].is_cancelled


def test_a_queued_import_stops_at_once(region: Flask, operator: Visitor) -> None:
    operator.post("/imports/start")
    operator.post("/imports/stop")
    assert [run.state for run in every_run()] == ["stopped"]


@pytest.mark.parametrize("action", ["stop", "pause", "resume"])
def test_stopping_or_pausing_nothing_says_so(operator: Visitor, action: str) -> None:
    assert operator.post(f"/imports/{action}").status_code == 303
    assert "No import is running." in text_of(operator.get("/imports/"))


def test_an_import_is_paused_and_resumed(region: Flask, operator: Visitor) -> None:
    running(is_attended=False)
    operator.post("/imports/pause")
    page = operator.get("/imports/")
    assert "<h2>Paused</h2>" in page.text
    assert announced(page.text) == "Import paused: 25 percent"
    assert 'action="/imports/pause"' not in page.text
    assert [run.hold for run in every_run()] == ["user"]
    operator.post("/imports/resume")
    assert "<h2>Downloading</h2>" in operator.get("/imports/").text
    assert [(run.hold, run.is_attended) for run in every_run()] == [("", True)]


def test_the_page_tells_about_windows(region: Flask, operator: Visitor) -> None:
    hour = (utcnow().hour + 6) % 24
    live_settings.change("import_windows", f"{hour:02}:00-{hour:02}:30", "ada")
    run = running(hold="window", is_attended=False)
    shown = text_of(operator.get("/imports/"))
    assert "Paused until a window opens" in shown
    assert re.search(r"A window opens in \d hours ?. Resume the import to download now.", shown)
    assert "Automatic imports wait for the next window, which opens in" in shown
    run.hold, run.is_attended = "", True
    db.session.commit()
    shown = text_of(operator.get(f"/imports/{run.id}"))
    assert "This import was started by hand, so it doesn't wait for a window." in shown


def test_automatic_imports_turn_off_and_on(region: Flask, administrator: Visitor) -> None:
    assert "Sources are checked every 60 minutes" in text_of(administrator.get("/imports/"))
    administrator.post("/imports/automatic", {"on": "no"})
    assert not live_settings.is_auto_import()
    page = text_of(administrator.get("/imports/"))
    assert "Automatic imports are off. New versions are downloaded only when" in page
    administrator.post("/imports/automatic", {"on": "yes"})
    db.session.rollback()
    assert live_settings.is_auto_import()


# -- roles, parts, size


def test_each_role_gets_the_buttons_it_may_use(region: Flask, visit: Visit) -> None:
    running()
    wanted = {
        Role.VIEWER: set(),
        Role.OPERATOR: {"/imports/stop", "/imports/pause"},
        Role.ADMINISTRATOR: {"/imports/stop", "/imports/pause", "/imports/automatic"},
    }
    for role, actions in wanted.items():
        page = visit(role).get("/imports/").text
        main = page[page.index("<main") : page.index("</main")]
        assert set(re.findall(r'action="([^"]+)"', main)) == actions


def test_viewers_do_not_see_which_user_started_an_import(region: Flask, visit: Visit) -> None:
    run = factories.import_run(state="failed", requested_by="lovelace", trigger="manual")
    for path in ("/imports/", f"/imports/{run.id}"):
        assert "lovelace" in visit(Role.OPERATOR).get(path).text
        page = visit(Role.VIEWER).get(path)
        assert "lovelace" not in page.text
        assert "Manual" in text_of(page)


def test_viewers_start_stop_and_switch_nothing(region: Flask, visit: Visit) -> None:
    running()
    viewer, operator = visit(Role.VIEWER), visit(Role.OPERATOR)
    before = everything(region)
    for action in ("start", "stop", "pause", "resume", "retry", "automatic"):
        path = f"/imports/{action}"
        assert viewer.post(path).status_code == 403
    assert operator.post("/imports/automatic", {"on": "no"}).status_code == 403
    after = everything(region)
    assert (after["import_run"], after["setting"]) == (before["import_run"], before["setting"])


def test_parts_are_kept_apart_from_pages_and_never_stored(region: Flask, viewer: Visitor) -> None:
    run = running()
    for path, id in (("/imports/", "current-import"), (f"/imports/{run.id}", "one-import")):
        part = viewer.get(path, HX_Request="true")
        assert part.text.strip().startswith(f'<div id="{id}"')
        assert "<html" not in part.text
        for answer in (part, viewer.get(path)):
            assert "HX-Request" in answer.headers["Vary"]
            assert answer.headers["Cache-Control"] == "no-store"


def test_what_has_the_focus_in_a_live_part_has_an_id_to_find_it_by(
    region: Flask, visit: Visit
) -> None:
    factories.import_run(state="failed")
    factories.file_transfer(running())
    part = visit(Role.ADMINISTRATOR).get("/imports/", HX_Request="true").text
    controls = re.findall(r"<(?:button|summary|a)\b[^>]*>", part)
    assert len(controls) >= 3
    assert [control for control in controls if " id=" not in control] == []


def test_a_run_takes_the_same_queries_whatever_its_size(
    region: Flask, viewer: Visitor, count_queries: Count
) -> None:
    run = running()
    factories.file_transfer(run)
    viewer.get("/imports/")
    with count_queries() as few:
        viewer.get("/imports/")
    for number in range(60):
        factories.file_transfer(run, image=f"ubuntu/r{number}")
        factories.import_run(state="failed")
    with count_queries() as many:
        assert viewer.get("/imports/").text.count("squashfs") >= 61
    assert len(many) == len(few), many
