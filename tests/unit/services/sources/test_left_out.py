# SPDX-License-Identifier: Apache-2.0
"""What of a source's stream isn't used, and what was confirmed by name."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import CONTENT, LATER, NOBLE, Stream
from webapp.errors import Problem
from webapp.services.overview import health as overview
from webapp.services.sources import health, refreshing, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.severity import Severity

pytestmark = pytest.mark.usefixtures("region")
GONE = NOBLE.replace("24.04", "22.04")


@pytest.fixture
def stream(tmp_path: Path, signing_key: SigningKey) -> Stream:
    found = Stream(tmp_path / "upstream", signing_key)
    found.products = {NOBLE: found.ubuntu()}
    return found


def test_what_is_left_out_is_shown_on_every_surface(stream: Stream) -> None:
    stream.products |= {GONE: [], "odd": {"versions": {"1": 7}}}
    with MirrorServer(stream.publish().root) as server:
        draft = SourceDraft(url=server.url, keyring_data=stream.key.public)
        preview = sources.connect(draft)
        source = sources.add(draft, "ada")
        assert refreshing.refresh(source).problem is None
    left_out = [(one["product"], one["version"]) for one in source.left_out]
    assert left_out == [(GONE, ""), ("odd", "1"), ("odd", "")]
    assert [(one.product, one.version) for one in preview.skipped] == left_out
    found = health.judge(source)
    assert found.severity == Severity.OK
    assert f"3 entries of its stream are left out: {GONE}" in found.detail
    checks = [check for check in overview.run_checks() if "boot source" in check.name]
    assert any(GONE in check.found for check in checks)


def test_a_mirror_that_was_edited_by_hand_is_read_once_confirmed(stream: Stream) -> None:
    stream.listed = [NOBLE, GONE]
    with MirrorServer(stream.publish().root) as server:
        draft = SourceDraft(url=server.url, keyring_data=stream.key.public)
        with pytest.raises(Problem) as caught:
            sources.connect(draft)
        assert caught.value.code == "stream-mixed"
        assert GONE in caught.value.got
        source = sources.add(draft, "ada")
        assert refreshing.refresh(source).problem is not None
        confirmed = replace(sources.draft_of(source), confirmed_products=(GONE,))
        assert [one.product for one in sources.connect(confirmed, source.id).offers] == [NOBLE]
        sources.update_source(source, confirmed, "ada")
        assert refreshing.refresh(source).problem is None
        # It stays confirmed, for this product and no other.
        stream.listed, stream.dates = [NOBLE, "another"], {"updated": LATER}
        stream.publish()
        assert refreshing.refresh(source).problem is not None
    moved = replace(sources.draft_of(source), url="http://another.example/")
    sources.update_source(source, moved, "ada")
    assert source.confirmed_products == []


def test_a_stream_of_detached_signatures_is_a_boot_source(stream: Stream) -> None:
    stream.forms = (".json", ".json.gpg")
    with MirrorServer(stream.publish().root) as server:
        source = sources.add(SourceDraft(url=server.url, keyring_data=stream.key.public), "ada")
        assert refreshing.refresh(source).problem is None
        assert refreshing.refresh(source).is_unchanged
        (stream.root / f"streams/v1/{CONTENT}.json.gpg").unlink()
        stream.dates = {"updated": LATER}
        stream.forms = (".json",)
        stream.publish()
        assert refreshing.refresh(source).problem is not None
    assert source.signer_fingerprint == stream.key.fingerprint


def test_a_key_as_base64_text_is_kept_as_the_key(stream: Stream) -> None:
    text = base64.b64encode(stream.key.public)
    source = sources.add(SourceDraft(url="http://x.example/", keyring_data=text), "ada")
    assert source.keyring_data == stream.key.public
