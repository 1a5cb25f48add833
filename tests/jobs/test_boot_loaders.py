# SPDX-License-Identifier: Apache-2.0
"""Boot loaders are unpacked by the worker and served at the rack's root, version after version."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.rack import images
from tests.unit.services.boot.test_unpacking import archive
from webapp.extensions import db, store
from webapp.models import Blob, BootLoader, BootResource
from webapp.services.boot import loaders
from webapp.storage.filesystem import FilesystemStore


@pytest.fixture
def rack(make_app: Callable[[str], Flask]) -> Iterator[Flask]:
    app = make_app("rack")
    with app.app_context():
        yield app
    app.extensions["slipway.rack"].close()


def packed(**files: bytes) -> dict[str, bytes]:
    names = {name.replace("_", "."): content for name, content in files.items()}
    return {"grub2-signed.tar.xz": lzma.compress(archive(names))}


def loader(files: dict[str, bytes], firmware: str = "uefi", arch: str = "amd64") -> BootResource:
    return images.image(
        files, os="grub-efi-signed", release=firmware, arch=arch, subarch="generic",
        bootloader_type=firmware, answers_to=[],
    )  # fmt: skip


def get(rack: Flask, path: str) -> tuple[int, bytes]:
    rack.extensions["slipway.rack"].published.names(refresh=True)
    answer = client(rack).get(path, buffered=True)
    return answer.status_code, answer.data


def client(rack: Flask) -> FlaskClient:
    return rack.test_client()


def test_files_of_all_archives_are_served_by_http_as_firmware_asks(rack: Flask) -> None:
    grub, shim = b"MZ grub" * 100, b"MZ shim" * 100
    files = packed(grubx64_efi=grub)
    files["shim-signed.tar.xz"] = lzma.compress(archive({"bootx64.efi": shim}))
    loader(files)
    assert get(rack, "/bootx64.efi")[0] == 404
    assert loaders.reconcile() == 1
    assert loaders.reconcile() == 0
    assert get(rack, "/bootx64.efi") == (200, shim)
    assert get(rack, "/bootloader/uefi/amd64/grubx64.efi") == (200, grub)
    answer = client(rack).get("/", environ_overrides={"PATH_INFO": "//grubx64.efi"})
    assert (answer.status_code, answer.data) == (200, grub)
    assert answer.headers["Content-Type"] == "application/efi"
    head = client(rack).head("/grubx64.efi")
    assert (head.status_code, head.content_length) == (200, len(grub))
    part = client(rack).get("/grubx64.efi", headers={"Range": "bytes=3-6"})
    assert (part.status_code, part.data) == (206, b"grub")
    same = client(rack).get("/grubx64.efi", headers={"If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304
    for missing in ("/shim_certificate_0.efi", "/bootloader/uefi/arm64/grubx64.efi", "/boot.efi"):
        assert get(rack, missing)[0] == 404


def test_a_new_version_replaces_the_files_once_it_is_unpacked(rack: Flask) -> None:
    resource = loader(packed(grubx64_efi=b"1"))
    loaders.reconcile()
    images.switch(resource, packed(grubx64_efi=b"2"), version="20260201")
    assert get(rack, "/grubx64.efi") == (200, b"1")
    loaders.reconcile()
    assert get(rack, "/grubx64.efi") == (200, b"2")
    assert [one.version for one in loaders.listing()] == ["20260201"]


def test_an_archive_that_cannot_be_unpacked_leaves_the_version_before_in_use(rack: Flask) -> None:
    resource = loader(packed(grubx64_efi=b"1"))
    loaders.reconcile()
    images.switch(resource, {"grub2-signed.tar.xz": b"no archive" * 200}, version="20260201")
    assert loaders.reconcile() == 1
    assert loaders.reconcile() == 0, "it's tried once"
    assert get(rack, "/grubx64.efi") == (200, b"1")
    [listed] = loaders.listing()
    assert (listed.version, listed.names) == ("20260105", ("grubx64.efi",))
    assert listed.problem["what"] == "A boot loader's archive can't be unpacked."
    assert "20260201 grub2-signed.tar.xz" in listed.problem["where"]


def test_the_bios_loader_of_i386_comes_before_that_of_amd64_and_each_alone_is_enough(
    rack: Flask,
) -> None:
    amd64 = loader(packed(lpxelinux_0=b"amd64"), "pxe", "amd64")
    loaders.reconcile()
    assert get(rack, "/lpxelinux.0") == (200, b"amd64")
    loader(packed(lpxelinux_0=b"i386"), "pxe", "i386")
    loaders.reconcile()
    assert get(rack, "/lpxelinux.0") == (200, b"i386")
    assert get(rack, "/bootloader/pxe/amd64/lpxelinux.0") == (200, b"amd64")
    assert amd64.bootloader_type == "pxe"


def test_damaged_archives_wait_for_their_repair(rack: Flask) -> None:
    loader(packed(grubx64_efi=b"1"))
    [blob] = db.session.scalars(select(Blob))
    blob.state = "bad"
    db.session.commit()
    loaders.reconcile()
    assert db.session.scalars(select(BootLoader)).all() == []
    blob.state = "ready"
    db.session.commit()
    loaders.reconcile()
    assert get(rack, "/grubx64.efi") == (200, b"1")


def test_bytes_that_rotted_are_never_unpacked_and_are_reported(rack: Flask) -> None:
    content = archive({"grubx64.efi": b"MZ grub"})
    loader({"grub2-signed.tar": content})
    [blob] = db.session.scalars(select(Blob))
    blobs = store()
    assert isinstance(blobs, FilesystemStore)
    path = blobs.path_of(blob.sha256)
    path.chmod(0o600)
    path.write_bytes(content.replace(b"MZ grub", b"MZ evil"))
    loaders.reconcile()
    assert get(rack, "/grubx64.efi")[0] == 404
    db.session.refresh(blob)
    assert (blob.state, blob.fault) == ("bad", "content")
    path.write_bytes(content)
    blob.state, blob.fault = "ready", ""
    db.session.commit()
    loaders.reconcile()
    assert get(rack, "/grubx64.efi") == (200, b"MZ grub")


def test_a_store_that_is_away_for_a_while_is_no_fault_of_the_archive(rack: Flask) -> None:
    loader(packed(grubx64_efi=b"1"))
    blobs = store()
    assert isinstance(blobs, FilesystemStore)
    folder = blobs.path_of("0" * 64).parents[2]
    folder.rename(folder.with_name("away"))
    loaders.reconcile()
    folder.with_name("away").rename(folder)
    loaders.reconcile()
    assert get(rack, "/grubx64.efi") == (200, b"1")


def test_what_is_deleted_with_its_image_is_no_longer_served(rack: Flask) -> None:
    resource = loader(packed(grubx64_efi=b"1"))
    loaders.reconcile()
    db.session.delete(resource)
    images.publish()
    assert get(rack, "/grubx64.efi")[0] == 404
    assert db.session.scalars(select(BootLoader)).all() == []
