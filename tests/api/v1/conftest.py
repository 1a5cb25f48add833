# SPDX-License-Identifier: Apache-2.0
"""Programs with tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.api.v1.typed import ALL, Typed
from tests.support import factories
from webapp.extensions import db
from webapp.models import (
    Role,
)
from webapp.services.accounts import tokens


@pytest.fixture
def token_of(app: Flask) -> Callable[..., Typed]:
    """A program with a token of a user of this role, with these scopes."""

    def make(role: Role = Role.ADMINISTRATOR, *scopes: str, **values: Any) -> Typed:
        with app.app_context():
            user = factories.user(role=role)
            _, token = tokens.create(user, "a program", scopes or ALL, **values)
            db.session.remove()
        return Typed(app.test_client(), token)

    return make


@pytest.fixture
def program(token_of: Callable[..., Typed]) -> Typed:
    """A program that may do everything."""
    return token_of()
