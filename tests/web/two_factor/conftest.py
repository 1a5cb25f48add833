# SPDX-License-Identifier: Apache-2.0
"""A user, and the phone that belongs to her."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.web.two_factor.phone import Phone, enrol, time_passes
from tests.web.visitors import PASSWORD, Visitor
from webapp.models import Role
from webapp.services.accounts import users


@pytest.fixture
def maria(app: Flask, visit: Callable[..., Visitor]) -> Visitor:
    """Maria, signed in; her second factor is off."""
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    visitor = visit()
    visitor.sign_in("maria")
    return visitor


@pytest.fixture
def phone(app: Flask, maria: Visitor) -> Phone:
    """Maria's phone, which she is asked for from now on; no code of it was used lately."""
    made = enrol(maria)
    time_passes(app)
    return made
