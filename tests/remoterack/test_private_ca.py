# SPDX-License-Identifier: Apache-2.0
"""A rack enrols at, and follows, a region whose https certificate is of a private CA."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rack import images
from tests.remoterack.remote import PATH, Line, RemoteRack, publish
from tests.support.databases import Databases
from tests.unit.fetch.servers import ca_file, server_context
from tests.web.test_slow_clients import LiveWeb
from webapp.config import Settings
from webapp.extensions import db
from webapp.remoterack import app
from webapp.remoterack.errors import RackProblem
from webapp.services.racks import tokens


def test_a_region_with_a_private_ca_is_followed_by_those_who_trust_it(
    tmp_path: Path, sqlite_databases: Databases
) -> None:
    folders = [tmp_path / name for name in ("region", "rack", "stranger")]
    folders[0].mkdir()
    region = LiveWeb(folders[0], sqlite_databases.migrated(), web_workers=1)
    with region, Line(region.url, server_context(tmp_path)) as line:
        with region.app.app_context():
            images.image(product="p:v3:noble")
            db.session.remove()
        publish(region)
        with region.app.app_context():
            token = tokens.create("ada", uses=2)[1]
            db.session.remove()
        assert line.url.startswith("https://")
        more = {"rack_token": token, "rack_name": "far"}
        ca = str(ca_file(tmp_path))
        with RemoteRack(folders[1], line.url, "", region_ca=ca, **more) as rack:
            assert rack.wait_for(f"{PATH}/boot-kernel").body == images.FILES["boot-kernel"]
        more["rack_name"] = "stranger"
        with RemoteRack(folders[2], line.url, "", **more) as stranger:
            stranger.wait_until(
                lambda: "certificate isn't trusted" in str(stranger.status.get("errors")),
                "it says so",
            )
        assert "SLIPWAY_REGION_CA" in stranger.log.read_text()


def test_a_ca_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    environ = {
        "SLIPWAY_DATA_DIR": str(tmp_path),
        "SLIPWAY_REGION_URL": "https://region:5240/",
        "SLIPWAY_RACK_FINGERPRINT": "A" * 40,
    }
    odd = tmp_path / "odd.pem"
    odd.write_text("no certificate")
    for path in (tmp_path / "none.pem", odd):
        with pytest.raises(RackProblem) as caught:
            app.prepare(Settings.load({**environ, "SLIPWAY_REGION_CA": str(path)}))
        assert "SLIPWAY_REGION_CA" in caught.value.where
