# SPDX-License-Identifier: Apache-2.0
"""What terraform-provider-maas sends for its image resources, byte for byte.

gomaasclient sends forms, leaves empty fields out, and writes lists as repeated fields
(rules: rest-go-clients, rest-default-keyring).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.api.clients import API, Request, Script
from tests.support import factories
from tests.support.signed import SigningKey
from webapp.extensions import db, settings
from webapp.models import BootSource
from webapp.services.sources import drafts, sources

DEFAULT = "http://images.maas.io/ephemeral-v3/stable/"
SNAP = "/snap/maas/current/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"
DEB = "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"
SOURCES = f"{API}boot-sources/"


def go(
    script: Script, method: str, target: str, form: list[tuple[str, str]] | None
) -> TestResponse:
    """A request of gomaasclient: realm "MAAS API" with a plus, a nonce of 32 hex digits."""
    consumer, token, secret = script.key.split(":")
    headers = {
        "User-Agent": "Go-http-client/1.1",
        "Accept-Encoding": "gzip",
        "Authorization": (
            f'OAuth oauth_version="1.0", oauth_nonce="{"0f" * 16}", realm="MAAS+API", '
            f'oauth_signature="%26{secret}", oauth_timestamp="1795323109", '
            f'oauth_token="{token}", oauth_signature_method="PLAINTEXT", '
            f'oauth_consumer_key="{consumer}"'
        ),
    }
    body = b""
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(sorted(form)).encode()
    return script.send(Request(method, target, headers, body))


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signing_key: SigningKey) -> Path:
    """The default keyring of this server, in a place of its own."""
    path = tmp_path / "default.gpg"
    path.write_bytes(signing_key.public)
    monkeypatch.setattr(drafts, "settings", lambda: replace(settings(), default_keyring=str(path)))
    return path


@pytest.fixture
def source_id(app: Flask) -> int:
    """The one boot source that the provider wants to find."""
    with app.app_context():
        return factories.boot_source(url="http://mirror.example.test/stable/").id


@pytest.mark.parametrize("path", [SNAP, DEB])
def test_destroying_a_boot_source_restores_maas_defaults(
    app: Flask, admin: Script, source_id: int, keyring: Path, path: str
) -> None:
    (found,) = go(admin, "GET", SOURCES, None).json
    form = [("url", DEFAULT), ("keyring_filename", path)]
    changed = go(admin, "PUT", f"{SOURCES}{found['id']}/", form)
    assert changed.status_code == 200, changed.text
    assert changed.json["url"] == DEFAULT
    assert changed.json["keyring_filename"] == path  # terraform compares it with its state
    (after,) = go(admin, "GET", SOURCES, None).json
    assert after["keyring_filename"] == path
    with app.app_context():
        source = db.session.get_one(BootSource, source_id)
        trusted = sources.keyring_of(source)
        assert trusted is not None
        assert trusted.fingerprints


def test_a_keyring_that_exists_under_its_own_name_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, app: Flask
) -> None:
    own = tmp_path / "own.gpg"
    own.write_bytes(b"x")
    monkeypatch.setattr(drafts, "MAAS_KEYRINGS", {str(own)})
    with app.app_context():
        assert drafts.keyring_file(str(own)) == str(own)


def test_other_paths_never_mean_the_default_keyring(
    admin: Script, source_id: int, keyring: Path
) -> None:
    form = [("url", DEFAULT), ("keyring_filename", "/snap/other/keyring.gpg")]
    answer = go(admin, "PUT", f"{SOURCES}{source_id}/", form)
    assert answer.status_code == 400
    assert "keyring_filename" in answer.json


def test_a_selection_is_created_read_and_deleted(app: Flask, admin: Script, source_id: int) -> None:
    with app.app_context():
        source = db.session.get_one(BootSource, source_id)
        for arch in ("amd64", "arm64"):
            factories.cache_entry(source, os="ubuntu", release="noble", arch=arch)
    path = f"{SOURCES}{source_id}/selections/"
    form = [("os", "ubuntu"), ("release", "noble"), ("arches", "amd64"), ("arches", "arm64")]
    form += [("subarches", "*"), ("labels", "*")]
    made = go(admin, "POST", path, form).json
    assert made["boot_source_id"] == source_id
    assert (made["arches"], made["subarches"], made["labels"]) == (["amd64", "arm64"], ["*"], ["*"])
    one = f"{path}{made['id']}/"
    assert go(admin, "POST", f"{API}boot-resources/?op=import", []).status_code == 200
    assert go(admin, "GET", f"{API}boot-resources/?Type=synced", None).json == []
    assert go(admin, "GET", one, None).json == made
    changed = [pair for pair in form if pair != ("arches", "arm64")]
    assert go(admin, "PUT", one, changed).json["arches"] == ["amd64"]
    assert go(admin, "DELETE", one, None).status_code == 204
    gone = go(admin, "DELETE", one, None)
    assert gone.status == "404 Not Found"  # the provider looks for these words
