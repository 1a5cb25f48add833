# SPDX-License-Identifier: Apache-2.0
"""``/sources/<id>/state``."""

from __future__ import annotations

from pathlib import Path

from flask import Flask

from tests.api.v1.typed import Typed
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import DATE, LATER, NOBLE, Stream
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import SourceDraft


def test_an_older_state_is_shown_and_accepted(
    app: Flask, program: Typed, tmp_path: Path, signing_key: SigningKey
) -> None:
    stream = Stream(tmp_path / "upstream", signing_key)
    stream.dates = {"updated": LATER}
    stream.products = {NOBLE: stream.ubuntu()}
    with MirrorServer(stream.publish().root) as server:
        with app.app_context():
            row = sources.add(SourceDraft(url=server.url, keyring_data=signing_key.public), "ada")
            refreshing.refresh(row)
            path = f"sources/{row.id}/state"
            assert program.call("POST", path, {}).status_code == 409
            stream.dates = {"updated": DATE}
            stream.publish()
            refreshing.refresh(row)
        shown = program.call("POST", path, {}).json
        assert (shown["count"], shown["is_accepted"]) == (0, False)
        assert shown["updated_after"] < shown["updated_before"]
        assert program.call("POST", path, {"accept": "0" * 64}).status_code == 409
        done = program.call("POST", path, {"accept": shown["digest"]})
        assert done.json == {
            **shown,
            "is_accepted": True,
            "updated_before": shown["updated_before"],
        }
    assert program.get(path.rpartition("/")[0])["problem"] is None
