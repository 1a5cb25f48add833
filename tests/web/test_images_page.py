# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, TypeVar

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support import factories
from tests.web.visitors import HTMX, Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import (
    Base,
    BootResource,
    BootSource,
    BootSourceSelection,
    ImportRun,
    Role,
    utcnow,
)
from webapp.services.imports import runs

Visit = Callable[..., Visitor]
Row = TypeVar("Row", bound=Base)


@pytest.fixture
def source(region: Flask) -> BootSource:
    """A source that was read well and offers noble and jammy for two architectures, and CentOS.

    The context is another app's, so that every visitor's request still gets one of its own.
    """
    source = factories.boot_source(name="lab", checked_at=utcnow(), refreshed_at=utcnow())
    for release, version in (("noble", "24.04"), ("jammy", "22.04")):
        for arch in ("amd64", "arm64"):
            offer(source, release=release, arch=arch, release_version=version)
    offer(
        source,
        os="centos",
        release="centos70",
        release_version="7.0",
        subarch="generic",
        title="CentOS 7",
        release_title="CentOS 7",
        support_eol=date(2024, 6, 30),
    )
    return source


def offer(source: BootSource, **values: Any) -> None:
    title = f"Ubuntu {values['release_version']} LTS"
    factories.cache_entry(source, **{"title": title, "support_esm_eol": None, **values})


def box(source: BootSource, name: str) -> str:
    return f"{source.id}/{name}"


def boxes(page: str) -> dict[str, bool]:
    """Every box of the page and whether it is ticked."""
    found = re.findall(r'<input type="checkbox" name="image" value="([^"]+)"( checked)?', page)
    return {value.partition("/")[2]: bool(checked) for value, checked in found}


