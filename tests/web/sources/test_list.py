# SPDX-License-Identifier: Apache-2.0
"""The list of boot sources, one of them, and who may change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from tests.web.sources.form import connected, stored, typed
from tests.web.visitors import Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import Role, utcnow

MAAS_IO_KEY = "4A3C E3CD 565D 7EB5 C810 E2B9 7FF3 F408 476C F100"
Visit = Callable[..., Visitor]


# -- the list and one source


def test_an_empty_list_leads_administrators_on(administrator: Visitor, visit: Visit) -> None:
    assert 'href="/sources/new"' in administrator.get("/sources/").text
    page = visit(Role.OPERATOR).get("/sources/")
    assert "No boot sources yet" in text_of(page)
    assert 'href="/sources/new"' not in page.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"checked_at": None}, "Checking Queued for checking."),
        ({"is_enabled": False}, "Off Nothing is imported from it"),
        ({"error_code": "x", "error_what": "It is HTML."}, "Unreadable It is HTML."),
        (
            {"index_updated_at": datetime.now(UTC) - timedelta(days=40)},
            "Stale Its index is 40",
        ),
        ({"index_updated_at": datetime.now(UTC)}, "OK"),
        ({"is_unsigned": True, "keyring_filename": ""}, "Unsigned OK"),
    ],
)
def test_the_list_says_how_each_source_is(
    region: Flask, viewer: Visitor, values: dict[str, Any], words: str
) -> None:
    factories.boot_source(**{"checked_at": utcnow(), **values})
    assert words in text_of(viewer.get("/sources/"))


def test_offers_of_two_sources_show_who_wins_and_why(region: Flask, viewer: Visitor) -> None:
    for number, priority in ((1, 1), (2, 5)):
        source = factories.boot_source(priority=priority, checked_at=utcnow(),
                                       refreshed_at=utcnow())  # fmt: skip
        factories.selection(source)
        factories.cache_entry(source, version=str(number))
    assert 'href="/sources/offers"' in viewer.get("/sources/").text
    shown = text_of(viewer.get("/sources/offers"))
    assert re.search(r"5 2 .* Used priority 5 is higher than 1", shown)
    assert re.search(r"1 1 .* Not used priority 1 is lower than 5", shown)
    assert viewer.get("/sources/offers?all=yes").status_code == 200


def test_a_list_asks_again_only_while_a_source_is_read(region: Flask, viewer: Visitor) -> None:
    source = factories.boot_source(checked_at=None)
    assert 'data-poll hx-get="/sources/"' in viewer.get("/sources/").text
    source.checked_at = utcnow()
    db.session.commit()
    assert 'hx-get="/sources/"' not in viewer.get("/sources/").text


def test_a_missing_keyring_is_reported_with_three_ways_out_and_the_fingerprint(
    region: Flask, administrator: Visitor, visit: Visit
) -> None:
    from webapp.services.sources import refreshing

    source = factories.boot_source(keyring_filename="/nowhere/ubuntu-cloudimage-keyring.gpg")
    refreshing.refresh(source)
    page = administrator.get(f"/sources/{source.id}")
    shown = text_of(page)
    assert "The keyring file of this boot source doesn't exist on this server." in shown
    assert "/nowhere/ubuntu-cloudimage-keyring.gpg" in shown
    assert "apt install ubuntu-keyring" in shown
    assert MAAS_IO_KEY in shown
    assert page.text.count(f'href="/sources/{source.id}/edit"') == 3
    assert page.text.count("<li>Install the file") == 1
    seen = visit(Role.VIEWER).get(f"/sources/{source.id}")
    assert "Ask an administrator to paste or upload the public key" in text_of(seen)


def test_a_source_shows_its_keys_and_their_state(
    region: Flask, viewer: Visitor, signing_key: signed.SigningKey, tmp_path: Path
) -> None:
    ended = signed.new_key(
        "Ended <ended@example.test>", expires="2d", made_at=datetime(2024, 1, 1, tzinfo=UTC)
    )
    revoked = signed.revoked(signed.new_key("Gone <gone@example.test>"))
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(signed.keyring_of(signing_key, ended, revoked))
    source = factories.boot_source(keyring_filename=str(keyring), checked_at=utcnow())
    shown = text_of(viewer.get(f"/sources/{source.id}"))
    for key in (signing_key, ended, revoked):
        assert " ".join(re.findall("....", key.fingerprint)) in shown
    assert "Valid" in shown
    assert "Expired" in shown
    assert "Revoked" in shown


def test_reading_now_marks_the_source_for_the_worker(region: Flask, visit: Visit) -> None:
    source = factories.boot_source(checked_at=utcnow(), error_code="x", error_what="Old trouble.")
    answer = visit(Role.OPERATOR).post(f"/sources/{source.id}/refresh")
    assert answer.status_code == 303
    assert stored()[0].checked_at is None


def test_a_source_turns_off_and_on_whatever_its_keyring(
    region: Flask, administrator: Visitor
) -> None:
    source = factories.boot_source(keyring_filename="/nowhere/x.gpg", checked_at=utcnow())
    factories.selection(source)
    for on, is_enabled in (("no", False), ("no", False), ("yes", True)):
        answer = administrator.post(f"/sources/{source.id}/switch", {"on": on})
        assert answer.status_code == 303
        assert stored()[0].is_enabled is is_enabled
    assert len(stored()[0].selections) == 1


def test_removing_asks_first_and_lists_what_goes(region: Flask, administrator: Visitor) -> None:
    source = factories.boot_source(name="Lab")
    factories.selection(source)
    factories.cache_entry(source)
    page = administrator.get(f"/sources/{source.id}/remove")
    assert "Remove Lab?" in text_of(page)
    assert "1 release" in text_of(page)
    assert "1 product." in text_of(page)
    assert len(stored()) == 1
    answer = administrator.post(f"/sources/{source.id}/remove")
    assert (answer.status_code, leads_to(answer)) == (303, "/sources/")
    assert stored() == []
    assert "Removed Lab." in text_of(administrator.get("/sources/"))


@pytest.mark.parametrize("path", ["", "/edit", "/remove"])
def test_a_source_that_is_gone_is_404(administrator: Visitor, path: str) -> None:
    answer = administrator.get(f"/sources/4711{path}")
    assert answer.status_code == 404
    assert "Boot source not found." in text_of(answer)


# -- roles, and one source only


def test_viewers_and_operators_get_no_buttons_they_may_not_use(region: Flask, visit: Visit) -> None:
    source = factories.boot_source(checked_at=utcnow())
    for role, reads in ((Role.VIEWER, False), (Role.OPERATOR, True)):
        page = visit(role).get(f"/sources/{source.id}").text
        main = page[page.index("<main") : page.index("</main")]
        assert ("Refresh now" in main) is reads
        for word in ("/edit", "/switch", "/remove", "/new"):
            assert word not in main, (role, word)
        before = everything(region)
        for path in ("connect", "", f"{source.id}", f"{source.id}/switch", f"{source.id}/remove"):
            assert visit(role).post(f"/sources/{path}", {}).status_code == 403
        after = everything(region)
        for table in ("boot_source", "boot_source_selection"):
            assert after[table] == before[table]


def test_two_sources_bring_the_warning(region: Flask, administrator: Visitor) -> None:
    factories.boot_source(priority=1)
    assert "More than one boot source" not in text_of(administrator.get("/sources/"))
    factories.boot_source(name="winner", priority=2)
    page = administrator.get("/sources/")
    assert "More than one boot source is configured" in text_of(page)
    assert page.text.index("winner") < page.text.index(">example<")


@pytest.mark.settings(single_source="on")
def test_in_single_source_mode_a_second_source_locks_the_pages(
    region: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    first = factories.boot_source(checked_at=utcnow())
    assert "makes these pages read-only" in text_of(administrator.get("/sources/new"))
    draft = connected(administrator, typed(server, signing_key))
    assert administrator.post("/sources/", {"draft": draft}).status_code == 303
    for path in ("/sources/", f"/sources/{first.id}", "/sources/new"):
        assert "Read-only: more than one boot source" in text_of(administrator.get(path)), path
    page = administrator.get(f"/sources/{first.id}").text
    main = page[page.index("<main") : page.index("</main")]
    for word in ("/edit", "/switch"):
        assert word not in main
    before = stored()
    for path in ("", f"{first.id}", f"{first.id}/switch"):
        answer = administrator.post(f"/sources/{path}", {"draft": draft, "on": "no"})
        assert answer.status_code == 409, path
        assert "Remove all but one, use the REST API" in text_of(answer)
    assert [s.id for s in stored()] == [s.id for s in before]
    assert all(source.is_enabled for source in stored())
    assert f"/sources/{first.id}/remove" in main  # the way out
    assert administrator.post(f"/sources/{first.id}/remove").status_code == 303
    assert "Read-only" not in text_of(administrator.get("/sources/"))
