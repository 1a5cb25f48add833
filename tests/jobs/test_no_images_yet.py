# SPDX-License-Identifier: Apache-2.0
"""A region without images says so until an import has stored one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from tests.api.racks.remote import RemoteRack, enrol
from tests.api.v1.conftest import Typed, program, token_of
from tests.jobs.conftest import Lab
from tests.support import factories
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import Rack, Role, utcnow
from webapp.services.imports import runs
from webapp.services.mirror import publishing
from webapp.services.racks.listing import LATE

__all__ = ["program", "token_of"]

pytestmark = pytest.mark.usefixtures("region")
NONE = "No images are stored yet, so machines can't boot any."


class Surfaces:
    """The page Images, doctor and status, which must say the same."""

    def __init__(self, app: Flask, program: Typed) -> None:
        self._viewer, self._program = Visitor(app, Role.VIEWER), program

    def found(self) -> tuple[str, str]:
        """The warning and its next step; two empty texts if there's none."""
        checks = self._program.get("health")["checks"]
        warned = [one for one in checks if one["name"] == "images"]
        problems = [
            one for one in self._program.get("status")["problems"] if "images-" in one["code"]
        ]
        assert [one["found"] for one in warned] == [one["what"] for one in problems]
        page = text_of(self._viewer.get("/images/"))
        if not warned:
            assert NONE not in page
            assert "Only racks hold images" not in page
            return "", ""
        (one,) = warned
        assert one["severity"] == "warn"
        assert one["next_step"] == problems[0]["next_step"]
        if "No images yet" in page:  # nothing is wanted either: the empty part says it all
            assert NONE not in page
            assert "Add a boot source" in page or "Select images below." in page
        else:
            assert one["found"] in page
        if "Only racks" in one["found"]:
            assert one["found"] in page
        return one["found"], one["next_step"]


@pytest.fixture
def surfaces(app: Flask, program: Typed) -> Surfaces:
    return Surfaces(app, program)


def test_the_warning_names_the_next_step_and_goes_with_the_first_image(
    surfaces: Surfaces, request: pytest.FixtureRequest
) -> None:
    assert surfaces.found() == (NONE, "Add a boot source: `slipway source add URL`.")
    lab: Lab = request.getfixturevalue("lab")
    start = (NONE, "Select images and start an import: `slipway import start`.")
    assert surfaces.found() == start
    assert lab.run().state == "succeeded"  # it stored nothing, since nothing is selected
    assert surfaces.found() == start
    lab.select("noble")
    runs.queue("manual", "ann")
    assert "slipway import watch" in surfaces.found()[1]
    runs.stop("ann")
    assert surfaces.found() == start
    lab.run()
    assert surfaces.found() == ("", "")


def test_boot_loaders_alone_are_no_images(surfaces: Surfaces) -> None:
    factories.boot_resource(os="grub-efi", release="uefi", bootloader_type="uefi")
    assert surfaces.found()[0] == NONE


def test_an_uploaded_image_is_one(surfaces: Surfaces) -> None:
    factories.boot_resource(os="custom", release="mine", rtype="uploaded")
    assert surfaces.found() == ("", "")


def test_images_that_only_a_rack_holds_have_a_warning_of_their_own(
    app: Flask, surfaces: Surfaces, lab: Lab
) -> None:
    loader = factories.boot_resource(
        {"grub": b"x" * 100}, os="grub-efi", release="uefi", bootloader_type="uefi"
    )
    assert loader.current_set_id
    publishing.reconcile()  # which creates the key that racks trust
    rack = enrol(app)
    report(rack, bytes=100, files=1)  # the boot loader, which isn't an image
    assert surfaces.found()[0] == NONE
    report(rack, bytes=12_000_000, files=4)
    what, next_step = surfaces.found()
    assert what == "Only racks hold images, this region has none: rack-1."
    assert "slipway import start" in next_step
    seen(utcnow() - 2 * LATE)  # nobody knows what it holds by now
    assert surfaces.found()[0] == NONE
    seen(utcnow())
    assert surfaces.found()[0] == what
    lab.select("noble")
    lab.run()
    assert surfaces.found() == ("", "")


def report(rack: RemoteRack, **held: Any) -> None:
    rack.report(held_state=1, held_serial=0, **held)


def seen(at: datetime) -> None:
    db.session.query(Rack).update({"seen_at": at})
    db.session.commit()