def hidden(page: str, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', page)
    assert found
    return found[1]


def selected() -> set[tuple[str, tuple[str, ...]]]:
    return {(row.release, tuple(row.arches)) for row in rows_of(BootSourceSelection)}


def rows_of(model: type[Row]) -> Sequence[Row]:
    """What is saved now, by whomever."""
    db.session.rollback()
    return db.session.scalars(select(model)).all()


def save(visitor: Visitor, *values: str, **form: str) -> Any:
    """Send the boxes as the page that is open now would."""
    form = {"base": hidden(visitor.get("/images/").text, "base"), **form}
    return visitor.post("/images/selection", {"image": list(values), **form})


# -- what is shown


def test_an_empty_page_leads_administrators_to_a_boot_source(
    administrator: Visitor, viewer: Visitor
) -> None:
    assert 'href="/sources/new"' in administrator.get("/images/").text
    page = viewer.get("/images/")
    assert "No images yet" in text_of(page)
    assert 'href="/sources/new"' not in page.text


def test_the_grid_shows_sizes_and_the_end_of_support(source: BootSource, viewer: Visitor) -> None:
    page = viewer.get("/images/")
    assert set(boxes(page.text)) == {
        "ubuntu/noble/amd64", "ubuntu/noble/arm64", "ubuntu/jammy/amd64", "ubuntu/jammy/arm64",
        "centos/centos70/amd64",
    }  # fmt: skip
    shown = text_of(page)
    assert "May 2029" in shown
    assert "CentOS 7" in shown
    assert "ended Jun 2024" in shown
    assert re.search(r'aria-label="Ubuntu 24.04 LTS amd64, \d+ bytes"', page.text)


def test_releases_past_their_end_are_folded_away_until_they_are_used(
    source: BootSource, operator: Visitor
) -> None:
    offer(source, release="xenial", release_version="16.04", support_eol=date(2021, 4, 30))
    folded = re.search(
        r'<details class="more" id="past-releases"( open)?>', operator.get("/images/").text
    )
    assert folded
    assert folded[1] is None
    ticked = operator.post("/images/pending", {"image": box(source, "ubuntu/xenial/amd64")})
    assert '<details class="more" id="past-releases" open>' in ticked.text
    factories.boot_resource(release="xenial", title="Ubuntu 16.04 LTS")
    assert "past-releases" not in operator.get("/images/").text


def test_to_begin_with_the_default_release_is_suggested_to_who_may_select(
    source: BootSource, operator: Visitor, visit: Visit
) -> None:
    page = operator.get("/images/").text
    assert [name for name, is_on in boxes(page).items() if is_on] == ["ubuntu/noble/amd64"]
    assert "1 to add, 0 to remove" in page
    assert selected() == set()
    assert not any(boxes(visit(Role.VIEWER).get("/images/").text).values())
    factories.selection(source, release="jammy")
    page = operator.get("/images/").text
    assert [name for name, is_on in boxes(page).items() if is_on] == ["ubuntu/jammy/amd64"]


def test_stored_images_are_listed_with_version_size_and_status(
    source: BootSource, viewer: Visitor
) -> None:
    factories.selection(source, arches=["amd64", "arm64"])
    factories.boot_resource(
        {"squashfs": b"x" * 5000}, source_id=source.id, title="Ubuntu 24.04 LTS"
    )
    shown = text_of(viewer.get("/images/"))
    assert "Ubuntu 24.04 LTS amd64 20260105 stable 5.0 kB Synced" in shown
    assert "Ubuntu 24.04 LTS arm64 20260105" in shown
    assert "Selected for download The next import downloads it." in shown


def test_kernels_of_one_image_are_one_row_and_shared_bytes_count_once(
    source: BootSource, viewer: Visitor
) -> None:
    factories.selection(source)
    first = factories.boot_resource({"squashfs": b"s" * 3000}, source_id=source.id)
    second = factories.boot_resource({"boot-kernel": b"k" * 1000}, subarch="hwe-24.04")
    blob_id = first.current_set.files[0].blob_id  # type: ignore[union-attr]
    second.current_set.files[0].blob_id = blob_id  # type: ignore[union-attr]
    db.session.commit()
    page = viewer.get("/images/stored", **{"HX_Request": "true"})
    assert page.text.count("Delete") == 0
    assert "2 kernels" in text_of(page)
    assert page.text.count('data-label="Version"') == 1
    assert 'title="3,000 bytes"' in page.text


def test_an_image_that_nothing_selects_says_that_it_goes(
    source: BootSource, viewer: Visitor
) -> None:
    factories.boot_resource(release="jammy", source_id=source.id)
    shown = text_of(viewer.get("/images/"))
    assert "Will be deleted No longer selected. The next import deletes it. Select" in shown
    source.is_enabled = False
    db.session.commit()
    assert "Kept while its boot source is off" in text_of(viewer.get("/images/"))


def test_an_image_that_upstream_dropped_says_since_when(
    source: BootSource, viewer: Visitor
) -> None:
    factories.selection(source)
    factories.boot_resource(source_id=source.id, gone_since=utcnow() - timedelta(days=2))
    shown = text_of(viewer.get("/images/"))
    assert "Kept (no longer offered) No longer offered since" in shown


def test_a_selection_that_nobody_offers_is_shown_and_can_be_unticked(
    source: BootSource, operator: Visitor
) -> None:
    factories.selection(source, release="focal", arches=["*"])
    factories.selection(source, release="noble")
    page = operator.get("/images/")
    assert "Its boot source doesn't offer it." in text_of(page)
    assert boxes(page.text)["ubuntu/focal/*"]
    assert save(operator, box(source, "ubuntu/noble/amd64")).status_code == 303
    assert selected() == {("noble", ("amd64",))}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"is_enabled": False}, "Its boot source is off."),
        ({"error_code": "x", "error_what": "Trouble."}, "Its boot source can't be read."),
        ({"checked_at": None}, "Its boot source is being checked."),
    ],
)
def test_what_cannot_come_says_why(
    app: Flask, viewer: Visitor, values: dict[str, Any], words: str
) -> None:
    with app.app_context():
        factories.selection(factories.boot_source(**{"checked_at": utcnow(), **values}))
    assert f"Selected for download {words}" in text_of(viewer.get("/images/"))


def test_a_download_shows_how_far_it_is(source: BootSource, viewer: Visitor) -> None:
    factories.selection(source, arches=["amd64", "arm64"])
    run = factories.import_run(state="running", finished_at=None)
    factories.file_transfer(run, state="downloading", bytes_done=420, started_at=utcnow())
    page = viewer.get("/images/")
    assert "Downloading 42 %" in text_of(page)
    assert "Queued for download" in text_of(page)
    assert re.search(r'<div id="stored"[^>]* data-poll hx-get="/images/stored"', page.text)


def test_the_list_stops_asking_when_no_import_runs(source: BootSource, viewer: Visitor) -> None:
    assert 'hx-get="/images/stored"' not in viewer.get("/images/").text


