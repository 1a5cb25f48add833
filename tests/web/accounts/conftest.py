# SPDX-License-Identifier: Apache-2.0
"""A user with a session."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.web.visitors import PASSWORD, Visitor
from webapp.models import Role
from webapp.services.accounts import users


@pytest.fixture
def maria(app: Flask, visit: Callable[..., Visitor]) -> Visitor:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    visitor = visit()
    visitor.sign_in("maria")
    return visitor
