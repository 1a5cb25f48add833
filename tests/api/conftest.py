# SPDX-License-Identifier: Apache-2.0
"""Scripts of each role, in each client's dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from tests.api.clients import DIALECTS, Dialect, Script
from tests.support import factories
from tests.support.live import ADMIN, PASSWORD, LiveSlipway, _database
from webapp.extensions import db
from webapp.models import Role
from webapp.services.accounts import keys


@pytest.fixture
def new_key(app: Flask) -> Callable[..., str]:
    """Make a user of a role and return an API key."""

    def make(role: Role = Role.ADMINISTRATOR, **values: object) -> str:
        with app.app_context():
            key = keys.create_api_key(factories.user(role=role, **values), "a script")
            db.session.remove()
        return key

    return make


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each stock client in turn."""
    found: Dialect = request.param
    return found


@pytest.fixture
def admin(app: Flask, new_key: Callable[..., str]) -> Script:
    """The ``maas`` command line with an administrator's key."""
    return Script(app.test_client(), new_key())


@pytest.fixture
def operator(app: Flask, new_key: Callable[..., str]) -> Script:
    """The same with an operator's key."""
    return Script(app.test_client(), new_key(Role.OPERATOR))


@pytest.fixture
def viewer(app: Flask, new_key: Callable[..., str]) -> Script:
    """The same with a viewer's key."""
    return Script(app.test_client(), new_key(Role.VIEWER))


@pytest.fixture
def stranger(app: Flask) -> Script:
    """The same without a key."""
    return Script(app.test_client())


@pytest.fixture
def any_client(admin: Script, dialect: Dialect) -> Script:
    """An administrator's script, once in each dialect."""
    return Script(admin.client, admin.key, dialect)


@pytest.fixture(scope="session")
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSlipway]:
    """A real Slipway whose sources and images only the scripts of these tests touch."""
    with LiveSlipway(tmp_path_factory.mktemp("api-node"), _database(request)) as slipway:
        slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
        yield slipway
