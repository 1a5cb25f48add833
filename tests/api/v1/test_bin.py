# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/bin``: what was removed, by whatever API, is restored or given up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.api.clients import Script
from tests.api.v1.typed import Typed
from tests.support import factories
from webapp.extensions import db
from webapp.models import Role

ONE = "bin/ubuntu/noble/amd64"


@pytest.fixture
def noble(app: Flask) -> int:
    with app.app_context():
        source = factories.boot_source()
        made = factories.boot_resource(
            {"boot-kernel": b"kernel", "squashfs": b"root"}, source_id=source.id
        ).id
        db.session.remove()
    return made


def test_a_deleted_image_is_in_the_bin_and_is_restored_or_given_up(
    program: Typed, noble: int, token_of: Callable[..., Typed]
) -> None:
    assert program.call("DELETE", f"resources/{noble}").status_code == 204
    assert program.get("images")["items"] == program.get("resources")["items"] == []
    found = program.get("bin")
    [one] = found["images"]
    assert (one["name"], one["arch"], one["why"]) == ("ubuntu/noble", "amd64", "deleted on request")
    assert found["bytes"] == one["bytes"] == 10
    assert 86300 < one["left_s"] <= 86400
    assert one["removed_by"]
    assert token_of(Role.VIEWER).get("bin")["images"][0]["removed_by"] == ""
    assert token_of(Role.VIEWER).call("POST", f"{ONE}/restore", {}).status_code == 403
    assert program.call("POST", f"{ONE}/restore", {"kernel": "no"}).status_code == 404
    done = program.call("POST", f"{ONE}/restore", {}).json
    assert (done["name"], done["kernels"], done["is_selected"]) == (
        "ubuntu/noble",
        ["ga-24.04"],
        False,
    )
    assert program.get(f"resources/{noble}")["version"]
    assert program.call("POST", f"{ONE}/restore", {}).status_code == 404
    program.call("DELETE", f"resources/{noble}")
    assert token_of(Role.OPERATOR).call("POST", "bin/empty").status_code == 403
    assert program.call("POST", f"{ONE}/discard").json == {"images": 1, "bytes": 10}
    assert program.call("POST", "bin/empty").json == {"images": 0, "bytes": 0}
    assert program.get("bin") == {"bytes": 0, "images": []}


def test_rest_2_0_deletes_into_the_bin_as_well(program: Typed, noble: int, admin: Script) -> None:
    path = f"boot-resources/{noble}/"
    assert admin.delete(path).status_code == 204
    assert admin.get("boot-resources/").json == []
    assert admin.get(path).status_code == 404
    assert len(program.get("bin")["images"]) == 1
