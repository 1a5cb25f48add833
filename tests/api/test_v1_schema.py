# SPDX-License-Identifier: Apache-2.0
"""schemathesis makes up requests from our own document: no fault, and only answers it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from tests.support import factories
from webapp.api.v1.callers import LOCAL
from webapp.api.v1.dispatch import API, Endpoint
from webapp.api.v1.table import ENDPOINTS
from webapp.extensions import db
from webapp.http import tus
from webapp.models import utcnow

NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
# A preview asks the address it is given, whatever that is.
CALLED = [endpoint for endpoint in ENDPOINTS if endpoint.name != "sources_preview"]


@schemathesis.serializer(tus.BYTES)
def _bytes(context: Any, value: Any) -> bytes:
    """Bytes as they are."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture
def local(app: Flask) -> Callable[..., Iterable[bytes]]:
    """The app as the command line on this machine calls it, with one of each thing in it."""
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow())
        factories.cache_entry(source, os="ubuntu", release="noble", arch="amd64")
        factories.selection(source)
        factories.boot_resource({"squashfs": b"x"}, release="jammy")
        factories.import_run(state="done")
        factories.user()
        db.session.remove()

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return app({**environ, LOCAL: True}, start_response)

    return call


class Current:
    """The app of the test that runs, for what is read from the document only once."""

    app: Any

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)


CURRENT = Current()


@cache
def operations() -> dict[str, Any]:
    """What the document promises of each operation, by its id."""
    schema = schemathesis.openapi.from_wsgi(f"{API}/openapi.json", CURRENT)
    found = [operation.ok() for operation in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", CALLED, ids=lambda endpoint: endpoint.name)
def test_no_request_brings_a_fault_or_an_answer_that_was_not_promised(
    local: Any, endpoint: Endpoint
) -> None:
    CURRENT.app = local
    operation = operations()[endpoint.name]
    strategies = [
        operation.as_strategy(generation_mode=mode)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if mode == GenerationMode.POSITIVE or endpoint.body or endpoint.query.model_fields
    ]

    @given(case=st.one_of(strategies))
    @settings(
        max_examples=12,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any) -> None:
        case.call_and_validate(checks=CHECKS.get_by_names(list(NAMES)))

    call()
