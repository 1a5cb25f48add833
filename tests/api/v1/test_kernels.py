# SPDX-License-Identifier: Apache-2.0
"""Kernels of images: listing and choosing them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from webapp.extensions import db
from webapp.models import BootSourceSelection


@pytest.fixture
def noble(app: Flask) -> None:
    """Noble with a GA and a HWE kernel that share their root file system."""
    with app.app_context():
        source, root = factories.boot_source(), factories.item("squashfs", b"r" * 90)
        for subarch, answers in (("ga-24.04", ["generic", "ga-24.04"]), ("hwe-24.04", [])):
            kernel = factories.item("boot-kernel", subarch.encode())
            values = {"answers_to": answers or [subarch], "items": [kernel, root]}
            factories.cache_entry(source, subarch=subarch, **values)
        db.session.remove()


def chosen(app: Flask) -> list[Any]:
    with app.app_context():
        return [row.subarches for row in db.session.query(BootSourceSelection)]


def body(*kernels: str, **values: Any) -> dict[str, Any]:
    image = {"os": "ubuntu", "release": "noble", "arch": "amd64", "kernels": list(kernels)}
    return {"add": [image], **values}


@pytest.mark.usefixtures("noble")
def test_kernels_are_listed_with_the_bytes_that_each_adds(program: Typed) -> None:
    found = program.get("kernels?os=ubuntu&release=noble&arch=amd64")["items"]
    assert [(k["kernel"], k["title"], k["adds"], k["new_size"]) for k in found] == [
        ("ga-24.04", "GA 24.04", 8, 98),
        ("hwe-24.04", "HWE 24.04", 9, 99),
    ]
    assert [k["is_generic"] for k in found] == [True, False]
    assert program.get("kernels?release=jammy")["items"] == []


@pytest.mark.usefixtures("noble")
def test_kernels_are_chosen_with_the_image(app: Flask, program: Typed) -> None:
    preview = program.call("POST", "catalogue", body("hwe-24.04", is_preview=True)).json
    assert (preview["added"], preview["kernels_removed"]) == (["ubuntu/noble amd64"], [])
    assert "ask for as generic" in preview["warnings"][0]
    assert chosen(app) == []
    done = program.call("POST", "catalogue", body("ga-24.04")).json
    assert (done["new_bytes"], done["warnings"]) == (98, [])
    assert chosen(app) == [["ga-24.04"]]
    assert [k["is_chosen"] for k in program.get("kernels")["items"]] == [True, False]
    without = {"add": [{"os": "ubuntu", "release": "noble"}]}
    assert program.call("POST", "catalogue", without).json["kernels_added"] == []
    assert chosen(app) == [["ga-24.04"]]
    assert program.call("POST", "catalogue", body("*")).json["kernels_added"] == [
        "ubuntu/noble hwe-24.04"
    ]
    assert chosen(app) == [["*"]]


@pytest.mark.usefixtures("noble")
def test_a_wrong_choice_is_refused_by_field(app: Flask, program: Typed) -> None:
    for kernels in (["hwe-99.04"], [], ["k" * 65]):
        assert list(program.call("POST", "catalogue", body(*kernels)).json["errors"]) == ["kernels"]
    two = {"add": body("ga-24.04")["add"] + body("hwe-24.04")["add"]}
    assert "Choose them once" in json.dumps(program.call("POST", "catalogue", two).json["errors"])
    assert chosen(app) == []
