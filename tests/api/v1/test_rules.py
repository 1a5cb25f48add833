# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/rules``: preview, add, change and remove rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.v1.typed import Typed
from tests.support import factories
from webapp.extensions import db
from webapp.models import ImportRun, Role, utcnow

NEWEST = {"kind": "newest-lts", "count": 1}


@pytest.fixture
def source_id(app: Flask) -> int:
    """A source with noble and jammy."""
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
        factories.cache_entry(source)
        factories.cache_entry(source, release="jammy", release_version="22.04")
        made = source.id
        db.session.remove()
    return made


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"count": 51}, "a number of at most 50."),
        ({"count": 0}, "Give a number from 1 to 50."),
        ({"source_id": 2**31}, "a number of at most 2147483647."),
        ({"replaces": 2**63}, "a number of at most 2147483647."),
        ({"arches": ["amd64"] * 51}, "at most 50 entries"),
    ],
)
def test_numbers_of_a_rule_have_limits(
    program: Typed, source_id: int, wrong: dict[str, object], words: str
) -> None:
    refused = program.call("POST", "rules/preview", NEWEST | wrong)
    assert refused.status_code == 422
    assert words in str(refused.json["errors"]), refused.json


def test_a_rule_is_previewed_added_changed_and_removed(
    app: Flask, program: Typed, source_id: int
) -> None:
    preview = program.call("POST", "rules/preview", NEWEST).json
    assert [(one["name"], one["architecture"]) for one in preview["adds"]] == [
        ("ubuntu/noble", "amd64/ga-24.04")
    ]
    assert preview["bytes_to_fetch"] == preview["adds"][0]["bytes"] > 0
    assert program.get("rules")["items"] == []
    made = program.call("POST", "rules", NEWEST | {"is_imported": True})
    assert made.status_code == 201, made.text
    assert (made.json["title"], made.json["warning"]) == ("Newest Ubuntu LTS", "")
    [match] = made.json["matches"]
    assert (match["release"], match["source_id"], match["state"]) == (
        "noble", source_id, "selected",
    )  # fmt: skip
    assert made.json["evaluated_at"]
    with app.app_context():
        run = db.session.scalars(select(ImportRun)).one()
        assert (run.id, run.state) == (made.json["run"]["id"], "queued")
    one = f"rules/{made.json['id']}"
    read = program.call("GET", one)
    wider = {"kind": "pattern", "pattern": "ubuntu/(noble|jammy)", "replaces": made.json["id"]}
    found = program.call("POST", "rules/preview", wider).json
    assert [one["name"] for one in found["adds"]] == ["ubuntu/jammy"]
    del wider["replaces"]
    changed = program.call("PUT", one, wider, If_Match=read.headers["ETag"])
    assert [m["release"] for m in changed.json["matches"]] == ["jammy", "noble"]
    assert changed.json["run"] is None
    again = program.call("PUT", one, wider | {"is_imported": True}).json
    assert again["run"] == made.json["run"] | {"is_new": False}
    assert program.call("PUT", one, NEWEST, If_Match=read.headers["ETag"]).status_code == 412
    assert program.get(f"{one}/removal")["drops"] == []  # nothing is stored
    assert program.call("DELETE", one).status_code == 204
    assert program.call("GET", one).status_code == 404


def test_selections_of_rest_2_are_those_made_by_hand(program: Typed, source_id: int) -> None:
    program.call("POST", "rules", NEWEST)
    assert program.get(f"sources/{source_id}/selections")["items"] == []
    images = program.get("catalogue")["items"]
    assert {i["release"]: (i["is_selected"], i["rules"]) for i in images} == {
        "noble": (False, ["Newest Ubuntu LTS"]),
        "jammy": (False, []),
    }


def test_a_wrong_rule_is_refused_by_field(program: Typed, source_id: int) -> None:
    for body, field in (
        ({"kind": "pattern", "pattern": "(?=a)"}, "pattern"),
        ({"kind": "every"}, "os"),
        ({"kind": "newest-lts"}, "count"),
        ({"kind": "supported-lts", "source_id": 77}, "source_id"),
        ({"kind": "other"}, "kind"),
    ):
        assert list(program.call("POST", "rules", body).json["errors"]) == [field]


def test_viewers_read_rules_and_change_none(
    program: Typed, source_id: int, token_of: Callable[..., Typed]
) -> None:
    made = program.call("POST", "rules", NEWEST).json
    viewer = token_of(Role.VIEWER)
    assert viewer.get("rules")["items"][0]["id"] == made["id"]
    for method, path in (("POST", "rules"), ("PUT", f"rules/{made['id']}")):
        assert viewer.call(method, path, NEWEST).status_code == 403
    assert viewer.call("DELETE", f"rules/{made['id']}").status_code == 403
    selecting = token_of(Role.OPERATOR, "select")
    refused = selecting.call("POST", "rules", NEWEST | {"is_imported": True})
    assert (refused.status_code, refused.json["expected"]) == (403, "import")
