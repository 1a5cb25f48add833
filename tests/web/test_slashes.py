# SPDX-License-Identifier: Apache-2.0
"""A run of slashes in a path is one, on both ports."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient


@pytest.mark.parametrize("path", ["/sign-in", "//sign-in", "///sign-in//", "/sign-in///"])
def test_pages_take_a_run_of_slashes_for_one(client: FlaskClient, path: str) -> None:
    plain = client.get("/sign-in")
    answer = client.get("/", environ_overrides={"PATH_INFO": path})
    assert answer.status_code == plain.status_code


@pytest.mark.parametrize("path", ["//static//app.css", "/static///app.css"])
def test_static_files_do_so_as_well(client: FlaskClient, path: str) -> None:
    answer = client.get("/", environ_overrides={"PATH_INFO": path})
    assert answer.status_code == 200
    answer.close()


@pytest.mark.parametrize("path", ["//health", "/health//", "///api//v1/status"])
def test_what_needs_a_login_still_does(client: FlaskClient, path: str) -> None:
    merged = path.replace("///", "/").replace("//", "/")
    answer = client.get("/", environ_overrides={"PATH_INFO": path})
    assert answer.status_code == client.get(merged).status_code
