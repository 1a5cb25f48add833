# SPDX-License-Identifier: Apache-2.0
"""A rack with one image on it, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.rack import images

BASE = "/images/ubuntu/amd64/ga-24.04/noble/stable"


class Machine(FlaskClient):
    """Reads each answer to its end, as a server sends it."""

    def open(self, *args: Any, buffered: bool = True, **kwargs: Any) -> TestResponse:
        return super().open(*args, buffered=buffered, **kwargs)


@pytest.fixture
def rack(make_app: Callable[[str], Flask]) -> Iterator[Flask]:
    """The rack's app with its context pushed, and nothing published."""
    app = make_app("rack")
    app.test_client_class = Machine
    with app.app_context():
        yield app
    app.extensions["slipway.rack"].close()


@pytest.fixture
def machine(rack: Flask) -> FlaskClient:
    """A client of a rack that publishes ``images.FILES`` below BASE."""
    images.image()
    return rack.test_client()


@pytest.fixture
def refresh(rack: Flask) -> Callable[[], object]:
    """Make the rack check the publication now rather than within a second."""

    def refresh_now() -> object:
        return rack.extensions["slipway.rack"].published.names(refresh=True)

    return refresh_now
