# SPDX-License-Identifier: Apache-2.0
"""Answers of ``/api/v1``, checked against its own document."""

from __future__ import annotations

import json
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.api.v1.dispatch import API
from webapp.services.accounts.rights import Scope

ALL = tuple(Scope)


class Typed:
    """A program with a bearer token; looks at what holds for every answer."""

    def __init__(self, client: FlaskClient, token: str = "") -> None:
        self.client, self.token = client, token

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body)
        answer = self.client.open(
            path if path.startswith("/") else f"{API}/{path}",
            method=method,
            headers=sent,
            data=data,
            content_type="application/json" if data is not None else None,
        )
        check(answer)
        return answer

    def get(self, path: str, **headers: str) -> Any:
        answer = self.call("GET", path, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json


def check(answer: TestResponse) -> None:
    """No cookie, no redirect, no fault of ours; a problem is one in form."""
    assert "Set-Cookie" not in answer.headers
    assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
    assert answer.status_code not in range(300, 304)
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert answer.content_type == "application/problem+json"
        problem = json.loads(answer.data)
        assert problem["status"] == answer.status_code
        assert problem["title"]
        assert problem["code"]
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Slipway"'
