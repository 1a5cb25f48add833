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