def test_a_failed_image_says_why_and_what_to_do(source: BootSource, viewer: Visitor) -> None:
    from webapp.models import ImportFailure

    factories.selection(source)
    run = factories.import_run(state="partial")
    factories.saved(
        ImportFailure(run_id=run.id, image="ubuntu/noble", architecture="amd64/ga-24.04",
                      code="hash-mismatch", what="It is damaged.", next_step="Ask the mirror.")
    )  # fmt: skip
    assert "Failed It is damaged. Ask the mirror." in text_of(viewer.get("/images/"))


def test_trouble_of_a_source_stands_on_top(app: Flask, viewer: Visitor) -> None:
    with app.app_context():
        source = factories.boot_source(
            name="lab", error_code="x", error_what="It is HTML.", checked_at=utcnow()
        )
        url = f"/sources/{source.id}"
    page = viewer.get("/images/")
    assert "lab: It is HTML." in text_of(page)
    assert f'href="{url}"' in page.text


# -- what would change


def test_a_review_counts_what_comes_and_what_goes(source: BootSource, operator: Visitor) -> None:
    factories.selection(source)
    factories.boot_resource({"squashfs": b"x" * 2000}, source_id=source.id)
    part = operator.post(
        "/images/pending", {"image": box(source, "ubuntu/jammy/amd64")}, HX_Request="true"
    )
    assert part.text.strip().startswith('<div id="pending"')
    shown = text_of(part)
    assert "1 to add, 1 to remove" in shown
    assert "frees 2.0 kB" in shown
    assert "Ubuntu 24.04 LTS amd64: stored, will be deleted at the next import" in shown
    assert selected() == {("noble", ("amd64",))}


def test_a_review_warns_when_no_long_term_release_is_left(
    source: BootSource, operator: Visitor
) -> None:
    factories.selection(source)
    sent = {"image": box(source, "centos/centos70/amd64")}
    words = "No Ubuntu LTS release would remain selected"
    assert words in text_of(operator.post("/images/pending", sent, HX_Request="true"))
    sent = {"image": box(source, "ubuntu/jammy/amd64")}
    assert words not in text_of(operator.post("/images/pending", sent, HX_Request="true"))


def test_a_review_warns_when_there_is_no_room(
    app: Flask, source: BootSource, operator: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.extensions["slipway.store"], "free_bytes", lambda: 1)
    sent = {"image": box(source, "ubuntu/jammy/amd64")}
    shown = text_of(operator.post("/images/pending", sent, HX_Request="true"))
    assert "Not enough disk space" in shown


def test_without_javascript_the_review_is_the_whole_page(
    source: BootSource, operator: Visitor
) -> None:
    page = operator.post("/images/pending", {"image": box(source, "ubuntu/jammy/arm64")})
    assert "<html" in page.text
    assert [name for name, is_on in boxes(page.text).items() if is_on] == ["ubuntu/jammy/arm64"]
    assert "1 to add, 0 to remove" in page.text


# -- saving


def test_saving_replaces_the_selection_and_starts_one_import(
    source: BootSource, operator: Visitor
) -> None:
    wanted = [box(source, "ubuntu/noble/amd64"), box(source, "ubuntu/noble/arm64")]
    response = save(operator, *wanted)
    assert (response.status_code, leads_to(response)) == (303, "/images/")
    assert selected() == {("noble", ("amd64", "arm64"))}
    assert [run.trigger for run in rows_of(ImportRun)] == ["manual"]
    assert "Selection updated. The import has started." in text_of(operator.get("/images/"))


def test_sending_the_same_page_twice_makes_one_import(
    source: BootSource, operator: Visitor
) -> None:
    sent = {
        "image": box(source, "ubuntu/noble/amd64"),
        "base": hidden(operator.get("/images/").text, "base"),
    }
    assert operator.post("/images/selection", sent).status_code == 303
    assert operator.post("/images/selection", sent).status_code == 303
    assert len(rows_of(ImportRun)) == 1
    assert selected() == {("noble", ("amd64",))}


def test_saving_nothing_new_starts_nothing(source: BootSource, operator: Visitor) -> None:
    factories.selection(source)
    assert save(operator, box(source, "ubuntu/noble/amd64")).status_code == 303
    assert "No changes to save" in text_of(operator.get("/images/"))
    assert runs.current() is None


