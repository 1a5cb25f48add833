# SPDX-License-Identifier: Apache-2.0
"""The fixtures themselves: databases are fresh, the network ends at this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask import Flask
from sqlalchemy import create_engine, inspect, select

from tests.support import factories
from tests.support.databases import Queries
from webapp.extensions import db
from webapp.models import BootSource


@pytest.mark.both_databases
@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_an_empty_migrated_database(
    region: Flask, engine_name: str, turn: str
) -> None:
    dialect = {"sqlite": "sqlite", "postgres": "postgresql"}[engine_name]
    assert db.engine.dialect.name == dialect
    assert db.session.scalars(select(BootSource)).all() == []
    factories.boot_source(url=f"http://{turn}.example.test/")
    assert len(db.session.scalars(select(BootSource)).all()) == 1


@pytest.mark.both_databases
def test_factories_fit_the_tables(region: Flask) -> None:
    source = factories.boot_source()
    factories.cache_entry(source)
    factories.selection(source)
    factories.user()
    factories.file_transfer(factories.import_run())
    resource = factories.boot_resource()
    assert resource.current_set is not None
    names = {file.filename for file in resource.current_set.files}
    assert names == {"boot-kernel", "boot-initrd", "squashfs"}


@pytest.mark.both_databases
def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


@pytest.mark.settings(store="database", web_threads=3)
def test_a_marker_sets_settings(region: Flask) -> None:
    settings = region.extensions["slipway.settings"]
    assert (settings.store, settings.web_threads) == ("database", 3)


def test_queries_are_counted(
    region: Flask, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    with count_queries() as queries:
        db.session.scalars(select(BootSource)).all()
        db.session.scalars(select(BootSource)).all()
    db.session.scalars(select(BootSource)).all()
    assert len(queries) == 2, queries


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "169.254.169.254"])
def test_a_connection_to_another_machine_fails_the_test(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(pytest.fail.Exception, match="connect"):
        sock.connect((address, 80))


def test_names_of_other_machines_are_not_resolved() -> None:
    with pytest.raises(socket.gaierror):
        socket.create_connection(("mirror.example.test", 80))


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
