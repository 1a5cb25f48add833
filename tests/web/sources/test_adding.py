# SPDX-License-Identifier: Apache-2.0
"""Adding a boot source beside others."""

from __future__ import annotations

from flask import Flask

from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from tests.web.sources.form import connected, stored, typed
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import BootSourceSelection


def test_a_second_source_leaves_the_first_and_its_selections(
    region: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    first = factories.boot_source(name="First")
    picked = factories.selection(first, release="jammy", arches=["amd64", "arm64"])
    before = (first.id, first.url, picked.id)
    draft = connected(administrator, typed(server, signing_key, name="Second"))
    administrator.post("/sources/", {"draft": draft})
    assert [source.name for source in stored()] == ["First", "Second"]
    (kept,) = db.session.scalars(db.select(BootSourceSelection))
    assert (kept.source_id, stored()[0].url, kept.id) == before
    assert (kept.release, kept.arches) == ("jammy", ["amd64", "arm64"])
