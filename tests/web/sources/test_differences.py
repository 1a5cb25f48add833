# SPDX-License-Identifier: Apache-2.0
"""A mirror that was edited by hand: what differs is shown, and accepted by a box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import LATER, NOBLE, Stream
from tests.web.sources.form import hidden, stored
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import BootSource
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import SourceDraft

GONE, MORE = NOBLE.replace("24.04", "22.04"), NOBLE.replace("24.04", "26.04")


@pytest.fixture
def stream(tmp_path: Path, signing_key: SigningKey) -> Stream:
    """Its index lists a product that's gone and lacks one that's there."""
    found = Stream(tmp_path / "upstream", signing_key)
    found.products = {NOBLE: found.ubuntu(), MORE: {**found.ubuntu(), "release": "resolute"}}
    found.listed = [NOBLE, GONE]
    return found.publish()


@pytest.fixture
def edited(stream: Stream) -> Iterator[MirrorServer]:
    with MirrorServer(stream.root) as running:
        yield running


def read_again(app: Flask) -> BootSource:
    """The one source, after another refresh; it's detached, with its columns loaded."""
    with app.app_context():
        refreshing.refresh(stored()[0])
        return loaded(app)


def loaded(app: Flask) -> BootSource:
    """The one source as it's stored."""
    with app.app_context():
        (source,) = stored()
        db.session.expunge(source)
        return source


def added(app: Flask, server: MirrorServer, stream: Stream) -> str:
    """Add the source and read it; returns the address of its page."""
    with app.app_context():
        sources.add(SourceDraft(url=server.url, keyring_data=stream.key.public), "ada")
    return f"/sources/{read_again(app).id}"


def test_a_new_source_is_accepted_in_its_form(
    app: Flask, administrator: Visitor, edited: MirrorServer, signing_key: SigningKey
) -> None:
    form = {
        "stream": "custom",
        "url": edited.url,
        "keyring_text": signing_key.public_armored.decode(),
        "auth_kind": "none",
    }
    page = administrator.post("/sources/connect", form)
    assert page.status_code == 422
    shown = text_of(page)
    assert f"Only in the index: 1 {GONE}" in shown
    assert f"Only in the document: 1 {MORE}" in shown
    kept = {"kept": hidden(page, "kept"), "differing": [GONE, MORE]}
    assert administrator.post("/sources/connect", {**form, **kept}).status_code == 422
    accepted = {**form, **kept, "accepts": "y"}
    # What was accepted stays so when something else is wrong, and for this address only.
    again = administrator.post("/sources/connect", {**accepted, "priority": "high"})
    assert again.status_code == 422
    later = {**form, "kept": hidden(again, "kept")}
    preview = administrator.post("/sources/connect", later)
    assert preview.status_code == 200, text_of(preview)
    administrator.post("/sources/", {"draft": hidden(preview, "draft")})
    assert loaded(app).confirmed_products == [GONE, MORE]


def test_the_page_of_a_source_shows_what_differs_and_accepts_it(
    app: Flask,
    administrator: Visitor,
    viewer: Visitor,
    stream: Stream,
    edited: MirrorServer,
) -> None:
    url = added(app, edited, stream)
    shown = text_of(administrator.get(url))
    assert f"Only in the index: 1 {GONE} Only in the document: 1 {MORE} Accept this state" in shown
    assert GONE in text_of(viewer.get(url))
    assert "Accept this state" not in text_of(viewer.get(url))
    assert viewer.post(f"{url}/accept", {"product": [GONE, MORE]}).status_code == 403
    for products in ([], [GONE], [GONE, MORE, NOBLE]):
        assert administrator.post(f"{url}/accept", {"product": products}).status_code == 409
    assert loaded(app).confirmed_products == []
    answer = administrator.post(f"{url}/accept", {"product": [MORE, GONE]})
    assert answer.status_code == 303
    source = loaded(app)
    assert (source.confirmed_products, source.checked_at) == ([GONE, MORE], None)
    assert read_again(app).error_code == ""
    assert "What differs" not in text_of(administrator.get(url))
    # A later difference is refused again, and shown without those that were accepted.
    stream.listed, stream.dates = [NOBLE, GONE, "another"], {"updated": LATER}
    stream.publish()
    source = read_again(app)
    assert source.error_code == "stream-mixed"
    assert source.differences == [{"product": "another", "is_listed": True}]


def test_more_than_can_be_accepted_is_refused(
    app: Flask, administrator: Visitor, stream: Stream, edited: MirrorServer
) -> None:
    stream.listed = [NOBLE, *(f"p{n}" for n in range(1500))]
    stream.publish()
    url = added(app, edited, stream)
    names = [one["product"] for one in loaded(app).differences]
    assert len(names) == 1001
    answer = administrator.post(f"{url}/accept", {"product": names})
    assert answer.status_code == 409
    assert "too many products" in text_of(answer)
    assert loaded(app).confirmed_products == []