def test_a_stored_image_goes_only_after_it_was_seen_to_go(
    source: BootSource, operator: Visitor
) -> None:
    factories.selection(source)
    factories.boot_resource(source_id=source.id)
    asked = save(operator)
    assert asked.status_code == 409
    assert "Not saved yet: 1 stored image would be deleted" in text_of(asked)
    assert "Confirm and update" in text_of(asked)
    assert selected() == {("noble", ("amd64",))}
    assert runs.current() is None
    seen = hidden(asked.text, "seen")
    assert seen
    assert save(operator, seen=seen).status_code == 303
    assert selected() == set()
    assert rows_of(BootResource)  # the import deletes it, not the page


def test_a_confirmation_of_other_changes_is_not_taken(
    source: BootSource, operator: Visitor
) -> None:
    factories.selection(source, arches=["amd64", "arm64"])
    for arch in ("amd64", "arm64"):
        factories.boot_resource(source_id=source.id, arch=arch)
    seen = hidden(save(operator, box(source, "ubuntu/noble/arm64")).text, "seen")
    assert save(operator, seen=seen).status_code == 409
    assert selected() == {("noble", ("amd64", "arm64"))}


def test_a_page_that_is_out_of_date_undoes_nobodys_work(
    source: BootSource, operator: Visitor
) -> None:
    base = hidden(operator.get("/images/").text, "base")
    factories.selection(source, release="jammy")  # somebody else, meanwhile
    answer = operator.post(
        "/images/selection", {"image": box(source, "ubuntu/noble/amd64"), "base": base}
    )
    assert answer.status_code == 409
    assert "someone else changed the selection" in text_of(answer)
    assert boxes(answer.text)["ubuntu/noble/amd64"]
    assert selected() == {("jammy", ("amd64",))}


@pytest.mark.parametrize(
    "value", ["", "1", "9999/ubuntu/noble/amd64", "1/ubuntu/warty/amd64", "1/../x/y", "x" * 5000]
)
def test_forged_boxes_are_ignored(source: BootSource, operator: Visitor, value: str) -> None:
    factories.selection(source)
    assert save(operator, box(source, "ubuntu/noble/amd64"), value).status_code == 303
    assert selected() == {("noble", ("amd64",))}


def test_a_box_of_a_source_that_lost_meanwhile_means_the_winners(
    source: BootSource, operator: Visitor
) -> None:
    better = factories.boot_source(priority=9, checked_at=utcnow())
    offer(better, release="noble", release_version="24.04")
    assert save(operator, box(source, "ubuntu/noble/amd64")).status_code == 303
    (row,) = rows_of(BootSourceSelection)
    assert row.source_id == better.id


def test_unticking_an_image_unticks_it_at_every_source(
    source: BootSource, operator: Visitor
) -> None:
    other = factories.boot_source(priority=9, checked_at=utcnow())
    offer(other, release="noble", release_version="24.04")
    factories.selection(source)
    factories.selection(other)
    factories.selection(source, release="jammy")
    assert save(operator, box(source, "ubuntu/jammy/amd64")).status_code == 303
    assert selected() == {("jammy", ("amd64",))}


# -- one source only


@pytest.fixture
def second(source: BootSource) -> BootSource:
    factories.selection(source)
    factories.boot_resource(source_id=source.id)
    return factories.boot_source(name="second", checked_at=utcnow())


def test_two_sources_bring_a_warning_and_stay_manageable(
    second: BootSource, administrator: Visitor
) -> None:
    page = administrator.get("/images/")
    assert "More than one boot source is configured" in text_of(page)
    assert "the one with the highest priority is used" in text_of(page)
    assert boxes(page.text)


@pytest.mark.settings(single_source="on")
def test_in_single_source_mode_the_page_manages_nothing(
    app: Flask, source: BootSource, second: BootSource, administrator: Visitor
) -> None:
    page = administrator.get("/images/")
    assert "Read-only: more than one boot source" in text_of(page)
    assert "Ubuntu" not in re.findall(r"<h2>([^<]+)", page.text)
    assert not boxes(page.text)
    assert "Synced" in text_of(page)
    assert "Delete" not in text_of(page)
    assert "Delete" not in text_of(administrator.get("/images/ubuntu/noble/amd64"))
    before = selected()
    for path in ("/images/selection", "/images/ubuntu/noble/amd64/delete"):
        answer = administrator.post(path, {"image": [], "deselect": "yes"})
        assert answer.status_code == 409, path
        assert "Use the REST API" in text_of(answer)
    assert selected() == before
    assert rows_of(BootResource)


