# SPDX-License-Identifier: Apache-2.0
"""Reading ``boot-resources/``, and the import (rules: rest-boot-resources, rest-import)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.clients import API, Request, Script, oauth
from tests.support import factories
from tests.support.databases import Queries
from webapp.extensions import db
from webapp.models import (
    BootResource,
    BootSourceSelection,
    Event,
    ImportRun,
    ResourceSet,
    RunState,
    utcnow,
)

FILES = {"boot-kernel": b"kernel", "boot-initrd": b"initrd!", "squashfs": b"root file system"}


@pytest.fixture
def image_id(app: Flask) -> int:
    with app.app_context():
        found = factories.boot_resource(FILES).id
        db.session.remove()
    return found


def test_what_is_stored_is_listed_without_sets(any_client: Script, image_id: int) -> None:
    answer = any_client.get("boot-resources/")
    assert answer.status == "200 OK"
    assert answer.content_type == "application/json; charset=utf-8"
    assert answer.json == [
        {
            "id": image_id,
            "type": "Synced",
            "name": "ubuntu/noble",
            "architecture": "amd64/ga-24.04",
            "resource_uri": f"{API}boot-resources/{image_id}/",
            "last_deployed": None,
            "subarches": "generic,ga-24.04",
            "title": "24.04 LTS",
            "base_image": "",
        }
    ]


def test_the_list_is_ordered_by_type_name_and_architecture(app: Flask, viewer: Script) -> None:
    with app.app_context():
        factories.boot_resource(rtype="uploaded", name="a", os="custom", release="a")
        factories.boot_resource(release="noble", arch="arm64")
        factories.boot_resource(release="noble", subarch="hwe-24.04")
        factories.boot_resource(release="jammy")
        factories.boot_resource(release="noble")
        db.session.remove()
    rows = viewer.get("boot-resources/").json
    assert [(row["type"], row["name"], row["architecture"]) for row in rows] == [
        ("Synced", "ubuntu/jammy", "amd64/ga-24.04"),
        ("Synced", "ubuntu/noble", "amd64/ga-24.04"),
        ("Synced", "ubuntu/noble", "amd64/hwe-24.04"),
        ("Synced", "ubuntu/noble", "arm64/ga-24.04"),
        ("Uploaded", "a", "amd64/ga-24.04"),
    ]


@pytest.mark.parametrize("name", ["type", "Type"])
def test_the_list_is_narrowed_by_type(app: Flask, any_client: Script, name: str) -> None:
    with app.app_context():
        factories.boot_resource()
        factories.boot_resource(rtype="uploaded", name="mine", os="custom", release="mine")
        db.session.remove()

    def names(kind: str) -> list[str]:
        return [row["name"] for row in any_client.get("boot-resources/", **{name: kind}).json]

    assert names("synced") == ["ubuntu/noble"]
    assert names("uploaded") == ["mine"]
    assert names("generated") == []
    assert names("all") == names("") == ["ubuntu/noble", "mine"]


def test_an_unknown_type_is_refused_with_the_known_ones(any_client: Script) -> None:
    answer = any_client.get("boot-resources/", type="x")
    assert answer.status == "400 Bad Request"
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.text == (
        "'x' is not a valid boot resource type. "
        "Available types: ['all', 'generated', 'synced', 'uploaded']"
    )


def test_an_image_is_read_with_its_sets_and_files(any_client: Script, image_id: int) -> None:
    answer = any_client.get(f"boot-resources/{image_id}/")
    assert answer.status == "200 OK"
    document = answer.json
    assert list(document["sets"]) == ["20260105"]
    (version, stored) = document["sets"].popitem()
    assert document["name"] == "ubuntu/noble"
    assert version == stored["version"]
    assert (stored["label"], stored["complete"], stored["size"]) == ("stable", True, 29)
    assert stored["files"] == {
        name: {
            "filename": name,
            "filetype": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "complete": True,
        }
        for name, content in FILES.items()
    }
    assert "progress" not in answer.text
    assert "upload_uri" not in answer.text


def test_a_version_that_was_replaced_is_not_shown(
    app: Flask, viewer: Script, image_id: int
) -> None:
    with app.app_context():
        resource = db.session.get_one(BootResource, image_id)
        old = db.session.get_one(ResourceSet, resource.current_set_id)
        new = factories.resource_set(resource, version="20260106")
        old.retired_at, resource.current_set_id = utcnow(), new.id
        db.session.commit()
        db.session.remove()
    assert list(viewer.get(f"boot-resources/{image_id}/").json["sets"]) == ["20260106"]


def test_an_image_that_was_removed_is_gone_at_once(
    app: Flask, any_client: Script, image_id: int
) -> None:
    with app.app_context():
        db.session.get_one(BootResource, image_id).current_set_id = None
        db.session.commit()
        db.session.remove()
    assert any_client.get("boot-resources/").json == []
    answer = any_client.get(f"boot-resources/{image_id}/")
    assert (answer.status, answer.text) == ("404 Not Found", "Not Found")


def test_an_image_is_deleted_at_once_and_its_selection_stays(
    app: Flask, any_client: Script, image_id: int
) -> None:
    with app.app_context():
        factories.selection()
        other = factories.boot_resource(arch="arm64").id
        db.session.remove()
    answer = any_client.delete(f"boot-resources/{image_id}/")
    assert (answer.status, answer.content_type, answer.data) == (
        "204 No Content",
        "text/plain",
        b"",
    )
    again = any_client.delete(f"boot-resources/{image_id}/")
    assert (again.status, again.text) == ("404 Not Found", "Not Found")
    assert [row["id"] for row in any_client.get("boot-resources/").json] == [other]
    with app.app_context():
        assert db.session.scalar(select(BootSourceSelection.release)) == "noble"
        event = db.session.scalars(select(Event).where(Event.kind == "image.removed")).one()
        assert event.actor


def test_only_an_administrator_deletes_an_image(
    operator: Script, viewer: Script, stranger: Script, image_id: int
) -> None:
    statuses = [
        script.delete(f"boot-resources/{image_id}/").status_code
        for script in (operator, viewer, stranger)
    ]
    assert statuses == [403, 403, 401]
    assert len(viewer.get("boot-resources/").json) == 1


def test_an_image_that_never_was_is_not_found(any_client: Script) -> None:
    for number in ("1", "2147483647", "2147483648", "9" * 50, "-1", "x"):
        for method in ("GET", "DELETE"):
            answer = any_client.call(method, f"boot-resources/{number}/", "", {})
            assert (answer.status, answer.text) == ("404 Not Found", "Not Found")


def test_the_list_takes_the_same_queries_however_long_it_is(
    app: Flask, viewer: Script, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    counts = []
    for batch in range(2):
        with app.app_context():
            for number in range(10):
                factories.boot_resource(release=f"r{batch}-{number}")
            db.session.remove()
        viewer.get("boot-resources/")  # marks the key as used, now and then
        with count_queries() as queries:
            assert len(viewer.get("boot-resources/").json) == 10 * (batch + 1)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 2


# -- the import


def runs_of(app: Flask) -> list[tuple[str, str]]:
    with app.app_context():
        return [
            (run.state, run.trigger)
            for run in db.session.scalars(select(ImportRun).order_by(ImportRun.id))
        ]


@pytest.mark.parametrize("op", ["import", "Import"])
def test_an_import_is_started(app: Flask, any_client: Script, op: str) -> None:
    answer = any_client.post("boot-resources/", op=op)
    if op != "import":
        assert answer.status == "400 Bad Request"
        assert runs_of(app) == []
        return
    assert answer.status == "200 OK"
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.text == "Import of boot resources started"
    assert runs_of(app) == [("queued", "manual")]
    again = any_client.post("boot-resources/", op=op)
    assert again.text == answer.text
    assert runs_of(app) == [("queued", "manual")]


def test_whether_an_import_runs_is_a_json_boolean(
    app: Flask, any_client: Script, viewer: Script
) -> None:
    def is_importing() -> bool:
        answer = Script(viewer.client, viewer.key, any_client.dialect).get(
            "boot-resources/", op="is_importing"
        )
        assert answer.status == "200 OK"
        assert answer.content_type == "application/json; charset=utf-8"
        assert answer.text in ("true", "false")
        return bool(answer.json)

    assert is_importing() is False
    any_client.post("boot-resources/", op="import")
    assert is_importing() is True
    any_client.post("boot-resources/", op="stop_import")
    assert is_importing() is False


def test_an_import_whose_worker_died_is_not_running(app: Flask, viewer: Script) -> None:
    with app.app_context():
        factories.import_run(state=RunState.RUNNING, finished_at=None, lease_until=utcnow())
        db.session.remove()
    assert viewer.get("boot-resources/", op="is_importing").json is False


def test_an_import_is_stopped(app: Flask, any_client: Script) -> None:
    any_client.post("boot-resources/", op="import")
    answer = any_client.post("boot-resources/", op="stop_import")
    assert answer.status == "200 OK"
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.text == "Import of boot resources is being stopped"
    assert runs_of(app) == [("stopped", "manual")]


def test_stopping_when_nothing_runs_is_no_error(app: Flask, any_client: Script) -> None:
    answer = any_client.post("boot-resources/", op="stop_import")
    assert (answer.status, answer.text) == (
        "200 OK",
        "Import of boot resources is being stopped",
    )
    assert runs_of(app) == []


def test_op_may_come_with_dashes_and_in_the_form(app: Flask, admin: Script) -> None:
    form = "application/x-www-form-urlencoded"
    for query, body, text in (
        ("?op=is-importing", b"", "true"),
        ("?op=stop-import", b"", "Import of boot resources is being stopped"),
        ("", b"op=import", "Import of boot resources started"),
        ("?op=", b"op=stop-import", "Import of boot resources is being stopped"),
        ("?op=stop_import", b"op=import", "Import of boot resources is being stopped"),
    ):
        method = "GET" if "is-" in query else "POST"
        if method == "GET":
            admin.post("boot-resources/", op="import")
        headers = {**oauth(admin.key), "Content-Type": form}
        answer = admin.send(Request(method, f"{API}boot-resources/{query}", headers, body))
        assert (answer.status, answer.text) == ("200 OK", text)
