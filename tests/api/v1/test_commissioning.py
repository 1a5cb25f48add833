# SPDX-License-Identifier: Apache-2.0
"""Deselecting the commissioning release by ``/api/v1`` (rule: commissioning-release)."""

from __future__ import annotations

from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from tests.web.images.boxes import offer
from webapp.extensions import db
from webapp.models import utcnow
from webapp.services.system import live_settings

JAMMY = {"os": "ubuntu", "release": "jammy"}


def test_a_replacement_is_offered_and_taken_in_the_same_call(app: Flask, program: Typed) -> None:
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
        for release, version in (("noble", "24.04"), ("jammy", "22.04")):
            offer(source, release=release, arch="amd64", release_version=version)
            factories.selection(source, release=release)
        live_settings.change("commissioning_distro_series", "jammy", "ada")
        db.session.remove()
    preview = program.call("POST", "catalogue", {"remove": [JAMMY], "is_preview": True}).json
    assert (preview["loses_commissioning"], preview["replacements"]) == ("jammy", ["noble"])
    refused = program.call("POST", "catalogue", {"remove": [JAMMY]})
    assert (refused.status_code, refused.json["code"]) == (422, "commissioning-release")
    wrong = program.call("POST", "catalogue", {"remove": [JAMMY], "commission": "focal"})
    assert wrong.json["errors"] == {"commission": ["Choose one of these: noble."]}
    done = program.call("POST", "catalogue", {"remove": [JAMMY], "commission": "noble"})
    assert (done.status_code, done.json["removed"]) == (200, ["ubuntu/jammy amd64"])
    kept = {one["name"]: one["value"] for one in program.get("settings")["items"]}
    assert kept["commissioning_distro_series"] == "noble"
