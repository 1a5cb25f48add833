# SPDX-License-Identifier: Apache-2.0
"""A client certificate on the form: chosen as files, kept, shown without its key, removed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.fetch import servers
from tests.unit.stream_shapes.published import NOBLE, Stream
from tests.web.sources.form import hidden, stored
from tests.web.visitors import Visitor, text_of


@pytest.fixture
def form(tmp_path: Path, signing_key: SigningKey) -> Iterator[dict[str, str]]:
    """What a user types for a mirror that asks for a certificate."""
    stream = Stream(tmp_path / "upstream", signing_key)
    stream.products = {NOBLE: stream.ubuntu()}
    with MirrorServer(stream.publish().root, tls=servers.asking_context(tmp_path)) as server:
        yield {
            "stream": "custom",
            "url": server.url,
            "keyring_text": signing_key.public_armored.decode(),
            "ca_file": str(servers.ca_file(tmp_path)),
            "auth_kind": "none",
        }


def files(certificate: str, key: str = "") -> dict[str, object]:
    found: dict[str, object] = {"client_cert": (io.BytesIO(certificate.encode()), "me.pem")}
    return found | ({"client_key": (io.BytesIO(key.encode()), "me.key")} if key else {})


def test_a_pair_is_chosen_kept_and_removed(
    region: Flask, administrator: Visitor, form: dict[str, str]
) -> None:
    assert "asks for a client certificate" in text_of(administrator.post("/sources/connect", form))
    certificate, key = servers.client_pair("ada at the lab")
    wrong = administrator.post("/sources/connect", form | files(certificate))
    assert wrong.status_code == 422
    assert "Add the private key of the certificate as well." in text_of(wrong)
    shown = administrator.post("/sources/connect", form | files(certificate, key))
    assert shown.status_code == 200, text_of(shown)
    assert "PRIVATE KEY" not in shown.text
    saved = administrator.post("/sources/", {"draft": hidden(shown, "draft")})
    assert saved.status_code == 303
    (row,) = stored()
    page = administrator.get(f"/sources/{row.id}")
    assert "CN=ada at the lab, expires" in text_of(page)
    edit = administrator.get(f"/sources/{row.id}/edit")
    assert "One is stored." in text_of(edit)
    for answer in (page, edit):
        assert key.splitlines()[1] not in answer.text
        assert "PRIVATE KEY" not in answer.text
    kept = administrator.post(f"/sources/{row.id}/connect", form)
    assert kept.status_code == 200, text_of(kept)
    gone = administrator.post(f"/sources/{row.id}/connect", form | {"drops_client_cert": "y"})
    assert "asks for a client certificate" in text_of(gone)
    assert "One is stored." not in text_of(gone)
