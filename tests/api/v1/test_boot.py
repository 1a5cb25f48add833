# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/boot`` and ``slipway boot`` say the same."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from tests.api.v1.typed import Typed
from tests.rack import images
from webapp.extensions import db
from webapp.models import Role

MAC = "52:54:00:12:34:56"


def test_entries_are_set_listed_explained_and_removed(app: Flask, program: Typed) -> None:
    with app.app_context():
        images.image()
        db.session.remove()
    sent = {"name": "ubuntu/noble", "parameters": "quiet"}
    made = program.call("PUT", "boot/entries/amd64", sent).json
    assert made is not None
    assert (made["machine"], made["version"], made["problem"]) == ("amd64", "20260105", {})
    own = program.call("PUT", "boot/entries/52-54-00-12-34-56", {"name": "ubuntu/jammy"}).json
    assert own is not None
    assert (own["machine"], own["version"]) == (MAC, "")
    assert own["problem"]["what"] == "ubuntu/jammy amd64 isn't stored."
    listed = program.get("boot/entries")["items"]
    assert listed == [made, own]
    assert program.get(f"boot/entries/{MAC}") == own
    other = program.get("boot/explain/52:54:00:00:00:01")
    assert (other["is_own"], other["version"], other["image"]) == (
        False, "20260105", "ubuntu/noble amd64",
    )  # fmt: skip
    assert [one["loader"] for one in other["configurations"]] == ["ipxe", "grub", "pxelinux"]
    assert program.get(f"boot/explain/{MAC}")["problem"]["what"] == own["problem"]["what"]
    assert program.call("DELETE", f"boot/entries/{MAC}").status_code == 204
    assert program.call("DELETE", f"boot/entries/{MAC}").status_code == 404


def test_what_cannot_be_used_is_refused_by_field(program: Typed) -> None:
    for machine, sent, field in (
        ("me", {"name": "ubuntu/noble"}, "machine"),
        (MAC, {"name": "noble"}, "name"),
        (MAC, {"name": "ubuntu/noble", "arch": "z80"}, "arch"),
        (MAC, {"name": "ubuntu/noble", "kernel": "a b"}, "kernel"),
        (MAC, {"name": "ubuntu/noble", "parameters": "x\ny"}, "parameters"),
    ):
        answer = program.call("PUT", f"boot/entries/{machine}", sent)
        assert answer.status_code == 422
        assert list((answer.json or {})["errors"]) == [field]
    assert program.call("GET", "boot/explain/me").status_code == 422


def test_only_administrators_change_entries(token_of: Callable[..., Typed]) -> None:
    operator = token_of(Role.OPERATOR, "read", "import")
    assert operator.get("boot/entries")["items"] == []
    assert operator.call("PUT", "boot/entries/amd64", {"name": "a/b"}).status_code == 403
