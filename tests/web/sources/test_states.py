# SPDX-License-Identifier: Apache-2.0
"""A stream that went back: compared and accepted on the page, by command and by API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import DATE, LATER, NOBLE, Stream
from tests.web.sources.form import hidden, stored
from tests.web.visitors import Visitor, text_of
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import SourceDraft


@pytest.fixture
def stream(tmp_path: Path, signing_key: SigningKey) -> Stream:
    found = Stream(tmp_path / "upstream", signing_key)
    found.dates = {"updated": LATER}
    found.products = {NOBLE: found.ubuntu()}
    return found.publish()


@pytest.fixture
def path(app: Flask, stream: Stream, signing_key: SigningKey) -> Iterator[str]:
    """The page of a source whose stream went back since it was read."""
    with MirrorServer(stream.root) as server:
        with app.app_context():
            draft = SourceDraft(url=server.url, keyring_data=signing_key.public)
            row = sources.add(draft, "ada")
            assert refreshing.refresh(row).problem is None
            stream.dates = {"updated": DATE}
            versions = stream.products[NOBLE]["versions"]
            versions["20261101"] = versions.pop("20261120")
            stream.publish()
            assert refreshing.refresh(row).problem is not None
            number = row.id
        yield f"/sources/{number}"


def test_an_older_state_is_compared_and_accepted(
    app: Flask, administrator: Visitor, path: str
) -> None:
    assert f'action="{path}/state"' in administrator.get(path).text
    shown = administrator.post(f"{path}/state")
    words = text_of(shown)
    assert f"{NOBLE} stable older 20261120 20261101" in words
    wrong = administrator.post(f"{path}/state/accept", {"state": "0" * 64})
    assert wrong.status_code == 422
    assert "Nothing was accepted" in text_of(wrong)
    state = hidden(shown, "state")
    done = administrator.post(f"{path}/state/accept", {"state": state})
    assert (done.status_code, done.headers["Location"]) == (303, path)
    with app.app_context():
        (row,) = stored()
        assert refreshing.refresh(row).problem is None
    assert f'action="{path}/state"' not in administrator.get(path).text


def test_a_mirror_that_does_not_answer_accepts_nothing(
    administrator: Visitor, path: str, stream: Stream
) -> None:
    (stream.root / "streams/v1/index.sjson").unlink()
    answer = administrator.post(f"{path}/state")
    assert answer.status_code == 422
    assert "Accept this state" not in text_of(answer)
