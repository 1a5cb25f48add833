# SPDX-License-Identifier: Apache-2.0
"""The mirrors of a source in its form and on its page."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.web.sources.form import connected, stored, typed
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db

B, C = "http://b.example.test/", "https://c.example.test/x/"


def test_mirrors_are_entered_one_a_line_and_kept(
    app: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    form = typed(server, signing_key, mirrors=f"{B}\n{C}streams/v1/\n{B} {server.source_url}")
    draft = connected(administrator, form)
    path = administrator.post("/sources/", {"draft": draft}).headers["Location"]
    with app.app_context():
        (row,) = stored()
        assert row.mirrors == [B, C]
        row.mirror_speeds = [
            {"url": B, "bytes_per_s": 2_000_000, "problem": "", "measured_at": "2026-01-01"},
            {"url": C, "bytes_per_s": 0, "problem": "It's gone.", "measured_at": "2026-01-01"},
        ]
        db.session.commit()
    shown = text_of(administrator.get(path))
    assert f"{B} : 2.0 MB/s" in shown
    assert f"{C} : It's gone." in shown
    assert f"{B}\n{C}" in administrator.get(f"{path}/edit").text


@pytest.mark.parametrize(
    ("mirrors", "words"),
    [
        ("ftp://x.example.test/", "ftp://x.example.test/"),
        (" ".join(f"http://m{n}.example.test/" for n in range(9)), "at most 8 mirrors"),
    ],
    ids=["scheme", "many"],
)
def test_mirrors_that_cannot_be_used_are_refused(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey,
    mirrors: str, words: str,
) -> None:  # fmt: skip
    page = administrator.post("/sources/connect", typed(server, signing_key, mirrors=mirrors))
    assert page.status_code == 422
    assert words in text_of(page)
