# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/images/…``: pin, roll back, lock, keep and compare; REST 2.0 keeps to the locks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.api.clients import Script
from tests.api.v1.typed import Typed
from tests.support import factories
from webapp.extensions import db
from webapp.models import Role

ONE = "images/ubuntu/noble/amd64"
OLD, NEW = "20260105", "20260201"


@pytest.fixture
def noble(app: Flask) -> list[int]:
    """Noble with two kernels, the second of which has only the newer version."""
    with app.app_context():
        source = factories.boot_source()
        ids = []
        for subarch, names in (("ga-24.04", (OLD, NEW)), ("hwe-24.04", (NEW,))):
            made = factories.boot_resource(
                subarch=subarch, source_id=source.id, is_current=False, answers_to=[subarch]
            )
            db.session.delete(made.sets[0])
            db.session.commit()
            sets = [factories.resource_set(made, version=version) for version in names]
            made.current_set_id = sets[-1].id
            ids.append(made.id)
        db.session.commit()
        db.session.remove()
    return ids


def test_a_version_is_pinned_rolled_back_and_let_go(program: Typed, noble: list[int]) -> None:
    listed = program.get(f"{ONE}/versions")
    assert [one["version"] for one in listed["versions"]] == [NEW, OLD]
    assert listed["versions"][0]["current"] == ["ga-24.04", "hwe-24.04"]
    assert listed["versions"][1]["kept_because"] == "one of the newest 2"
    done = program.call("PUT", f"{ONE}/current", {}).json
    assert done == {
        "version": OLD,
        "is_pinned": True,
        "before": {"amd64/ga-24.04": NEW},
        "stayed": {"amd64/hwe-24.04": NEW},
        "coming": [],
    }
    [image] = program.get("images")["items"]
    assert (image["is_pinned"], image["is_locked"]) == (True, False)
    one = program.get(f"resources/{noble[0]}")
    assert (one["version"], one["is_pinned"]) == (OLD, True)
    assert program.call("DELETE", f"{ONE}/pin").status_code == 204
    assert program.get(f"{ONE}/versions")["is_pinned"] is False
    body = {"version": NEW, "kernel": "ga-24.04"}
    assert program.call("PUT", f"{ONE}/pin", body).json["is_pinned"] is True
    assert program.get(f"{ONE}/versions?kernel=hwe-24.04")["is_pinned"] is False


def test_locks_hold_against_both_apis(program: Typed, admin: Script, noble: list[int]) -> None:
    assert program.call("PUT", f"{ONE}/lock", {"version": OLD}).json["versions"][1]["is_locked"]
    refused = program.call("DELETE", f"resources/{noble[0]}/versions/{OLD}")
    assert (refused.status_code, refused.json["code"]) == (409, "locked")
    refused = program.call("DELETE", f"resources/{noble[0]}")
    assert (refused.status_code, refused.json["code"]) == (409, "locked")
    assert OLD in refused.json["detail"]
    program.call("PUT", f"{ONE}/lock", {})
    path = f"boot-resources/{noble[1]}/"
    shown = admin.get(path).json
    assert shown is not None
    assert list(shown["sets"]) == [NEW]
    assert not {"is_pinned", "is_locked"} & shown.keys()
    refused = admin.delete(path)
    assert (refused.status_code, "This image is locked." in refused.text) == (409, True)
    program.call("DELETE", f"{ONE}/lock")
    program.call("DELETE", f"{ONE}/lock?version={OLD}")
    assert admin.delete(path).status_code == 204
    assert program.call("DELETE", f"resources/{noble[0]}/versions/{OLD}").status_code == 204


def test_an_image_keeps_its_own_numbers(program: Typed, noble: list[int]) -> None:
    kept = program.call("PUT", f"{ONE}/keeping", {"keep_versions": 4, "keep_days": 30}).json
    assert (kept["keep_versions"], kept["keep_days"]) == (4, 30)
    wrong = program.call("PUT", f"{ONE}/keeping", {"keep_versions": 0})
    assert (wrong.status_code, list(wrong.json["errors"])) == (422, ["keep_versions"])
    assert program.call("PUT", f"{ONE}/keeping", {}).json["keep_versions"] is None


def test_versions_are_compared(program: Typed, noble: list[int]) -> None:
    found = program.get(f"{ONE}/difference?kernel=ga-24.04")
    assert (found["before"], found["after"], found["packages"]) == (OLD, NEW, None)
    assert found["unknown"] == [OLD, NEW]
    assert {one["name"] for one in found["files"]} == {"boot-kernel", "boot-initrd", "squashfs"}
    assert program.call("GET", f"{ONE}/difference?before=1").status_code == 404


def test_what_is_not_there_or_not_allowed_is_refused(
    program: Typed, noble: list[int], token_of: Callable[..., Typed]
) -> None:
    missing = program.call("PUT", f"{ONE}/current", {"version": "1"})
    assert (missing.status_code, NEW in missing.json["next_step"]) == (404, True)
    assert program.call("GET", "images/ubuntu/noble/vax/versions").status_code == 404
    viewer, operator = token_of(Role.VIEWER), token_of(Role.OPERATOR)
    for method, path in (("PUT", "current"), ("PUT", "pin"), ("DELETE", "pin"), ("PUT", "lock")):
        body = {} if method == "PUT" else None
        assert viewer.call(method, f"{ONE}/{path}", body).status_code == 403
    assert operator.call("PUT", f"{ONE}/current", {}).status_code == 200
    assert viewer.get(f"{ONE}/versions")["is_pinned"] is True


def test_a_version_that_is_only_offered_is_pinned_and_comes_with_the_next_import(
    app: Flask, program: Typed, noble: list[int]
) -> None:
    with app.app_context():
        factories.cache_entry(version="20260301", versions={"20260301": "", OLD: ""})
        db.session.remove()
    assert program.get(f"{ONE}/versions")["offered"] == ["20260301"]
    done = program.call("PUT", f"{ONE}/pin", {"version": "20260301"}).json
    assert (done["is_pinned"], done["coming"]) == (True, ["amd64/ga-24.04"])
    assert done["stayed"] == {"amd64/hwe-24.04": NEW}
    [image] = program.get("images")["items"]
    assert (image["is_pinned"], image["pinned_version"]) == (True, "20260301")
    assert program.call("DELETE", f"{ONE}/pin").status_code == 204
    assert program.get("images")["items"][0]["pinned_version"] == ""
    refused = program.call("PUT", f"{ONE}/pin", {"version": "20260401"})
    assert refused.status_code == 404
