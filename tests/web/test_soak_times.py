# SPDX-License-Identifier: Apache-2.0
"""Soak times on pages, in the API and in the plan (rule: soak-time)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support import factories
from tests.web.images.boxes import offer
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.extensions import db
from webapp.models import BootSource, ImageSoak, utcnow
from webapp.services.imports.intents import intent
from webapp.services.system import live_settings

TODAY = f"{utcnow():%Y%m%d}"


@pytest.fixture
def source(region: object) -> BootSource:
    """A source that offers today's noble, which is selected."""
    found = factories.boot_source(name="lab", checked_at=utcnow(), refreshed_at=utcnow())
    offer(found, arch="amd64", release_version="24.04", version=TODAY)
    factories.selection(found)
    return found


def test_an_image_that_is_too_young_waits_and_every_page_says_until_when(
    source: BootSource, administrator: Visitor
) -> None:
    assert administrator.post("/imports/timing/", {"import_soak_days": "7"}).status_code == 303
    due = str((utcnow() + timedelta(days=7)).date())
    plan = text_of(administrator.get("/imports/plan"))
    assert f"no version is 7 days old yet; {TODAY} will be on {due}" in plan
    assert "Start this plan" not in plan
    listed = text_of(administrator.get("/images/"))
    assert f"No version is 7 days old yet; {TODAY} will be on {due}." in listed
    assert f"will be on {due}" in text_of(administrator.get("/sources/offers"))
    before = intent()
    gone = administrator.post("/images/ubuntu/noble/amd64/soak", {"days": "0", "next": "plan"})
    assert leads_to(gone) == "/imports/plan"
    assert "Start this plan" in text_of(administrator.get("/imports/plan"))
    assert intent() != before  # a run that is under way is followed by another


def test_a_source_has_days_of_its_own_until_they_are_taken_away(
    source: BootSource, administrator: Visitor
) -> None:
    path, stamp = f"/sources/{source.id}", source.updated_at
    assert leads_to(administrator.post(f"{path}/soak", {"days": "3"})) == path
    db.session.expire_all()
    assert (source.soak_days, source.updated_at) == (3, stamp)
    assert 'name="days" min="0" max="365" inputmode="numeric"\n    value="3"' in (
        administrator.get(path).text
    )
    assert "no version is 3 days old yet" in text_of(administrator.get("/imports/plan"))
    administrator.post(f"{path}/soak", {"days": ""})
    db.session.expire_all()
    assert source.soak_days is None
    for wrong in ("-1", "366", "1.5", "²"):
        assert administrator.post(f"{path}/soak", {"days": wrong}).status_code == 422


def test_a_stored_image_shows_from_when_its_update_is_available(
    source: BootSource, operator: Visitor
) -> None:
    factories.boot_resource(source_id=source.id)
    operator.post("/images/ubuntu/noble/amd64/soak", {"days": "2"})
    due = (utcnow() + timedelta(days=2)).date()
    words = f"Update available from {due}: {TODAY}."
    assert words in text_of(operator.get("/images/"))
    page = operator.get("/images/ubuntu/noble/amd64")
    assert words in text_of(page)
    assert 'name="days" min="0" max="365" inputmode="numeric"\n    value="2"' in page.text
    operator.post("/images/ubuntu/noble/amd64/soak", {"days": ""})
    assert db.session.scalar(db.select(ImageSoak.days)) is None


def test_only_those_who_may_select_change_it(source: BootSource, viewer: Visitor) -> None:
    assert viewer.post("/images/ubuntu/noble/amd64/soak", {"days": "2"}).status_code == 403
    assert viewer.post(f"/sources/{source.id}/soak", {"days": "2"}).status_code == 403
    assert 'name="days"' not in viewer.get(f"/sources/{source.id}").text


def test_an_image_that_nobody_offers_has_none(source: BootSource, operator: Visitor) -> None:
    assert operator.post("/images/ubuntu/nobble/amd64/soak", {"days": "2"}).status_code == 404


@pytest.mark.parametrize("wrong", ["-1", "366", "a week", ""])
def test_the_setting_is_a_number_of_days(source: BootSource, wrong: str) -> None:
    with pytest.raises(Exception, match="from 0 to 365"):
        live_settings.change("import_soak_days", wrong, "ada")
