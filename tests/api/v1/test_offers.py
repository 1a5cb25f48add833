# SPDX-License-Identifier: Apache-2.0
"""``/offers``: who offers an image, and who provides it."""

from __future__ import annotations

from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories


def test_offers_are_compared(app: Flask, program: Typed) -> None:
    with app.app_context():
        source = factories.boot_source(refreshed_at=factories.utcnow())
        factories.cache_entry(source, version="7")
    assert program.get("offers")["items"] == []  # nothing is selected
    (image,) = program.get("offers?is_all=true")["items"]
    (one,) = image["sources"]
    assert (one["version"], one["is_winner"]) == ("7", False)
    assert one["why"] == "not selected from this source"


def test_lists_of_offers_come_in_parts(app: Flask, program: Typed) -> None:
    with app.app_context():
        source = factories.boot_source(refreshed_at=factories.utcnow())
        for release in ("focal", "jammy", "noble"):
            factories.cache_entry(source, release=release)
    for path in ("offers?is_all=true&limit=2", "kernels?limit=2"):
        first = program.get(path)
        assert (len(first["items"]), first["next"]) == (2, 2)
        rest = program.get(f"{path}&cursor=2")
        assert (len(rest["items"]), rest["next"]) == (1, None)
        assert rest["items"][0] not in first["items"]
