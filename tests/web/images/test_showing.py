# SPDX-License-Identifier: Apache-2.0
"""What the page of images shows, and one image."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask

from tests.support import factories
from tests.web.images.boxes import box, boxes, offer, rows_of, save, selected
from tests.web.visitors import HTMX, Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import (
    BootResource,
    BootSource,
    Role,
    utcnow,
)

Visit = Callable[..., Visitor]


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
    selected = operator.post("/images/pending", {"image": box(source, "ubuntu/xenial/amd64")})
    assert '<details class="more" id="past-releases" open>' in selected.text
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


def test_an_image_that_nothing_selects_is_announced_as_deleted_next(
    source: BootSource, viewer: Visitor
) -> None:
    factories.boot_resource(release="jammy", source_id=source.id)
    shown = text_of(viewer.get("/images/"))
    assert (
        "Will be deleted No longer selected. The next import moves it to the bin. Select" in shown
    )
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


def test_an_image_that_upstream_dropped_can_be_deleted(
    source: BootSource, administrator: Visitor
) -> None:
    factories.selection(source, release="focal")
    long_ago = utcnow() - timedelta(days=2)
    factories.boot_resource(release="focal", source_id=source.id, gone_since=long_ago)
    url = "/images/ubuntu/focal/amd64/delete"
    for page in ("/images/", "/images/ubuntu/focal/amd64"):
        shown = administrator.get(page)
        assert "no longer offered" in text_of(shown).lower()
        assert f'href="{url}"' in shown.text
    asked = text_of(administrator.get(url))
    assert "The next import downloads it again" not in asked
    assert administrator.post(url).status_code == 303
    assert url not in administrator.get("/images/").text
    assert administrator.get("/images/ubuntu/focal/amd64").status_code == 404


def test_a_selection_that_no_source_offers_is_shown_and_can_be_deselected(
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
    asks = 'hx-get="/images/stored" hx-trigger="import-changed from:body"'  # and not by the clock
    assert asks in viewer.get("/images/").text


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


def test_deleting_asks_first_and_deselects_what_would_come_back(
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


def test_deleting_a_boot_loader_offers_no_deselecting(
    source: BootSource, administrator: Visitor
) -> None:
    names = {"os": "grub-efi-signed", "release": "uefi", "arch": "amd64", "subarch": "generic"}
    offer(source, **names, release_version="", kflavor="bootloader", bootloader_type="uefi")
    factories.boot_resource(
        {"grub2-signed.tar.xz": b"x" * 40},
        source_id=source.id,
        name="grub-efi-signed/uefi",
        architecture="amd64/generic",
        kflavor="bootloader",
        bootloader_type="uefi",
        **names,
    )
    page = text_of(administrator.get("/images/grub-efi-signed/uefi/amd64/delete"))
    assert "Also deselect it" not in page
    assert "The next import downloads it again" in page


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
