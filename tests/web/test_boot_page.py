# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import html
import lzma

import pytest
from flask import Flask
from sqlalchemy import select

from tests.rack import images
from tests.unit.services.boot.test_unpacking import archive
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import BootEntry, Event
from webapp.services.boot import loaders, table

PAGE = "/boot/"
MAC = "52:54:00:12:34:56"
GENERIC = "ubuntu/noble/amd64/generic"


@pytest.fixture(autouse=True)
def noble(region: Flask) -> None:
    images.image()


def text(visitor: Visitor, path: str = PAGE) -> str:
    return " ".join(html.unescape(visitor.get(path).text).split())


def test_an_administrator_sets_replaces_and_removes_entries(administrator: Visitor) -> None:
    assert "No image yet" in text(administrator)
    sent = {"machine": "", "image": GENERIC, "parameters": "console=ttyS0"}
    assert administrator.post(PAGE, sent).status_code == 303
    administrator.post(PAGE, {"machine": "52-54-00-12-34-56", "image": GENERIC})
    page = text(administrator)
    assert "Default for amd64" in page
    assert f"<code>{MAC}</code>" in page
    assert "20260105" in page
    administrator.post(PAGE, {"machine": MAC, "image": "ubuntu/noble/amd64/ga-24.04"})
    row = db.session.get_one(BootEntry, MAC)
    assert (row.subarch, row.parameters) == ("ga-24.04", "")
    assert administrator.post(f"{PAGE}{MAC}/remove").status_code == 303
    assert db.session.scalars(select(BootEntry.machine)).all() == ["amd64"]
    kinds = db.session.scalars(select(Event.kind).where(Event.kind.like("boot.%"))).all()
    assert kinds == ["boot.set", "boot.set", "boot.set", "boot.unset"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"machine": "52:54"}, "'52:54' isn't a MAC address. Enter one, or default."),
        ({"image": "x"}, "Choose an image from the list."),
        ({"parameters": "a || reboot"}, "Boot loaders can't pass on '||'."),
        ({"parameters": "a\nimgfree"}, "Boot loaders can't pass on 'a\\nimgfree'."),
    ],
)
def test_what_cannot_be_saved_is_said_at_its_field(
    administrator: Visitor, sent: dict[str, str], words: str
) -> None:
    answer = administrator.post(PAGE, {"machine": "", "image": GENERIC, "parameters": "", **sent})
    assert answer.status_code == 422
    assert words in html.unescape(answer.text)
    assert db.session.scalars(select(BootEntry)).all() == []


def test_viewers_and_operators_see_the_table_and_change_nothing(
    viewer: Visitor, operator: Visitor
) -> None:
    table.set_entry("ada", "default", "ubuntu/jammy", arch="amd64")
    for visitor in (viewer, operator):
        page = text(visitor)
        assert "ubuntu/jammy amd64 isn't stored." in page
        assert "Save image" not in page
        assert visitor.post(PAGE, {"image": GENERIC}).status_code == 403
        assert visitor.post(f"{PAGE}amd64/remove").status_code == 403


def test_the_page_explains_what_a_machine_would_boot(viewer: Visitor) -> None:
    table.set_entry("ada", "default", "ubuntu/noble", arch="amd64", parameters="quiet")
    page = text(viewer, f"{PAGE}?mac={MAC}&arch=amd64")
    assert f"{MAC} has no entry, so it gets the default image for amd64." in page
    folder = "http://localhost:5248/images/ubuntu/amd64/ga-24.04/noble/stable/20260105"
    assert f"{folder}/boot-kernel" in page
    assert "http://localhost:5248/grub/grub.cfg-default-amd64" in page
    assert "isn't a MAC address" in text(viewer, f"{PAGE}?mac=x&arch=amd64")
    assert "no default image for arm64" in text(viewer, f"{PAGE}?mac={MAC}&arch=arm64")


def test_boot_loaders_are_listed(viewer: Visitor) -> None:
    assert "None stored" in text(viewer)
    content = lzma.compress(archive({"bootx64.efi": b"x", "ldlinux.c32": b"y"}))
    images.image(
        {"shim-signed.tar.xz": content}, os="grub-efi-signed", release="uefi", subarch="generic",
        bootloader_type="uefi",
    )  # fmt: skip
    loaders.reconcile()
    page = text(viewer)
    assert "<code>bootx64.efi</code>" in page
    assert "ldlinux" not in page


def test_the_lines_for_dhcp_have_this_racks_address(viewer: Visitor) -> None:
    page = text(viewer)
    assert "dhcp-boot=tag:ipxe,http://localhost:5248/ipxe.cfg" in page
    assert 'filename "http://localhost:5248/ipxe.cfg";' in page
    assert "dhcp-boot=tag:uefi-http-x64,tag:!ipxe,http://localhost:5248/bootx64.efi" in page
    assert '"boot-file-name": "http://localhost:5248/ipxe.cfg"' in page


@pytest.mark.settings(tftp_bind="0.0.0.0:6969")
def test_tftp_on_a_port_that_firmware_does_not_know_is_not_called_off(
    administrator: Visitor,
) -> None:
    page = text(administrator)
    assert "TFTP is on at <code>0.0.0.0:6969</code>" in page
    assert "TFTP is off" not in page
    assert "lpxelinux.0,," not in page


@pytest.mark.settings(tftp_bind="0.0.0.0:69")
def test_the_lines_for_tftp_are_shown_when_firmware_can_use_it(administrator: Visitor) -> None:
    page = text(administrator)
    assert "lpxelinux.0,,localhost" in page
    assert "TFTP is" not in page
