# SPDX-License-Identifier: Apache-2.0
"""To whom images are kept, by API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.v1.typed import Typed
from tests.rack import images
from tests.support import factories
from webapp.extensions import db
from webapp.models import Event, Publication
from webapp.services.boot import table

MAC, OTHER = "52:54:00:12:34:56", "52:54:00:00:00:01"
HERE = "images/ubuntu/noble/amd64/restriction"
OPEN = {
    "name": "ubuntu/noble",
    "arch": "amd64",
    "is_restricted": False,
    "networks": [],
    "macs": [],
    "note": "",
    "updated_at": None,
    "is_stored": False,
}
SENT = {"networks": ["192.0.2.0/24", "192.0.2.0/24"], "macs": [MAC.upper()], "note": " 3 hosts "}


@pytest.fixture(autouse=True)
def _context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.remove()


def serial() -> int:
    db.session.rollback()
    return db.session.scalar(select(Publication.serial)) or 0


def test_an_image_is_restricted_before_it_is_there_and_given_back(program: Typed) -> None:
    assert program.get(HERE) == OPEN
    assert program.get("restrictions")["items"] == []
    before = serial()
    answer = program.call("PUT", HERE, SENT)
    assert answer.status_code == 200
    found = answer.json
    assert found is not None
    assert (found["networks"], found["macs"]) == (["192.0.2.0/24"], [MAC])
    assert (found["note"], found["is_restricted"], found["is_stored"]) == ("3 hosts", True, False)
    assert program.get(HERE) == found
    assert program.get("restrictions")["items"] == [found]
    assert serial() > before, "racks look at once"
    images.image()
    assert program.get("restrictions")["items"][0]["is_stored"] is True
    before = serial()
    assert program.call("DELETE", HERE).status_code == 204
    assert serial() > before
    assert program.get(HERE) == {**OPEN, "is_stored": True}
    assert program.call("DELETE", HERE).status_code == 404
    kinds = db.session.execute(
        select(Event.kind, Event.subject).where(Event.kind.startswith("image.re"))
    ).all()
    subject = "ubuntu/noble amd64"
    assert [tuple(row) for row in kinds] == [
        ("image.restricted", subject), ("image.released", subject)
    ]  # fmt: skip


def test_a_change_of_what_someone_else_changed_is_refused(program: Typed) -> None:
    tag = program.call("GET", HERE).headers["ETag"]
    assert program.call("PUT", HERE, SENT, If_Match=tag).status_code == 200
    assert program.call("PUT", HERE, SENT, If_Match=tag).status_code == 412
    assert program.call("DELETE", HERE, If_Match=tag).status_code == 412


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"networks": ["192.0.2.1/24"]}, "networks", "Enter 192.0.2.0/24"),
        ({"networks": ["lab"]}, "networks", "isn't a network"),
        ({"networks": ["0.0.0.0/0"]}, "networks", "Lift the restriction"),
        ({"macs": ["01:00:5e:00:00:01"]}, "macs", "isn't the address of one machine"),
        ({"macs": ["52:54:00"]}, "macs", "isn't a MAC address"),
        ({"networks": [], "macs": []}, "networks", "Enter a network or a MAC address."),
        ({"networks": [f"192.0.2.{n}" for n in range(51)]}, "networks", "50"),
        ({"networks": [f"192.0.2.{n}" for n in range(50)]}, "networks", "not 51"),
        ({"note": "two\nlines"}, "note", "a single line"),
        ({"owner": "x"}, "owner", ""),
    ],
)
def test_what_cannot_be_meant_is_refused(
    change: dict[str, object], field: str, words: str, program: Typed
) -> None:
    answer = program.call("PUT", HERE, {**SENT, **change})
    assert answer.status_code == 422
    assert field in answer.text
    assert words in answer.text
    assert program.get(HERE) == OPEN


def test_a_boot_loader_is_for_everyone(program: Typed) -> None:
    images.image({"x": b"y"}, os="grub", release="uefi", bootloader_type="uefi", subarch="generic")
    answer = program.call("PUT", "images/grub/uefi/amd64/restriction", SENT)
    assert answer.status_code == 422
    assert "machines need it" in answer.text


def test_who_would_lose_it_is_told_first(program: Typed) -> None:
    images.image()
    folder = "ubuntu/amd64/ga-24.04/noble/stable"
    for address, subject in (
        ("192.0.2.7", folder),
        ("198.51.100.7", folder),
        ("198.51.100.8", folder.replace("noble", "jammy")),
    ):
        factories.saved(Event(kind="image.fetched", actor=address, subject=subject, detail={}))
    table.set_entry("ada", OTHER, "ubuntu/noble", arch="amd64")
    table.set_entry("ada", MAC, "ubuntu/noble", arch="amd64")
    told = program.call("POST", f"{HERE}/preview", SENT).json
    assert told == {"is_narrower": True, "machines": ["198.51.100.7"], "entries": [OTHER]}
    program.call("PUT", HERE, SENT)
    wider = {**SENT, "networks": ["192.0.2.0/23"]}
    told = program.call("POST", f"{HERE}/preview", wider).json
    assert told == {"is_narrower": False, "machines": [], "entries": []}
    why = program.get(f"boot/explain/{OTHER}")["why"]
    assert why.endswith("kept to 192.0.2.0/24: for a machine elsewhere it isn't there.")
    assert "kept" not in program.get(f"boot/explain/{MAC}")["why"]
