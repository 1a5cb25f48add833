# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may ask for; expensive ones are made once and only when asked."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tests.mirror.maker import Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import databases, network, order, signed
from tests.support.databases import Databases, PostgresDatabases, Queries, SQLiteDatabases
from tests.support.postgres import Cluster
from webapp.fetch import Limits

if TYPE_CHECKING:
    from argon2 import PasswordHasher
    from flask import Flask
    from flask.testing import FlaskClient

    from tests.support.objects import ObjectServer
    from webapp import Plane
    from webapp.config import Settings
    from webapp.storage.bucket import BucketOptions

# Where Python is told not to keep what it compiled, each of the hundreds of processes that
# tests start would compile the whole program.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["tests.support.browser", "tests.support.live"]

MARKERS = {
    "both_databases": "runs on SQLite and on PostgreSQL; other tests run on what DB says",
    "settings(**values)": "settings of the app, as settings(store='database')",
}


def pytest_configure(config: pytest.Config) -> None:
    """Declare our markers and refuse an unknown database at once."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # Whoever starts the tests behind a script's back bequeaths this to all that they start,
        # and then nothing heeds Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    if databases.default_engine() not in databases.ENGINES:
        got, expected = databases.default_engine(), " or ".join(databases.ENGINES)
        raise pytest.UsageError(f"DB={got}: expected {expected}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on both databases where it asks for that."""
    if "engine_name" in metafunc.fixturenames:
        if metafunc.definition.get_closest_marker("both_databases"):
            metafunc.parametrize("engine_name", databases.ENGINES, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what waits run beside what computes."""
    order.arrange(items)


def pytest_collection_finish() -> None:
    """Keep the collector off the thousands of tests: they stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    with network.loopback_only():
        yield


@pytest.fixture(scope="session", autouse=True)
def _shared() -> Iterator[None]:
    from tests.support import sharing

    with sharing.shared():
        yield


@pytest.fixture(scope="session", autouse=True)
def _short_pauses() -> Iterator[None]:
    """Pause for hundredths of a second before another try; tests/unit/fetch times its own."""
    limits = partial(Limits, backoff_s=0.01)
    with mock.patch("webapp.services.system.fetching.Limits", limits):
        yield


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def real_hasher() -> Iterator[PasswordHasher]:
    """Hash passwords cheaply in this process; returns what Slipway hashes them with."""
    from argon2 import PasswordHasher

    from webapp.services.accounts import passwords

    real = passwords._HASHER
    passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield real
    passwords._HASHER = real


@pytest.fixture
def real_hashes(real_hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords as Slipway does, which takes 20 MiB and a while."""
    from webapp.services.accounts import passwords

    monkeypatch.setattr(passwords, "_HASHER", real_hasher)


# -- keys and mirrors


@pytest.fixture(scope="session")
def signing_key() -> signed.SigningKey:
    """The key that signs the mirrors of this run."""
    return signed.new_key()


@pytest.fixture
def mirror(tmp_path: Path, signing_key: signed.SigningKey) -> Mirror:
    """A small mirror of its own: noble and jammy, amd64 and arm64, loaders, CentOS."""
    return make_mirror(tmp_path / "mirror", signing_key)


@pytest.fixture(scope="session")
def shared_mirror(
    tmp_path_factory: pytest.TempPathFactory, signing_key: signed.SigningKey
) -> Mirror:
    """The same, made once, for tests that change nothing in it."""
    return make_mirror(tmp_path_factory.mktemp("mirror"), signing_key)


@pytest.fixture
def mirror_server(mirror: Mirror) -> Iterator[MirrorServer]:
    """A server of ``mirror``, without faults until the test sets some."""
    with MirrorServer(mirror) as server:
        yield server


# -- databases


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A private PostgreSQL cluster, started at its first use."""
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """A private S3 server, started at its first use."""
    from tests.support.objects import ObjectServer

    with ObjectServer() as running:
        yield running


@pytest.fixture
def object_place(object_server: ObjectServer) -> BucketOptions:
    """A fresh prefix in a bucket of that server."""
    return object_server.place()


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """SQLite files, one for each test."""
    return SQLiteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres_databases(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Databases of the cluster, one for each test."""
    return PostgresDatabases(cluster, tmp_path_factory.mktemp("postgres"))


@pytest.fixture
def engine_name(request: pytest.FixtureRequest) -> str:
    """``sqlite`` or ``postgres``: what this test runs on."""
    return str(getattr(request, "param", databases.default_engine()))


@pytest.fixture
def engine_databases(request: pytest.FixtureRequest, engine_name: str) -> Databases:
    """Where databases of this test's engine come from."""
    found: Databases = request.getfixturevalue(f"{engine_name}_databases")
    return found


@pytest.fixture
def database_url(engine_databases: Databases) -> Iterator[str]:
    """A migrated database of this test's own."""
    url = engine_databases.migrated()
    yield url
    engine_databases.drop(url)


@pytest.fixture
def empty_database_url(engine_databases: Databases) -> Iterator[str]:
    """A database without tables, for migrations and stores."""
    url = engine_databases.empty()
    yield url
    engine_databases.drop(url)


@pytest.fixture
def postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """An empty PostgreSQL database, whatever DB says."""
    url = postgres_databases.empty()
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def count_queries() -> Callable[[], AbstractContextManager[Queries]]:
    """Count SQL: ``with count_queries() as queries: ...; assert len(queries) <= 3, queries``."""
    return databases.counted


# -- the app


@pytest.fixture
def environ(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> dict[str, str]:
    """The SLIPWAY_* variables of this test, with those of its ``settings`` marker."""
    values: dict[str, object] = {
        "data_dir": tmp_path / "data",
        "database_url": database_url,
        "defaults": "off",
        "secret_key": "a key for tests and for nothing else",
        "log_level": "warning",
    }
    for marker in reversed(list(request.node.iter_markers("settings"))):
        values |= marker.kwargs
    return {f"SLIPWAY_{name.upper()}": str(value) for name, value in values.items()}


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Typed settings from ``environ``."""
    from webapp.config import Settings

    return Settings.load(environ)


@pytest.fixture
def make_app(settings: Settings) -> Iterator[Callable[[Plane], Flask]]:
    """Make the app of a plane (``web``, ``rack`` or ``none``); they are closed at the end."""
    from webapp import create_app
    from webapp.extensions import db

    made: list[Flask] = []

    def make(plane: Plane) -> Flask:
        app = create_app(settings, plane=plane)
        app.testing = True
        made.append(app)
        return app

    yield make
    for app in made:
        if "slipway.rack" in app.extensions:
            app.extensions["slipway.rack"].close()
        app.extensions["slipway.publication"].close()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def app(make_app: Callable[[Plane], Flask]) -> Flask:
    """The app that answers people and scripts, on a migrated database."""
    return make_app("web")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without JavaScript: keeps cookies, follows nothing by itself."""
    return app.test_client()


@pytest.fixture
def rack_client(make_app: Callable[[Plane], Flask]) -> FlaskClient:
    """A machine that fetches from the rack's port."""
    return make_app("rack").test_client()


@pytest.fixture
def region(make_app: Callable[[Plane], Flask]) -> Iterator[Flask]:
    """An app that answers nobody, with its context pushed: for services and the worker."""
    app = make_app("none")
    with app.app_context():
        yield app
