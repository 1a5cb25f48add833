# SPDX-License-Identifier: Apache-2.0
"""Uploads, versions and VMware as pages, without a browser."""

from __future__ import annotations

import gzip
import io
import lzma
import re
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.uploads.maas import served
from tests.support import disks, factories
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.extensions import db, settings, store
from webapp.models import Event, ResourceSet, Role, Upload
from webapp.services.uploads import work as upload_work

DISK = gzip.compress(disks.linux_disk(), 1, mtime=0)
FORM = {"name": "web", "title": "Web", "architecture": "amd64/generic", "filetype": "ddgz"}


@cache
def esxi() -> bytes:
    """A disk of a GiB as ESXi leaves it, packed."""
    return lzma.compress(disks.small_esxi(), preset=0)


def work(app: Flask) -> None:
    with app.app_context():
        upload_work.work("a worker", lambda: False)
        db.session.remove()


def send(visitor: Visitor, data: bytes, **changed: str) -> str:
    """The plain form of a browser without JavaScript; where it leads to."""
    form: dict[str, Any] = {**FORM, **changed, "file": (io.BytesIO(data), "web.gz")}
    return leads_to(visitor.post("/uploads/", form))


def test_a_plain_form_uploads_and_says_its_limit(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    page = visitor.get("/uploads/").text
    assert "limited to 256 MiB" in page
    assert "No uploads yet" in page
    where = send(visitor, DISK)
    assert "Verifying" in visitor.get(where).text
    work(app)
    page = text_of(visitor.get(where))
    assert "Ready" in page
    assert "Verified" in page
    assert "Gzip, GPT disk of 8 MiB" in page
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == DISK
    page = visitor.get("/images/").text
    assert "Web" in page
    assert "be deployed yet: it needs an Ubuntu image for amd64." in page
    with app.app_context():
        factories.boot_resource({"squashfs": b"x"}, arch="amd64")
        db.session.remove()
    assert "Can't be deployed yet" not in visitor.get("/images/").text
    assert "root-dd.gz" in visitor.get("/images/custom/web/amd64").text


def test_what_is_wrong_stands_beside_its_field(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    answer = visitor.post("/uploads/", dict(FORM))
    assert (answer.status_code, "Choose a file." in answer.text) == (422, True)
    form: dict[str, Any] = {**FORM, "name": "windows", "file": (io.BytesIO(b"x"), "x")}
    answer = visitor.post("/uploads/", form)
    assert answer.status_code == 422
    assert "reserved name" in answer.text
    with app.app_context():
        assert db.session.scalars(select(Upload)).all() == []


def test_a_file_that_cannot_be_fetched_is_a_notice_with_facts(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    url = "http://127.0.0.1:1/web.gz"
    answer = visitor.post("/uploads/fetch", {**FORM, "place": url, "sha256": "a" * 64})
    assert answer.status_code == 422
    assert f"Where: {url}" not in text_of(answer)
    assert f"<dt>Where</dt><dd>{url}</dd>" in answer.text


def test_nothing_is_green_before_every_byte_was_inspected(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    where = send(visitor, DISK)
    before = visitor.get(where).text
    assert "OK so far" in before
    assert 'class="notice ok"' not in before
    work(app)
    assert "Verified" in visitor.get(where).text


def test_a_damaged_file_is_no_mismatch_and_is_said_once(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    where = send(visitor, DISK[:-20])
    work(app)
    page = visitor.get(where)
    assert "Not usable as an image" in page.text
    assert "Type mismatch" not in page.text
    with app.app_context():
        problem = db.session.scalars(select(Upload.problem)).one()
        db.session.remove()
    assert text_of(page).count(problem["what"]) == 1


def test_rejected_uploads_are_discarded_together(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    bad = [send(visitor, DISK, filetype="tgz", name=f"bad{n}") for n in range(2)]
    work(app)
    work(app)
    waiting = send(visitor, DISK, name="waits")
    assert "Discard 2 rejected uploads" in visitor.get("/uploads/").text
    assert leads_to(visitor.post("/uploads/drop-rejected")) == "/uploads/"
    assert [visitor.get(where).status_code for where in (*bad, waiting)] == [404, 404, 200]
    assert "rejected uploads" not in visitor.get("/uploads/list", HX_Request="true").text


def test_a_mix_up_is_fixed_by_one_click(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    where = send(visitor, DISK, filetype="tgz")
    work(app)
    page = visitor.get(where).text
    assert "This isn&#39;t tgz" in page
    found = re.search(
        r'action="(/uploads/\d+/declare)".*?name="filetype" value="(\w+)"', page, re.S
    )
    assert found
    assert found[2] == "ddgz"
    assert leads_to(visitor.post(found[1], {"filetype": found[2]})) == where
    work(app)
    assert "Ready" in visitor.get(where).text
    assert visitor.post(f"{where}/declare", {"filetype": "tgz"}).status_code == 409


def test_what_can_be_done_changes_with_the_state_while_the_page_is_open(app: Flask) -> None:
    """The polled part holds it all: a page that stays open offers nothing that is refused."""
    visitor = Visitor(app, Role.ADMINISTRATOR)
    good, bad = send(visitor, DISK), send(visitor, DISK, filetype="tgz", name="bad")
    for where in (good, bad):
        part = visitor.get(where, HX_Request="true").text
        assert f"{where}/drop" in part
        assert "Correct the details" not in part
    work(app)
    assert f"{good}/drop" not in visitor.get(good, HX_Request="true").text
    part = visitor.get(bad, HX_Request="true").text
    assert f"{bad}/drop" in part
    assert "Correct the details" in part
    assert visitor.get(bad).text.count("Check again") == 1


def test_an_upload_is_dropped_after_a_question(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    where = send(visitor, DISK, filetype="tgz")
    work(app)
    assert "Discard this upload?" in visitor.get(f"{where}/drop").text
    assert leads_to(visitor.post(f"{where}/drop")) == "/uploads/"
    assert visitor.get(where).status_code == 404
    with app.app_context():
        assert list(store().uploads()) == []


def test_an_image_is_not_offered_to_be_discarded_as_an_upload(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    where = send(visitor, DISK)
    work(app)
    for answer in (visitor.get(f"{where}/drop"), visitor.post(f"{where}/drop")):
        assert answer.status_code == 409
        assert "already an image" in answer.text


def test_a_file_is_inspected_by_its_first_megabyte(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    answer = visitor.client.post(
        f"/uploads/look?filetype=tgz&size={len(esxi())}&name=x",
        data=esxi()[: 1 << 20],
        headers={"X-CSRFToken": visitor.token(), "HX-Request": "true"},
        content_type="application/octet-stream",
    )
    assert answer.status_code == 200
    assert 'data-suggest-filetype="ddxz"' in answer.text
    assert "VMware ESXi" in answer.text
    assert "data-fix" in answer.text


@pytest.mark.parametrize("size", ["²", "١٢", "-1", "1e3", "", "9" * 40])
def test_a_size_that_is_not_a_number_is_left_out(app: Flask, size: str) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    answer = visitor.client.post(
        "/uploads/look",
        query_string={"filetype": "ddgz", "size": size, "name": "x"},
        data=DISK[: 1 << 20],
        headers={"X-CSRFToken": visitor.token(), "HX-Request": "true"},
        content_type="application/octet-stream",
    )
    assert answer.status_code == 200


def test_an_address_that_is_too_long_is_refused_not_cut(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    for place in ("http://127.0.0.1:9/" + "x" * 482, "x" * 501):
        answer = visitor.post("/uploads/fetch", {**FORM, "place": place, "sha256": "0" * 64})
        assert answer.status_code == 422
        assert "Use at most 500 characters; this has 501." in text_of(answer)


def test_the_server_gets_a_file_from_its_own_folder(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    with app.app_context():
        folder = settings().import_dir
    folder.mkdir()
    (folder / "disk.gz").write_bytes(DISK)
    answer = visitor.post("/uploads/fetch", {**FORM, "place": "nothing", "sha256": ""})
    assert (answer.status_code, "File not found" in answer.text) == (422, True)
    answer = visitor.post("/uploads/fetch", {**FORM, "place": "http://127.0.0.1:9/x", "sha256": ""})
    assert "needs the SHA-256" in answer.text
    where = leads_to(visitor.post("/uploads/fetch", {**FORM, "place": "disk.gz", "sha256": ""}))
    work(app)
    assert "Ready" in visitor.get(where).text


def test_versions_are_rolled_back_on_the_images_page(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    for number in range(2):
        send(visitor, gzip.compress(disks.linux_disk(), 1, mtime=number))
        work(app)
    page = visitor.get("/images/custom/web/amd64").text
    found = re.search(r'href="/images/custom/web/amd64/versions/([\d.]+)">Roll back', page)
    assert found
    asked = visitor.get(f"/images/custom/web/amd64/versions/{found[1]}").text
    assert "nothing is downloaded" in asked
    assert "pinned" not in asked
    change = "/images/custom/web/amd64/versions"
    answer = visitor.post(change, {"action": "roll", "version": found[1]})
    assert leads_to(answer) == "/images/custom/web/amd64"
    first = gzip.compress(disks.linux_disk(), 1, mtime=0)
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == first
    for bad, status in ((("roll", "1"), 404), (("pin", found[1]), 409), (("x", found[1]), 422)):
        form = dict(zip(("action", "version"), bad, strict=True))
        assert visitor.post(change, form).status_code == status


# -- VMware


def test_esxi_images_are_shown_with_all_that_is_known(app: Flask) -> None:
    visitor = Visitor(app, Role.ADMINISTRATOR)
    empty = visitor.get("/vmware/").text
    assert "No ESXi images yet" in empty
    assert "Ubuntu Advantage (now Ubuntu Pro)" in empty
    assert "make ISO=" in empty
    send(visitor, esxi(), name="esxi/6.7", filetype="ddxz")
    work(app)
    with app.app_context():
        factories.boot_resource({"root-dd.gz": b"x"}, os="esxi", release="8.0", arch="amd64")
        db.session.add(
            Event(
                kind="image.fetched", actor="192.0.2.7", subject="esxi/amd64/generic/6.7/uploaded/x"
            )
        )
        db.session.commit()
    page = text_of(visitor.get("/vmware/"))
    assert "VMware ESXi 6.7.0 build 14320388" in page
    assert "192.0.2.7" in page
    assert "Uploaded" in page
    assert "boot bank 2, 262 MB (reserved by ESXi)" in page
    assert "esxi/8.0" in page


def test_the_number_of_queries_does_not_depend_on_the_number_of_images(
    app: Flask, count_queries: Any
) -> None:
    visitor = Visitor(app, Role.VIEWER)

    def queries() -> int:
        with count_queries() as found:
            assert visitor.get("/vmware/").status_code == 200
        return len(found)

    def add(name: str) -> None:
        with app.app_context():
            factories.boot_resource({"root-dd.gz": name.encode()}, os="esxi", release=name)
            db.session.remove()

    add("a")
    before = queries()
    for number in range(6):
        add(f"b{number}")
    assert queries() == before


V1 = """\
network:
  version: 1
  config:
    - {type: physical, name: eth0, mac_address: "52:54:00:00:00:0a"}
    - {type: physical, name: eth1, mac_address: "52:54:00:00:00:0b"}
    - type: bond
      name: bond0
      bond_interfaces: [eth0, eth1]
      params: {bond-mode: balance-alb}
      subnets: [{type: static, address: 10.20.0.15/24, gateway: 10.20.0.1}]
"""


def test_a_network_is_planned_and_fixed_by_one_click(app: Flask) -> None:
    visitor = Visitor(app, Role.VIEWER)
    assert "802.3ad" in visitor.get("/vmware/network").text
    page = visitor.post("/vmware/network", {"config": V1, "nics": ""})
    assert "ESXi has no teaming for bond mode" in page.text
    assert "<svg" in page.text
    fix = {"op": "mode", "name": "bond0", "value": "active-backup"}
    fixed = text_of(visitor.post("/vmware/network", {"config": V1, "nics": "", **fix}))
    assert "All commands are valid" in fixed
    assert "10.20.0.15 on vmk0 via vmnic0" in fixed
    assert "esxcli network vswitch standard add -v vSwitch0" in fixed
    bad = visitor.post("/vmware/network", {"config": ": [", "nics": ""})
    assert bad.status_code == 422
    gone = visitor.post("/vmware/network", {"config": V1, "nics": "", **fix, "name": "x"})
    assert "no longer applies" in gone.text
    hostile = V1.replace("eth0", "<script>alert(1)</script>")
    assert (
        "<script>alert" not in visitor.post("/vmware/network", {"config": hostile, "nics": ""}).text
    )


def test_a_machines_storage_is_checked(app: Flask) -> None:
    visitor = Visitor(app, Role.VIEWER)
    assert "Compatible" in visitor.get("/vmware/storage?version=8&disk=480&layout=default").text
    small = visitor.get("/vmware/storage?version=8&disk=16&layout=vmfs6&no_datastore=1").text
    assert "Not compatible" in small
    assert "needs 32 GiB" in small
    assert "A datastore must be defined" in small
    assert "datastore1 with 448 GiB" in visitor.get("/vmware/storage?version=8&disk=480").text
    assert visitor.get("/vmware/storage?disk=1").status_code == 200


@pytest.mark.parametrize("disk", ["abc", "", "nan", "inf", "-1", "0", "1e30", "480 GB"])
def test_what_is_no_size_of_a_disk_is_said_at_its_field(app: Flask, disk: str) -> None:
    answer = Visitor(app, Role.VIEWER).get(f"/vmware/storage?version=8&disk={quote(disk)}")
    assert answer.status_code == 422
    assert "Enter the size as a number, e.g. 480." in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert "ompatible" not in answer.text


def test_uploads_are_for_administrators(app: Flask) -> None:
    for role in (Role.VIEWER, Role.OPERATOR):
        visitor = Visitor(app, role)
        assert visitor.get("/uploads/").status_code == 403
        assert "Uploads" not in text_of(visitor.get("/images/"))
    with app.app_context():
        assert db.session.scalars(select(ResourceSet)).all() == []
