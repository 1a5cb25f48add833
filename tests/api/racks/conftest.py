# SPDX-License-Identifier: Apache-2.0
"""A region that publishes an image for racks."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.api.racks.remote import RemoteRack, enrol
from tests.api.v1.conftest import program, token_of
from tests.rack import images
from webapp.extensions import db
from webapp.services.mirror import publishing

__all__ = ["program", "token_of"]


@pytest.fixture
def publisher(app: Flask) -> Flask:
    """The app of a region with a signed stream."""
    with app.app_context():
        images.image(product="p:v3:noble")
        assert publishing.reconcile()
        db.session.remove()
    return app


@pytest.fixture
def rack(publisher: Flask) -> RemoteRack:
    """An enrolled rack."""
    return enrol(publisher)
