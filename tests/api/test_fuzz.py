# SPDX-License-Identifier: Apache-2.0
"""Anything at all is sent to ``/MAAS/api/2.0/``: never a fault of ours, never a hang, no leak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.api.clients import BOUNDARY, Request, Script
from tests.api.clients import multipart as base64_parts
from tests.support import factories
from webapp.api.v2.describe import DESCRIBE
from webapp.api.v2.dispatch import Resource
from webapp.api.v2.table import RESOURCES
from webapp.extensions import db
from webapp.models import BootSource, Role

FUZZ = settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
OPS = sorted({a.op for r in RESOURCES for a in r.actions} | {"nonsense", "is-importing", "__all__"})
NAMES = [
    "name", "architecture", "size", "sha256", "filetype", "title", "base_image", "content", "url",
    "keyring_filename", "keyring_data", "os", "release", "arches", "subarches", "labels", "type",
    "value", "op", "consumer_key", "token_key", "",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        ["", "*", "amd64", "amd64/generic", "ubuntu", "noble", "http://[::1", "http://127.0.0.1:9/",
         "9" * 40, "-1", "1e9", "null", "ab" * 32, "../../etc/passwd", "\0", "\r\nX: y", "true",
         "http_proxy", "custom/x", "a/b/c", "ddgz", "\ud800"]
    ),
    st.text(max_size=200),
)  # fmt: skip
IDS = st.one_of(st.sampled_from(["1", "0", "2", "99999999999999999999", "-1", "x", "%00"]),
                st.text(max_size=12))  # fmt: skip
KINDS = st.sampled_from(
    [
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data",
        f'multipart/form-data; boundary="{BOUNDARY}"',
        "multipart/form-data; boundary=",
        "text/plain",
        "application/octet-stream",
        "",
        "\u00e4/\u00f6",
    ]
)


@st.composite
def bodies(draw: Any) -> tuple[dict[str, str], bytes]:
    """A good multipart body of any values, a damaged one, or any bytes."""
    values = draw(st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=6))
    clean = {k: v.encode("utf-8", "replace").decode() for k, v in values.items() if k}
    headers, body = base64_parts(clean)
    if draw(st.booleans()):
        return headers, body
    cut = draw(st.integers(0, len(body)))
    garbage = draw(st.binary(max_size=400))
    return {"Content-Type": draw(KINDS)}, draw(st.sampled_from([garbage, body[:cut] + garbage]))


@st.composite
def requests(draw: Any) -> Request:
    """Any method on any address of ours, with any body."""
    resource: Resource = draw(st.sampled_from((*RESOURCES, DESCRIBE)))
    path = resource.path
    for name in resource.params:
        text = draw(IDS).encode("utf-8", "replace").decode().replace("/", "")
        path = path.replace(f"{{{name}}}", text.replace("?", "").replace("#", "") or "1")
    if draw(st.booleans()):
        path += f"?op={draw(st.sampled_from(OPS))}"
    headers, body = draw(bodies())
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]))
    return Request(method, path, {k: v for k, v in headers.items() if v.isascii()}, body)


@pytest.fixture
def filled(app: Flask) -> Flask:
    """One of each thing."""
    with app.app_context():
        selection = factories.selection()
        factories.cache_entry(selection.source, os="ubuntu", release="noble")
        factories.boot_resource({"squashfs": b"x"}, release="jammy")
        db.session.remove()
    return app


def send(script: Script, request: Request) -> Any:
    headers = {**request.headers}
    if script.key:
        headers["Authorization"] = script.dialect.authorization(script.key)
    kind = headers.pop("Content-Type", None)
    headers.pop("Content-Length", None)
    return script.client.open(
        request.target, method=request.method, headers=headers, data=request.body, content_type=kind
    )


@pytest.mark.slow
def test_nothing_that_is_sent_brings_a_fault(filled: Flask, new_key: Callable[..., str]) -> None:
    script = Script(filled.test_client(), new_key())

    @FUZZ
    @given(request=requests())
    def run(request: Request) -> None:
        answer = send(script, request)
        assert answer.status_code < 500, (request, answer.text)
        assert answer.status_code not in range(300, 400)

    run()


@pytest.mark.slow
def test_nothing_that_is_sent_opens_what_a_role_may_not(
    filled: Flask, new_key: Callable[..., str]
) -> None:
    stranger = Script(filled.test_client())
    viewer = Script(filled.test_client(), new_key(Role.VIEWER))

    @FUZZ
    @given(request=requests())
    def run(request: Request) -> None:
        for script in (stranger, viewer):
            answer = send(script, request)
            assert answer.status_code < 500, (request, answer.text)
            if script is viewer:
                continue
            assert "example.test" not in answer.text or "boot-sources" not in request.target
            if answer.status_code < 300:
                assert "/describe/" in request.target or "/version/" in request.target

    run()
    with filled.app_context():
        assert len(db.session.scalars(select(BootSource)).all()) == 1, "nobody changed anything"
