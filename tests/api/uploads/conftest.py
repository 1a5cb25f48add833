# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by these tests."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from webapp.extensions import db
from webapp.models import Role
from webapp.services.accounts import rights, tokens


@pytest.fixture
def program(app: Flask) -> Typed:
    with app.app_context():
        user = factories.user(role=Role.ADMINISTRATOR)
        _, token = tokens.create(user, "a program", tuple(rights.Scope))
        db.session.remove()
    return Typed(app.test_client(), token)
