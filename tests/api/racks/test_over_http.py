# SPDX-License-Identifier: Apache-2.0
"""Racks that wait, at the server as it really runs."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import live
from tests.support.databases import Databases
from tests.web.test_slow_clients import LiveWeb
from webapp.extensions import db
from webapp.services.mirror import keys
from webapp.services.racks import enrolling, tokens


@pytest.fixture
def region(tmp_path: Path, sqlite_databases: Databases) -> Iterator[LiveWeb]:
    """The pages' process with four threads."""
    url = sqlite_databases.migrated()
    with LiveWeb(tmp_path, url, web_workers=1, web_threads=4) as found:
        yield found


def ask(region: LiveWeb, credential: str, after: int, wait: int) -> Any:
    with closing(http.client.HTTPConnection(live.HOST, region.port, timeout=60)) as connection:
        named = {"Authorization": f"Bearer {credential}"}
        path = f"/api/v1/racks/self/next?after={after}&wait={wait}"
        connection.request("GET", path, headers=named)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else answer.status


def test_pages_answer_while_racks_wait_and_a_stop_ends_the_wait(region: LiveWeb) -> None:
    with region.app.app_context():
        keys.ensure()
        token = tokens.create("ada", uses=10)[1]
        racks = [
            enrolling.enrol(token, f"rack-{n}", "", "", address="127.0.0.1").credential
            for n in range(10)
        ]
        db.session.remove()
    state = ask(region, racks[0], 0, 0)["state"]
    with ThreadPoolExecutor(len(racks)) as pool:
        asked = [pool.submit(ask, region, credential, state, 25) for credential in racks]
        live.wait_until(lambda: sum(one.done() for one in asked) == 8, "two wait, eight can't")
        assert {one.result()["again_s"] for one in asked if one.done()} == {2}
        assert live.answers(f"{region.url}/sign-in")
        assert region.stop() == 0
        assert all(one.result()["state"] == state for one in asked), "they were answered, too"
