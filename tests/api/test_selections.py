# SPDX-License-Identifier: Apache-2.0
"""``boot-sources/{id}/selections/`` (rules: rest-selections, selections-are-checked)."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.clients import API, Script, Value
from tests.support import factories
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection, utcnow

NOBLE: dict[str, Value] = {
    "os": "ubuntu",
    "release": "noble",
    "arches": "amd64",
    "subarches": "*",
    "labels": "*",
}


@pytest.fixture
def source_id(app: Flask) -> int:
    """A source that was read and offers noble and jammy, each for two architectures."""
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow())
        for release in ("noble", "jammy"):
            for arch in ("amd64", "arm64"):
                factories.cache_entry(source, release=release, arch=arch)
        found = source.id
        db.session.remove()
    return found


def test_an_operator_selects_images(operator: Script, path: str) -> None:
    assert [source["id"] for source in operator.get("boot-sources/").json]
    made = operator.post(path, **NOBLE)
    assert made.status == "200 OK"
    assert operator.put(f"{path}{made.json['id']}/", arches="arm64").json["arches"] == ["arm64"]
    assert operator.delete(f"{path}{made.json['id']}/").status_code == 204


@pytest.fixture
def path(source_id: int) -> str:
    return f"boot-sources/{source_id}/selections/"


def stored(app: Flask) -> list[tuple[object, ...]]:
    with app.app_context():
        return [
            (row.os, row.release, row.arches, row.subarches, row.labels)
            for row in db.session.scalars(
                select(BootSourceSelection).order_by(BootSourceSelection.id)
            )
        ]


def test_a_selection_is_created_with_200(
    app: Flask, any_client: Script, path: str, source_id: int
) -> None:
    answer = any_client.post(path, **NOBLE)
    assert answer.status == "200 OK"
    assert answer.content_type == "application/json; charset=utf-8"
    document = answer.json
    selection_id = document.pop("id")
    assert document == {
        "boot_source_id": source_id,
        "os": "ubuntu",
        "release": "noble",
        "arches": ["amd64"],
        "subarches": ["*"],
        "labels": ["*"],
        "resource_uri": f"{API}{path}{selection_id}/",
    }
    assert stored(app) == [("ubuntu", "noble", ["amd64"], ["*"], ["*"])]


def test_a_name_that_is_sent_again_and_again_is_a_list(
    app: Flask, any_client: Script, path: str
) -> None:
    answer = any_client.post(
        path, **{**NOBLE, "arches": ["amd64", "arm64"], "subarches": ["ga-24.04", "generic"]}
    )
    assert answer.status_code == 200
    assert answer.json["arches"] == ["amd64", "arm64"]
    assert stored(app)[0][2:] == (["amd64", "arm64"], ["ga-24.04", "generic"], ["*"])


def test_selections_are_listed_and_read(any_client: Script, path: str) -> None:
    first = any_client.post(path, **NOBLE).json
    second = any_client.post(path, **{**NOBLE, "release": "jammy"}).json
    assert any_client.get(path).json == [first, second]
    assert any_client.get(f"{path}{second['id']}/").json == second


def test_a_change_keeps_what_is_not_sent_and_names_its_source(
    app: Flask, any_client: Script, path: str, source_id: int
) -> None:
    made = any_client.post(path, **NOBLE).json
    answer = any_client.put(f"{path}{made['id']}/", arches=["arm64", "amd64"], labels="")
    assert answer.status == "200 OK"
    assert answer.json == {**made, "arches": ["arm64", "amd64"]}
    assert answer.json["boot_source_id"] == source_id
    assert stored(app) == [("ubuntu", "noble", ["arm64", "amd64"], ["*"], ["*"])]


def test_a_selection_is_deleted(app: Flask, any_client: Script, path: str) -> None:
    made = any_client.post(path, **NOBLE).json
    answer = any_client.delete(f"{path}{made['id']}/")
    assert (answer.status, answer.content_type, answer.data) == (
        "204 No Content",
        "text/plain",
        b"",
    )
    assert any_client.delete(f"{path}{made['id']}/").status == "404 Not Found"
    assert stored(app) == []


@pytest.mark.parametrize("name", ["os", "release"])
def test_each_field_is_required(app: Flask, any_client: Script, path: str, name: str) -> None:
    for values in ({k: v for k, v in NOBLE.items() if k != name}, {**NOBLE, name: ""}):
        answer = any_client.post(path, **values)
        assert answer.status == "400 Bad Request"
        assert answer.content_type == "application/json; charset=utf-8"
        assert answer.json == {name: ["This field is required."]}
    assert stored(app) == []


def test_all_missing_fields_are_named_at_once(any_client: Script, path: str) -> None:
    answer = any_client.post(path)
    assert answer.json == {name: ["This field is required."] for name in ("os", "release")}


@pytest.mark.parametrize("name", ["arches", "subarches", "labels"])
def test_a_list_that_is_left_out_means_everything(any_client: Script, path: str, name: str) -> None:
    made = any_client.post(path, **{k: v for k, v in NOBLE.items() if k != name})
    assert made.status_code == 200
    assert made.json[name] == ["*"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"os": "debian"}, "os"),
        ({"release": "warty"}, "os"),
        ({"arches": "s390x"}, "arches"),
        ({"arches": ["amd64", "s390x"]}, "arches"),
        ({"subarches": "hwe-99.04"}, "subarches"),
        ({"labels": "weekly"}, "labels"),
    ],
)
def test_what_the_source_does_not_offer_is_refused_by_field(
    app: Flask, any_client: Script, path: str, changed: dict[str, Value], field: str
) -> None:
    answer = any_client.post(path, **{**NOBLE, **changed})
    assert answer.status_code == 400
    assert list(answer.json) == [field]
    assert all(isinstance(message, str) for message in answer.json[field])
    made = any_client.post(path, **NOBLE).json
    refused = any_client.put(f"{path}{made['id']}/", **changed)
    assert (refused.status_code, list(refused.json)) == (400, [field])
    assert stored(app) == [("ubuntu", "noble", ["amd64"], ["*"], ["*"])]


def test_a_source_that_is_read_for_the_first_time_asks_to_try_again(
    app: Flask, any_client: Script
) -> None:
    with app.app_context():
        unread, off = factories.boot_source(), factories.boot_source(is_enabled=False)
        path, other = (f"boot-sources/{source.id}/selections/" for source in (unread, off))
    answer = any_client.post(path, **NOBLE)
    assert (answer.status, answer.headers["Retry-After"]) == ("503 Service Unavailable", "5")
    assert answer.content_type == "text/plain; charset=utf-8"
    assert b"still being read" in answer.data
    assert any_client.post(other, **NOBLE).status_code == 400  # no one reads that one
    assert stored(app) == []
    with app.app_context():
        source = db.session.get_one(BootSource, unread.id)
        factories.cache_entry(source, release="noble")
        db.session.commit()
    made = any_client.post(path, os="ubuntu", release="noble")
    assert made.json["arches"] == made.json["subarches"] == made.json["labels"] == ["*"]


def test_a_release_is_selected_once(app: Flask, any_client: Script, path: str) -> None:
    any_client.post(path, **NOBLE)
    jammy = any_client.post(path, **{**NOBLE, "release": "jammy"}).json
    for again in (
        any_client.post(path, **NOBLE),
        any_client.put(f"{path}{jammy['id']}/", release="noble"),
    ):
        assert again.status_code == 400
        assert list(again.json) == ["__all__"]
    assert len(stored(app)) == 2


def test_the_same_release_may_be_selected_of_two_sources(
    app: Flask, admin: Script, path: str
) -> None:
    with app.app_context():
        other = factories.boot_source()
        factories.cache_entry(other)
        other_id = other.id
    assert admin.post(path, **NOBLE).status_code == 200
    assert admin.post(f"boot-sources/{other_id}/selections/", **NOBLE).status_code == 200


def test_a_selection_of_another_source_is_not_found(
    app: Flask, any_client: Script, path: str
) -> None:
    made = any_client.post(path, **NOBLE).json
    with app.app_context():
        other = factories.boot_source().id
        db.session.remove()
    for wrong in (
        f"boot-sources/{other}/selections/{made['id']}/",
        f"boot-sources/999/selections/{made['id']}/",
        f"{path}999/",
        f"{path}99999999999999999999/",
        f"boot-sources/99999999999/selections/{made['id']}/",
    ):
        for method in ("GET", "PUT", "DELETE"):
            answer = any_client.call(method, wrong, "", {})
            assert (answer.status, answer.text) == ("404 Not Found", "Not Found")
    for method in ("GET", "POST"):
        answer = any_client.call(method, "boot-sources/999/selections/", "", {})
        assert answer.status == "404 Not Found"
    assert len(stored(app)) == 1


def test_two_scripts_that_select_the_same_at_once_make_one(
    app: Flask, admin: Script, path: str, source_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.services.sources import selections

    check = selections._check

    def check_and_lose_the_race(*args: object) -> None:
        check(*args)  # type: ignore[arg-type]
        with app.app_context():
            factories.selection(db.session.get_one(BootSource, source_id))
            db.session.remove()

    monkeypatch.setattr(selections, "_check", check_and_lose_the_race)
    answer = admin.post(path, **NOBLE)
    assert answer.status == "409 Conflict"
    assert answer.text == (
        "Someone else changed this at the same time. "
        "Next: Your change was not saved. Reload, check it and try again."
    )
    assert len(stored(app)) == 1


def test_the_selection_of_the_commissioning_release_cant_be_removed(
    app: Flask, any_client: Script, path: str
) -> None:
    noble, jammy = (
        any_client.post(path, **{**NOBLE, "release": r}).json for r in ("noble", "jammy")
    )
    name = "commissioning_distro_series"
    assert any_client.post("maas/", op="set_config", name=name, value="noble").status_code == 200
    one = f"{path}{noble['id']}/"
    for answer in (any_client.delete(one), any_client.put(one, release="jammy", arches="arm64")):
        assert answer.status_code == 400
    refused = any_client.delete(one)
    assert refused.text.startswith("Machines are commissioned with ubuntu/noble, so it must stay")
    assert not set("%{}") & set(refused.text)
    assert any_client.delete(f"{path}{jammy['id']}/").status_code == 204
    any_client.post("maas/", op="set_config", name=name, value="jammy")
    assert any_client.delete(one).status_code == 204
    assert stored(app) == []
