# SPDX-License-Identifier: Apache-2.0
"""A rack elsewhere, as its program calls the region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.api.v1.typed import check
from webapp.api.v1.dispatch import API
from webapp.services.racks import tokens


class RemoteRack:
    """Calls the region with its credential."""

    def __init__(self, app: Flask, enrolled: dict[str, Any]) -> None:
        self._app, self.id, self.credential = app, enrolled["id"], enrolled["credential"]
        self.enrolled = enrolled

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> TestResponse:
        answer = self._app.test_client().open(
            f"{API}/racks/self/{path}",
            method=method,
            json=body,
            query_string=query,
            headers={"Authorization": f"Bearer {self.credential}"},
        )
        check(answer)
        return answer

    def next(self, after: int = 0, wait: float = 0) -> Any:
        answer = self.call("GET", "next", after=after, wait=wait)
        assert answer.status_code == 200, answer.text
        return answer.json

    def report(self, **body: Any) -> Any:
        answer = self.call("POST", "report", body)
        assert answer.status_code == 200, answer.text
        return answer.json

    def follow(self) -> Any:
        """Take the state that is offered, and report it as held."""
        found = self.next()
        self.report(held_state=found["state"], held_serial=found["serial"])
        return found


def ask(
    app: Flask,
    token: str,
    name: str = "rack-1",
    *,
    environ: Mapping[str, str] | None = None,
    **body: Any,
) -> TestResponse:
    """Ask to be enrolled. environ: of WSGI, e.g. the address that the rack calls from."""
    known = {"token": token, "name": name, "url": "http://10.0.0.5:5248", "version": "0.1.0"}
    client = app.test_client()
    answer = client.post(f"{API}/racks/enrol", json=known | body, environ_base=environ or {})
    check(answer)
    return answer


def enrol(app: Flask, name: str = "rack-1") -> RemoteRack:
    """Enrol a rack with a token of its own."""
    with app.app_context():
        token = tokens.create("ada")[1]
    answer = ask(app, token, name)
    assert answer.status_code == 201, answer.text
    return RemoteRack(app, answer.json)
