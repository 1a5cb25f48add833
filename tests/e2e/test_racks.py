# SPDX-License-Identifier: Apache-2.0
"""A rack joins a region by the line that the region prints, follows it, and is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rack import images
from tests.remoterack.remote import PATH, RemoteRack
from tests.support.live import LiveSlipway, wait_until
from tests.web.visitors import Visitor, text_of
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import Role
from webapp.services.system.wake import wake


@pytest.mark.slow
def test_a_rack_joins_by_the_line_that_was_printed(tmp_path: Path) -> None:
    with LiveSlipway(tmp_path / "region") as region:
        app = create_app(Settings.load(region.env), plane="web")
        with app.app_context():
            images.image(product="p:v3:noble")
            db.session.remove()
            wake()
        state = "Up to date"
        wait_until(lambda: state in region.cli("mirror", "status"), "it's published")
        line = region.cli("rack", "enrol", "--uses", "1").split()
        words = dict(word.split("=", 1) for word in line if word.startswith("SLIPWAY_"))
        assert line[2:] == ["slipway", "run", "--role", "rack"]
        token = words["SLIPWAY_RACK_TOKEN"]
        folder = tmp_path / "rack"
        # The host's own name needn't resolve where the tests run.
        with RemoteRack(folder, region.web_url, "", rack_token=token, rack_name="far") as rack:
            rack.wait_for(f"{PATH}/boot-kernel")
            wait_until(lambda: state in region.cli("rack", "list"), "it holds all")
            with app.app_context():
                images.image(release="jammy", product="p:v3:jammy")
                db.session.remove()
                wake()
            rack.wait_for(f"{PATH.replace('noble', 'jammy')}/squashfs")
            wait_until(lambda: state in region.cli("rack", "list"), "it holds that, too")
            page = text_of(Visitor(app, Role.VIEWER).get("/racks/"))
            assert "far" in page
            assert state in page
            region.stop()
            assert rack.wait_for(f"{PATH}/squashfs").body == images.FILES["squashfs"]
        with app.app_context():
            db.engine.dispose()
