# SPDX-License-Identifier: Apache-2.0
"""Visitors of the pages, one for each role."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.web.visitors import Visitor
from webapp.models import Role


@pytest.fixture
def visit(app: Flask) -> Callable[..., Visitor]:
    """Somebody at a browser: ``visit(Role.OPERATOR)``, or ``visit()`` for a stranger."""

    def make(role: Role | None = None, address: str = "192.0.2.1") -> Visitor:
        return Visitor(app, role, address)

    return make


@pytest.fixture
def administrator(visit: Callable[..., Visitor]) -> Visitor:
    """An administrator, signed in."""
    return visit(Role.ADMINISTRATOR)


@pytest.fixture
def operator(visit: Callable[..., Visitor]) -> Visitor:
    """An operator, signed in."""
    return visit(Role.OPERATOR)


@pytest.fixture
def viewer(visit: Callable[..., Visitor]) -> Visitor:
    """A viewer, signed in, beside an administrator who is not there."""
    return visit(Role.VIEWER)


@pytest.fixture
def stranger(visit: Callable[..., Visitor]) -> Visitor:
    """A browser without a session."""
    return visit()
