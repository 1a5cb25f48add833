# SPDX-License-Identifier: Apache-2.0
"""The rack where blobs lie in a bucket: streamed as a rule, or behind a presigned address."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask

from tests.rack import images
from tests.rack.conftest import BASE
from tests.support import objects
from webapp.rack import files
from webapp.services.images import restricting
from webapp.storage.bucket import BucketOptions

KERNEL = images.FILES["boot-kernel"]


@pytest.fixture
def environ(environ: dict[str, str], object_place: BucketOptions) -> dict[str, str]:
    """The settings of a test, with its bytes in a bucket."""
    place = {f"SLIPWAY_{name.upper()}": v for name, v in objects.environ(object_place).items()}
    return environ | place


def test_bytes_are_streamed_with_their_ranges(rack: Flask) -> None:
    images.image()
    machine = rack.test_client()
    assert machine.get(f"{BASE}/boot-kernel").data == KERNEL
    part = machine.get(f"{BASE}/boot-kernel", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.data) == (206, KERNEL[2:5])
    assert machine.head(f"{BASE}/boot-kernel").content_length == len(KERNEL)


@pytest.mark.settings(s3_redirect="on")
def test_machines_are_sent_to_the_bucket_and_nothing_notes_the_address(
    rack: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(files, "SMALL", 0)
    images.image()
    machine = rack.test_client()
    answer = machine.get(f"{BASE}/boot-kernel")
    assert answer.status_code == 302
    assert answer.headers["Cache-Control"] == "no-store"
    address = answer.headers["Location"]
    assert objects.SECRET_KEY not in address
    assert urlsplit(address).query not in caplog.text
    assert requests.get(address, timeout=20).content == KERNEL
    part = requests.get(address, headers={"Range": "bytes=2-4"}, timeout=20)
    assert (part.status_code, part.content) == (206, KERNEL[2:5])
    assert machine.head(f"{BASE}/boot-kernel").status_code == 200
    etag = machine.head(f"{BASE}/boot-kernel").headers["ETag"]
    assert machine.get(f"{BASE}/boot-kernel", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.settings(s3_redirect="on")
def test_no_one_gets_an_address_of_an_image_that_is_kept_to_some(
    rack: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be valid for everyone (rule: kept-images)."""
    monkeypatch.setattr(files, "SMALL", 0)
    images.image()
    kept = restricting.read(["192.0.2.1"], [])
    restricting.restrict("ada", "ubuntu", "noble", "amd64", kept)
    machine = rack.test_client()
    inside = machine.get(f"{BASE}/boot-kernel", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert (inside.status_code, inside.data) == (200, KERNEL)
    outside = machine.get(f"{BASE}/boot-kernel", environ_base={"REMOTE_ADDR": "192.0.2.2"})
    assert (outside.status_code, "Location" in outside.headers) == (404, False)
