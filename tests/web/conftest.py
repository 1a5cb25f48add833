# SPDX-License-Identifier: Apache-2.0
"""Visitors of the pages, one for each role."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache

from tests.web.visitors import Visitor
from webapp.models import Role


class Compiled(BytecodeCache):
    """Templates compiled by an earlier test, since every test has an app of its own."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give back what was compiled from the same text."""
        if bucket.key + bucket.checksum in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key + bucket.checksum])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it for the next app."""
        self.kept[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


COMPILED = Compiled()


@pytest.fixture
def app(app: Flask) -> Flask:
    """The app of a test, with its templates compiled once for all tests."""
    app.jinja_env.bytecode_cache = COMPILED
    return app


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
