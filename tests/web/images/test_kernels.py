# SPDX-License-Identifier: Apache-2.0
"""Choosing the kernels of a release."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import factories
from tests.web.images.boxes import box, hidden, offer, rows_of, save
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection, ImportRun
from webapp.services.sources import commissioned, rules
from webapp.services.sources.ruling import Kind, Rule
from webapp.services.system import live_settings
from webapp.services.system.live_settings import COMMISSIONING

PAGE = "/images/ubuntu/noble/kernels/"
HWE = {"subarch": "hwe-24.04", "answers_to": ["hwe-24.04"], "release_version": "24.04"}


@pytest.fixture
def noble(source: BootSource) -> BootSource:
    """Noble with a HWE kernel for amd64 as well."""
    offer(source, release="noble", **HWE)
    return source


def kernels() -> list[list[str]]:
    return [row.subarches for row in rows_of(BootSourceSelection)]


def send(visitor: Visitor, **form: Any) -> Any:
    """Send the form as the page that is open now would."""
    page = visitor.get(PAGE).text
    sent = {"arch": ["amd64"], "which": "some", "base": hidden(page, "base"), **form}
    return visitor.post(PAGE, sent)


def test_a_page_lists_the_kernels_with_what_each_adds(noble: BootSource, viewer: Visitor) -> None:
    assert "2 kernels" in text_of(viewer.get("/images/"))
    shown = text_of(viewer.get(PAGE))
    assert "GA 24.04" in shown
    assert "for machines without a kernel of their own" in shown
    assert "not offered" in shown  # HWE for arm64
    assert "Save kernels" not in shown


def test_some_kernels_are_chosen_and_survive_a_save_of_the_images_page(
    noble: BootSource, operator: Visitor
) -> None:
    response = send(operator, kernel=["ga-24.04"])
    assert (response.status_code, leads_to(response)) == (303, "/images/")
    assert kernels() == [["ga-24.04"]]
    assert len(rows_of(ImportRun)) == 1
    assert "1 of 2 kernels" in text_of(operator.get("/images/"))
    both = [box(noble, "ubuntu/noble/amd64"), box(noble, "ubuntu/noble/arm64")]
    assert save(operator, *both).status_code == 303
    assert kernels() == [["ga-24.04"]]
    assert send(operator, arch=["amd64", "arm64"], which="all").status_code == 303
    assert kernels() == [["*"]]


def test_an_architecture_without_a_kernel_is_refused_and_nothing_is_saved(
    noble: BootSource, operator: Visitor
) -> None:
    response = send(operator, arch=["amd64", "arm64"], kernel=["hwe-24.04"])
    assert response.status_code == 422
    assert "ubuntu/noble arm64 would have no kernel to boot" in text_of(response)
    assert send(operator, kernel=[]).status_code == 422
    assert kernels() == []


def test_a_kernel_of_another_architecture_may_be_chosen_too(
    noble: BootSource, operator: Visitor
) -> None:
    sent = {"arch": ["arm64"], "kernel": ["ga-24.04", "hwe-24.04"]}
    assert send(operator, **sent).status_code == 303
    assert kernels() == [["ga-24.04", "hwe-24.04"]]


def test_leaving_out_the_generic_kernel_has_to_be_confirmed(
    noble: BootSource, operator: Visitor
) -> None:
    response = send(operator, kernel=["hwe-24.04"])
    assert response.status_code == 409
    assert "the kernel that machines ask for as generic" in text_of(response)
    assert kernels() == []
    seen = hidden(response.text, "seen")
    assert send(operator, kernel=["hwe-24.04"], seen=seen).status_code == 303
    assert kernels() == [["hwe-24.04"]]


def test_changes_are_shown_before_saving(noble: BootSource, operator: Visitor) -> None:
    response = send(operator, kernel=["ga-24.04"], review="yes")
    assert response.status_code == 200
    assert "to download" in text_of(response)
    assert kernels() == []


def test_a_chosen_kernel_that_is_no_longer_offered_is_kept_by_the_form(
    noble: BootSource, operator: Visitor
) -> None:
    factories.selection(noble, subarches=["ga-24.04", "hwe-23.10"])
    page = operator.get(PAGE)
    assert "no longer offered" in text_of(page)
    assert send(operator, kernel=["ga-24.04", "hwe-23.10"]).status_code == 303
    assert rows_of(ImportRun) == []  # no changes
    assert kernels() == [["ga-24.04", "hwe-23.10"]]


def test_an_outdated_form_is_not_saved(noble: BootSource, operator: Visitor) -> None:
    page = operator.get(PAGE).text
    factories.selection(noble, release="jammy")
    sent = {"arch": "amd64", "which": "some", "kernel": "ga-24.04", "base": hidden(page, "base")}
    response = operator.post(PAGE, sent)
    assert response.status_code == 409
    assert "someone else changed the selection" in text_of(response)
    assert kernels() == [["*"]]


def test_a_release_that_no_source_offers_has_no_page(noble: BootSource, viewer: Visitor) -> None:
    assert viewer.get("/images/ubuntu/warty/kernels/").status_code == 404


def test_kernels_of_a_release_that_only_a_rule_selects_need_an_architecture(
    noble: BootSource, operator: Visitor
) -> None:
    rules.add(Rule(Kind.NEWEST_LTS, count=1, arches=("amd64",), kernels=("ga",)), "ada")
    assert "1 of 2 kernels" in text_of(operator.get("/images/"))
    shown = text_of(operator.get(PAGE))
    assert "for machines without a kernel of their own, selected by a rule" in shown
    response = send(operator, arch=[], kernel=["hwe-24.04"])
    assert response.status_code == 422
    assert "Select an architecture for these kernels." in text_of(response)
    assert send(operator, kernel=["hwe-24.04"]).status_code == 303  # the rule has the generic one
    assert kernels() == [["hwe-24.04"]]
    assert save(operator, box(noble, "ubuntu/noble/amd64")).status_code == 303
    assert kernels() == [["hwe-24.04"]]


def test_kernels_that_go_though_a_rule_keeps_the_image_have_to_be_confirmed(
    source: BootSource, operator: Visitor
) -> None:
    for kernel in ({"subarch": "ga-24.04"}, HWE):
        files = {"boot-kernel": str(kernel["subarch"]).encode()}
        items = [factories.item(name, content) for name, content in files.items()]
        product = f"stored:{kernel['subarch']}"
        new = {"release": "noble", "arch": "s390x", "release_version": "24.04", "items": items}
        offer(source, **{**new, "product": product, **kernel})
        subarch = str(kernel["subarch"])
        factories.boot_resource(files, arch="s390x", subarch=subarch, source_id=source.id)
    factories.selection(source, arches=["s390x"], subarches=["hwe-24.04"])
    rules.add(Rule(Kind.NEWEST_LTS, count=1, arches=("s390x",), kernels=("ga",)), "ada")
    asked = save(operator)
    assert asked.status_code == 409
    words = text_of(asked)
    assert "Not saved yet: stored kernels would move to the bin" in words
    assert "hwe-24.04" in words
    assert "stored, moves to the bin with the next import" in words
    assert save(operator, seen=hidden(asked.text, "seen")).status_code == 303
    assert kernels() == []


def test_the_commissioning_release_is_replaced_here_as_well(
    noble: BootSource, operator: Visitor
) -> None:
    for release in ("noble", "jammy"):
        factories.selection(noble, release=release)
    live_settings.change(COMMISSIONING, "noble", "ada")
    refused = send(operator, arch=[])
    assert refused.status_code == 409
    assert "Commission with jammy instead" in text_of(refused)
    assert len(kernels()) == 2
    assert send(operator, arch=[], commission="jammy").status_code == 303
    assert [row.release for row in rows_of(BootSourceSelection)] == ["jammy"]
    db.session.rollback()
    assert commissioned.release() == "jammy"


def test_kernels_that_are_saved_while_an_import_runs_name_that_import(
    noble: BootSource, operator: Visitor
) -> None:
    run = factories.import_run(state="queued", finished_at=None)
    assert send(operator, kernel=["ga-24.04"]).status_code == 303
    page = operator.get("/images/")
    assert "saved. An import is already running:" in text_of(page)
    assert f'<a href="/imports/{run.id}">import {run.id}</a>' in page.text
