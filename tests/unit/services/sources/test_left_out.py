# SPDX-License-Identifier: Apache-2.0
"""What of a source's stream isn't used, and what was confirmed by name."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.mirror.maker import make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import CONTENT, LATER, NOBLE, Stream
from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import BootSourceCache
from webapp.services.overview import health as overview
from webapp.services.sources import health, refreshing, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.severity import Severity
from webapp.streamclient import Snapshot
from webapp.streams.offers import plain_text

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


def test_while_a_document_cannot_be_read_nothing_of_the_source_is_gone(stream: Stream) -> None:
    other, path = "com.example.maas:daily:v3:download", "streams/v1/other"
    jammy = {
        **stream.ubuntu(),
        "release": "jammy",
        "version": "22.04",
        "versions": {
            "20261119": {
                "items": {
                    ftype: stream.item(f"jammy/{ftype}", ftype)
                    for ftype in ("boot-kernel", "boot-initrd", "squashfs")
                }
            }
        },
    }
    good = {"format": "products:1.0", "content_id": other, "products": {GONE: jammy}}
    stream.others = {other: {"format": "products:1.0", "path": f"{path}.json"}}
    offered = select(BootSourceCache.product).order_by(BootSourceCache.product)
    with MirrorServer(stream.publish().root) as server:
        draft = SourceDraft(url=server.url, keyring_data=stream.key.public)

        def publish(raw: bytes) -> None:
            (stream.root / f"{path}.sjson").write_bytes(signed.clearsign(stream.key, raw))

        publish(json.dumps(good).encode())
        source = sources.add(draft, "ada")
        assert refreshing.refresh(source).problem is None
        assert db.session.scalars(offered).all() == [GONE, NOBLE]
        stream.dates = {"updated": LATER}
        stream.publish()
        for _ in range(2):
            publish(b'{"format": "products:1.0"')
            assert refreshing.refresh(source).problem is None
            assert db.session.scalars(offered).all() == [GONE, NOBLE]
        assert source.left_out[0]["product"] == other
        assert "isn't JSON" in source.left_out[0]["reason"]
        assert other in health.judge(source).detail
        preview = sources.connect(draft, source.id)
        assert [one.product for one in preview.skipped] == [other]
        assert {w.code for w in preview.warnings} >= {"stream-left-out"}
        # The same index: it's found when the document alone was mended.
        publish(json.dumps({**good, "products": {}}).encode())
        assert refreshing.refresh(source).problem is None
        assert db.session.scalars(offered).all() == [NOBLE]
        assert source.left_out == []


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


def test_a_state_that_was_read_earlier_is_not_stored_over_a_newer_one(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MirrorServer(stream.publish().root) as server:
        source = sources.add(SourceDraft(url=server.url, keyring_data=stream.key.public), "ada")
        read = refreshing._read

        def read_and_be_overtaken(*args: Any) -> Snapshot:
            found = read(*args)
            monkeypatch.setattr(refreshing, "_read", read)
            stream.dates = {"updated": LATER}
            stream.publish()
            assert refreshing.refresh(source).problem is None
            return found

        monkeypatch.setattr(refreshing, "_read", read_and_be_overtaken)
        assert refreshing.refresh(source).problem is None
    assert source.index_updated_at == parsedate_to_datetime(LATER)


def test_a_key_as_base64_text_is_kept_as_the_key(stream: Stream) -> None:
    text = base64.b64encode(stream.key.public)
    source = sources.add(SourceDraft(url="http://x.example/", keyring_data=text), "ada")
    assert source.keyring_data == stream.key.public


# -- what the publisher and its key announce


def test_a_key_that_expires_soon_is_a_warning_until_it_is_renewed(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    brief = signed.new_key("Brief <brief@example.test>", expires="9d")
    found = Stream(tmp_path / "upstream", brief)
    found.products = {NOBLE: found.ubuntu()}
    with MirrorServer(found.publish().root) as server:
        source = sources.add(SourceDraft(url=server.url, keyring_data=brief.public), "ada")
        for _ in range(2):  # the second time, the stream is unchanged
            assert refreshing.refresh(source).problem is None
            judged = health.judge(source)
            assert (str(judged.state), judged.severity) == ("key-expires-soon", Severity.WARN)
            assert judged.text == "Key expires soon"
            assert "renewed key" in judged.next_step
        checks = [one for one in overview.run_checks() if one.severity == Severity.WARN]
        assert any("expires on" in check.found for check in checks)
        found.key = signing_key
        found.publish()
        draft = replace(sources.draft_of(source), keyring_data=signing_key.public)
        sources.update_source(source, draft, "ada")
        assert refreshing.refresh(source).problem is None
    assert health.judge(source).state == "ok"


def test_a_notice_of_the_publisher_is_kept_as_plain_text(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    mirror = make_mirror(tmp_path / "m", signing_key, releases=["noble"], arches=["amd64"],
                         kernels=1, loaders=False, centos=False)  # fmt: skip
    with MirrorServer(mirror) as server:
        draft = SourceDraft(url=server.source_url, keyring_data=signing_key.public)
        source = sources.add(draft, "ada")
        for _ in range(2):
            assert refreshing.refresh(source).problem is None
    (notice,) = source.notices
    assert notice["maas_version"]
    assert notice["message"]
    assert "announces" not in health.judge(source).detail  # it isn't newer than the one we are


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<p>MAAS <b>3.9</b> is\nout</p>", "MAAS 3.9 is out"),
        ("a &lt;script&gt; &amp; b", "a <script> & b"),
        ("x\x1b[31m\u202ey", "x\ufffd[31m\ufffdy"),
        ("<p " * 50_000, ""),
        ("w" * 50_000, "w" * 1000),
    ],
    ids=["tags", "entities", "controls", "broken", "long"],
)
def test_a_notice_loses_its_tags(html: str, words: str) -> None:
    assert plain_text(html) == words
