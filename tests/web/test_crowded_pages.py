# SPDX-License-Identifier: Apache-2.0
"""However many rows there are, a page or a list takes the same number of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest
from flask import Flask

from tests.support import crowded, databases
from tests.support.crowd import Crowd
from tests.support.crowded import Ask
from tests.support.databases import Databases, Queries

CROWDS = {"few": Crowd(3, 3, 3, 3, 3), "many": Crowd(300, 300, 300, 300, 300)}
# Forms, files and single things, which no crowd makes longer.
OTHERS = {
    *("/images/rules/new", "/images/bin/empty", "/imports/outside", "/help/api", "/setup"),
    *("/sources/offers", "/sources/new", "/sources/bind", "/sources/undo"),
    *("/events/export.csv", "/events/export.json", "/local-mirror/slipway-ca.crt"),
    *("/sign-in", "/sign-in/code", "/account/two-factor", "/account/two-factor/qr.svg"),
    *("/users/add", "/vmware/network", "/vmware/storage"),
    *("v1 settings", "v1 source-changes/last", "v1 bindings", "v1 imports/current", "v1 me"),
    *("v1 mirror/key", "v1 mirror/certificate", "v1 racks/self/next", "v1 openapi.json", "v1 "),
    *("v2 account/", "v2 version/", "v2 maas/", "v2 describe/"),
}


@pytest.fixture(scope="module")
def ways(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Ask]]]:
    """How to ask a region with a few rows, and one with many."""
    engine: Databases = request.getfixturevalue(f"{databases.default_engine()}_databases")
    with ExitStack() as stack:
        found = {}
        for name, many in CROWDS.items():
            url = engine.migrated()
            stack.callback(engine.drop, url)
            folder = tmp_path_factory.mktemp(name)
            found[name] = crowded.asking(stack.enter_context(crowded.region(url, folder, many)))
        yield found


@pytest.mark.parametrize("name", crowded.names())
def test_the_queries_are_the_same_for_many_rows(
    ways: dict[str, dict[str, Ask]],
    name: str,
    count_queries: Callable[[], AbstractContextManager[Queries]],
) -> None:
    taken = {}
    for crowd, asking in ways.items():
        asking[name]()  # what is read once a process
        with count_queries() as queries:
            answer = asking[name]()
        assert answer.status_code == 200
        taken[crowd] = queries
    assert len(taken["many"]) == len(taken["few"]), taken["many"]


def test_every_list_is_among_them(app: Flask) -> None:
    paths = {rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    found = {
        path.replace("/api/v1/", "v1 ").replace("/MAAS/api/2.0/", "v2 ")
        for path in paths
        if "<" not in path and not path.startswith("/MAAS/accounts/")
    }
    known = {name.partition("?")[0] for name in crowded.names()}
    assert found - known - OTHERS == set()
    assert OTHERS - found == set()