# -- one image


def test_an_image_shows_its_files_digests_and_addresses(
    source: BootSource, viewer: Visitor
) -> None:
    factories.selection(source)
    resource = factories.boot_resource({"boot-kernel": b"kernel"}, source_id=source.id)
    page = viewer.get("/images/ubuntu/noble/amd64")
    assert resource.current_set
    assert resource.current_set.files[0].blob.sha256 in page.text
    assert (
        "http://localhost:5248/images/ubuntu/amd64/ga-24.04/noble/stable/boot-kernel" in page.text
    )
    assert "Delete" not in text_of(page)


@pytest.mark.settings(rack_url="http://rack.example.test/")
def test_addresses_are_those_of_the_rack_that_is_set(source: BootSource, viewer: Visitor) -> None:
    factories.boot_resource({"boot-kernel": b"kernel"}, source_id=source.id)
    page = viewer.get("/images/ubuntu/noble/amd64").text
    assert (
        'href="http://rack.example.test/images/ubuntu/amd64/ga-24.04/noble/stable/boot-kernel"'
        in page
    )


@pytest.mark.parametrize("path", ["ubuntu/warty/amd64", "ubuntu/noble/s390x", "x/y/z"])
def test_an_image_that_is_not_stored_is_404(
    source: BootSource, administrator: Visitor, path: str
) -> None:
    for suffix in ("", "/delete"):
        answer = administrator.get(f"/images/{path}{suffix}")
        assert answer.status_code == 404
        assert "Image not found." in text_of(answer)
    assert administrator.post(f"/images/{path}/delete").status_code == 404


def test_deleting_asks_first_and_unticks_what_would_come_back(
    app: Flask, source: BootSource, administrator: Visitor
) -> None:
    factories.selection(source)
    factories.boot_resource({"squashfs": b"x" * 4000}, source_id=source.id)
    page = administrator.get("/images/ubuntu/noble/amd64/delete")
    assert "Frees 4.0 kB" in text_of(page)
    assert "Also deselect it" in text_of(page)
    assert rows_of(BootResource)
    answer = administrator.post("/images/ubuntu/noble/amd64/delete", {"deselect": "yes"})
    assert (answer.status_code, leads_to(answer)) == (303, "/images/")
    assert selected() == set()
    assert "Deleted 24.04 LTS amd64." in text_of(administrator.get("/images/"))
    assert administrator.get("/images/ubuntu/noble/amd64").status_code == 404


def test_deleting_can_leave_the_selection_alone(source: BootSource, administrator: Visitor) -> None:
    factories.selection(source)
    factories.boot_resource(source_id=source.id)
    administrator.post("/images/ubuntu/noble/amd64/delete")
    assert selected() == {("noble", ("amd64",))}


# -- roles, parts, hostile texts, size


def test_viewers_see_and_change_nothing(app: Flask, source: BootSource, viewer: Visitor) -> None:
    factories.selection(source)
    factories.boot_resource(source_id=source.id)
    page = viewer.get("/images/").text
    controls = re.findall(r'<input type="checkbox" name="image"[^>]*>', page)
    assert controls
    assert all("disabled" in control for control in controls)
    main = page[page.index("<main") : page.index("</main")]
    assert "<button" not in main
    assert "/delete" not in main
    before = everything(app)
    for path in ("/images/pending", "/images/selection", "/images/ubuntu/noble/amd64/delete"):
        assert viewer.post(path, {"image": []}).status_code == 403
    assert everything(app) == before


def test_operators_select_but_do_not_delete(source: BootSource, operator: Visitor) -> None:
    factories.boot_resource(source_id=source.id)
    page = operator.get("/images/").text
    assert "Update selection" in page
    assert "/delete" not in page
    assert operator.post("/images/ubuntu/noble/amd64/delete").status_code == 403


def test_parts_are_kept_apart_from_pages_and_never_stored(
    source: BootSource, operator: Visitor
) -> None:
    for answer in (
        operator.get("/images/"),
        operator.get("/images/stored", HX_Request="true"),
        operator.post("/images/pending", {}, HX_Request="true"),
    ):
        assert "HX-Request" in answer.headers["Vary"]
        assert answer.headers["Cache-Control"] == "no-store"
    assert operator.client.get("/images/stored", headers={}).status_code == 302
    assert "<html" not in operator.client.get("/images/stored", headers=HTMX).text
