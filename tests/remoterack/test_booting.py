# SPDX-License-Identifier: Apache-2.0
"""Machines boot from a rack elsewhere: configurations, boot loaders and TFTP, region or not."""

from __future__ import annotations

import lzma
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rack import images, tftp
from tests.remoterack.remote import PATH, Line, RemoteRack, fetch, publish
from tests.support.databases import Databases
from tests.support.ports import HOST, keep_port
from tests.unit.services.boot.test_unpacking import archive
from tests.web.test_slow_clients import LiveWeb
from webapp.extensions import db
from webapp.services.boot import document, loaders, reading, table
from webapp.services.racks import changing, tokens
from webapp.streams.errors import DocumentProblem
from webapp.streams.racks import BOOT_PATH

MAC, DASHES = "52:54:00:12:34:56", "52-54-00-12-34-56"
GRUB = b"MZ" + random.Random(4).randbytes(70_000)
ROOT = random.Random(5).randbytes(300_000)


@pytest.fixture(scope="module")
def region(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> Iterator[LiveWeb]:
    """A region with an image, a machine that boots it, and a boot loader."""
    folder: Path = tmp_path_factory.mktemp("region")
    with LiveWeb(folder, sqlite_databases.migrated(), web_workers=1) as found:
        with found.app.app_context():
            images.image({**images.FILES, "squashfs": ROOT}, product="p:v3:noble")
            images.image(
                {"grub2-signed.tar.xz": lzma.compress(archive({"grubx64.efi": GRUB}))},
                os="grub-efi-signed", release="uefi", subarch="generic",
                bootloader_type="uefi", answers_to=[], product="p:1:uefi",
            )  # fmt: skip
            table.set_entry("ada", MAC, "ubuntu/noble", arch="amd64", parameters="console=ttyS0")
            loaders.reconcile()
            db.session.remove()
        publish(found)
        yield found


def test_an_enrolled_rack_boots_machines_also_without_its_region(
    region: LiveWeb, tmp_path: Path
) -> None:
    with region.app.app_context():
        token = tokens.create("ada")[1]
        db.session.remove()
    port = keep_port()
    with (
        Line(region.url) as line,
        RemoteRack(
            tmp_path, line.url, "", rack_token=token, rack_name="far", tftp_bind=f"{HOST}:{port}"
        ) as rack,
    ):
        rack.wait_for("/grubx64.efi")
        rack.wait_until(lambda: rack.status.get("held_state", 0) > 0, "it holds all")
        for _ in ("with its region", "after a restart without it"):
            boots(rack, port)
            line.is_cut = True
            rack.stop()
            rack.__enter__()
        with RemoteRack(tmp_path / "third", rack.url, token.rpartition(".")[2]) as third:
            assert third.wait_for("/grubx64.efi").body == GRUB
            text = fetch(third.url, f"/ipxe.cfg-{DASHES}").body.decode()
            assert f"{third.url}{PATH}/20260105/boot-kernel" in text
        line.is_cut = False
        with region.app.app_context():
            table.set_entry("ada", "default", "ubuntu/noble", arch="amd64")
            db.session.remove()
        publish(region)
        rack.wait_for("/ipxe.cfg-default-x86_64")
        with region.app.app_context():
            changing.change(1, "ada", is_drained=True)
            db.session.remove()
        rack.wait_for(f"/ipxe.cfg-{DASHES}", 503)
        assert tftp.get(port, "grubx64.efi").startswith(b"This rack is drained")


def boots(rack: RemoteRack, port: int) -> None:
    """A machine gets its configuration and all that it names, by HTTP and by TFTP."""
    for name in (f"ipxe.cfg-{DASHES}", f"grub/grub.cfg-{MAC}", f"pxelinux.cfg/01-{DASHES}"):
        text = fetch(rack.url, f"/{name}").body
        assert f"{rack.url}{PATH}/20260105/squashfs".encode() in text
        assert b"console=ttyS0" in text
        assert text == tftp.get(port, name).rstrip(b"\n") + b"\n"
    assert fetch(rack.url, "/grubx64.efi").body == GRUB
    assert fetch(rack.url, "/grubx64.efi").headers["Content-Type"] == "application/efi"
    for name in ("grubx64.efi", "bootloader/uefi/amd64/grubx64.efi"):
        assert tftp.get(port, name, blksize=1400, windowsize=8) == GRUB
    assert tftp.get(port, f"{PATH[1:]}/20260105/squashfs", blksize=1400, windowsize=8) == ROOT
    assert fetch(rack.url, "/ipxe.cfg-00-00-00-00-00-01").status == 404
    assert tftp.get(port, "shimx64.efi") == b"There is nothing here."


def test_the_table_is_for_enrolled_racks_alone(region: LiveWeb, tmp_path: Path) -> None:
    fingerprint = publish(region)
    assert fetch(region.url, f"/mirror/{BOOT_PATH}").status == 404
    with RemoteRack(tmp_path, region.url, fingerprint) as rack:
        rack.wait_for(f"{PATH}/boot-kernel")
        answer = fetch(rack.url, f"/ipxe.cfg-{DASHES}")
        assert answer.status == 404
        assert b"isn't enrolled" in answer.body
        assert fetch(rack.url, "/grubx64.efi").status == 404


def test_a_document_says_the_same_to_its_reader(region: LiveWeb) -> None:
    with region.app.app_context():
        found = reading.read_document(db.session.connection())
        db.session.remove()
    text = document.write(found)
    parsed = document.parse(text, where="here")
    named = {
        key: tuple(replace(one, files=dict(one.files)) for one in of)
        for key, of in found.table.images.items()
        if key[0] == "ubuntu"
    }
    assert parsed.table.entries == found.table.entries
    assert {key: tuple(of) for key, of in parsed.table.images.items()} == named
    assert parsed.loaders == found.loaders


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[]",
        b'{"format": "slipway-boot:2"}',
        b'{"format": "slipway-boot:1", "entries": [1]}',
    ],
    ids=["empty", "list", "later", "odd"],
)
def test_a_document_that_cannot_be_read_is_named(text: bytes) -> None:
    with pytest.raises(DocumentProblem) as caught:
        document.parse(text, where="here")
    assert "boot table" in caught.value.what
