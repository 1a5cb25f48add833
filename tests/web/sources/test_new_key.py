# SPDX-License-Identifier: Apache-2.0
"""A publisher's new key on the page, from the refusal to the accepted key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import NOBLE, Stream
from tests.web.sources.form import hidden, stored
from tests.web.visitors import Visitor, text_of
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import SourceDraft


@pytest.fixture
def path(app: Flask, tmp_path: Path, signing_key: SigningKey) -> Iterator[str]:
    """The page of a source whose stream another key signs since it was read."""
    stream = Stream(tmp_path / "upstream", signing_key)
    stream.products = {NOBLE: stream.ubuntu()}
    with MirrorServer(stream.publish().root) as server:
        with app.app_context():
            draft = SourceDraft(url=server.url, keyring_data=signing_key.public)
            row = sources.add(draft, "ada")
            refreshing.refresh(row)
            stream.key = signed.new_key("New <new@example.test>")
            stream.publish()
            refreshing.refresh(row)
            number = row.id
        yield f"/sources/{number}"


def test_a_new_key_is_compared_and_accepted(
    app: Flask, administrator: Visitor, path: str, signing_key: SigningKey
) -> None:
    new = signed.new_key("New <new@example.test>")
    assert f'href="{path}/key"' in administrator.get(path).text
    assert administrator.get(f"{path}/key").status_code == 200
    wrong = administrator.post(f"{path}/key", {"keyring": signing_key.public_armored.decode()})
    assert wrong.status_code == 422
    assert "signed by an untrusted key" in text_of(wrong)
    entered = {"keyring": new.public_armored.decode()}
    shown = administrator.post(f"{path}/key", entered)
    words = text_of(shown).replace(" ", "")
    assert words.index(signing_key.fingerprint) < words.index(new.fingerprint)
    assert "Keys to be trusted instead" in text_of(shown)
    fingerprint = hidden(shown, "fingerprint")
    done = administrator.post(f"{path}/key/accept", {**entered, "fingerprint": fingerprint})
    assert (done.status_code, done.headers["Location"]) == (303, path)
    with app.app_context():
        (row,) = stored()
        assert refreshing.refresh(row).problem is None
    assert f'href="{path}/key"' not in administrator.get(path).text


def test_only_administrators_accept_keys(path: str, viewer: Visitor) -> None:
    assert viewer.get(f"{path}/key").status_code == 403
    assert viewer.post(f"{path}/key/accept", {"fingerprint": "x"}).status_code == 403
    assert f'href="{path}/key"' not in viewer.get(path).text
