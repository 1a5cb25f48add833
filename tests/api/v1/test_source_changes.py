# SPDX-License-Identifier: Apache-2.0
"""``/bindings``, ``/sources/<id>/preview`` and ``/source-changes``."""

from __future__ import annotations

import base64

import pytest
from flask import Flask

from tests.api.v1.typed import Typed
from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support import factories
from webapp.extensions import db
from webapp.services.sources import sources

BINDING = "bindings/ubuntu/noble/amd64"


@pytest.fixture
def ids(app: Flask) -> tuple[int, int]:
    """Two sources that offer noble; it's selected at both, and the first wins."""
    with app.app_context():
        now = factories.utcnow()
        found = []
        for name, priority in (("high", 5), ("low", 1)):
            row = factories.boot_source(
                url=f"http://{name}/",
                name=name,
                priority=priority,
                checked_at=now,
                refreshed_at=now,
                is_unsigned=True,
                keyring_filename="",
            )
            factories.cache_entry(row, version=str(priority))
            factories.selection(row)
            found.append(row.id)
        return found[0], found[1]


def test_a_change_of_a_source_is_previewed_made_and_undone(
    program: Typed, ids: tuple[int, int]
) -> None:
    low = f"sources/{ids[1]}"
    shown = program.call("POST", f"{low}/preview", {"priority": 9}).json
    (move,) = shown["moves"]
    assert (move["source_before"], move["source"], shown["is_done"]) == ("high", "low", False)
    assert program.get(low)["priority"] == 1
    assert program.call("PATCH", low, {"priority": 9}).json["priority"] == 9
    change = program.get("source-changes/last")["change"]
    assert change["summary"] == "low: priority 1 to 9"
    body = {"id": change["id"], "is_preview": True}
    assert program.call("POST", "source-changes/undo", body).json["moves"][0]["source"] == "high"
    assert program.get(low)["priority"] == 9
    assert program.call("POST", "source-changes/undo", {"id": change["id"]}).json["is_done"]
    assert program.get(low)["priority"] == 1
    assert program.call("POST", "source-changes/undo", {"id": change["id"]}).status_code == 409
    assert program.get("source-changes/last") == {"change": None}


@pytest.mark.parametrize("more", [{}, {"name": "x"}, {"url": "http://elsewhere.invalid/"}])
def test_disabling_is_previewed_as_on_the_page_whatever_else_changes(
    program: Typed, ids: tuple[int, int], more: dict[str, str]
) -> None:
    path = f"sources/{ids[0]}/preview"
    shown = program.call("POST", path, {"is_enabled": False, **more}).json
    assert [(one["kind"], one["source"]) for one in shown["moves"]] == [("move", "low")]


def test_removal_is_previewed(program: Typed, ids: tuple[int, int]) -> None:
    shown = program.call("POST", f"sources/{ids[0]}/preview", {"is_removed": True}).json
    assert [(one["kind"], one["source"]) for one in shown["moves"]] == [("move", "low")]
    assert program.get(f"sources/{ids[0]}")["name"] == "high"


def test_an_image_is_bound_and_unbound(program: Typed, ids: tuple[int, int]) -> None:
    body = {"source_id": ids[1], "is_preview": True}
    assert program.call("PUT", BINDING, body).json["count"] == 1
    assert program.get("bindings")["items"] == []
    assert program.call("PUT", BINDING, {"source_id": ids[1]}).json["is_done"]
    (one,) = program.get("bindings")["items"]
    assert (one["source"], one["trouble"]) == ("low", "")
    (image,) = program.get("offers")["items"]
    assert image["bound_to"] == "low"
    (planned,) = program.get("plan")["fetch"]
    assert planned["why"].endswith("; bound to low")
    assert program.call("PUT", BINDING, {"source_id": None}).json["is_done"]
    assert program.call("PUT", BINDING, {"source_id": None}).status_code == 404
    wrong = program.call("PUT", "bindings/ubuntu/focal/amd64", {"source_id": ids[1]})
    assert wrong.json["errors"]["source_id"] == ["low doesn't offer ubuntu/focal amd64."]


def test_what_a_source_may_offer_that_is_still_being_read_is_early_and_not_wrong(
    app: Flask, program: Typed, ids: tuple[int, int]
) -> None:
    focal = {"os": "ubuntu", "release": "focal", "arch": "amd64"}
    with app.app_context():
        sources.switch(sources.get(ids[0]), True, "ada")  # it's read again
    calls = (
        ("POST", "catalogue", {"add": [focal]}),
        ("PUT", "bindings/ubuntu/focal/amd64", {"source_id": ids[0]}),
    )
    for method, path, body in calls:
        answer = program.call(method, path, body)
        assert (answer.status_code, answer.json["code"]) == (503, "source-unread")
        assert answer.headers["Retry-After"] == "5"
    with app.app_context():
        sources.get(ids[0]).checked_at = factories.utcnow()
        db.session.commit()
    for method, path, body in calls:
        assert program.call(method, path, body).status_code == 422


def test_a_preview_of_a_filtered_mirror_warns_with_count_and_names(
    program: Typed, shared_mirror: Mirror
) -> None:
    gone = shared_mirror.newest(release="jammy", arch="amd64", ftype="boot-kernel")[0].path
    keyring = base64.b64encode(shared_mirror.keyring.read_bytes()).decode()
    with MirrorServer(shared_mirror, [{"path": f"{gone}$", "status": 404}]) as server:
        body = {"url": server.source_url, "keyring": keyring}
        (warning,) = program.call("POST", "sources/preview", body).json["warnings"]
    assert (warning["code"], warning["where"]) == ("stream-incomplete", gone)
    assert "checked, 1 missing, 0 of another size" in warning["what"]
