# SPDX-License-Identifier: Apache-2.0
"""A whole import through the proxy of the settings."""

from __future__ import annotations

import os

import pytest

from tests.jobs.conftest import Lab, check_region, images
from tests.jobs.imports.streams import NOBLE
from webapp.extensions import db
from webapp.models import BootSource
from webapp.services.system import live_settings

pytestmark = pytest.mark.usefixtures("region")


def test_every_file_of_an_import_comes_through_the_proxy(lab: Lab) -> None:
    url = f"http://mirror.invalid/{lab.mirror.path}"  # only the proxy knows this host
    db.session.get_one(BootSource, lab.source_id).url = url
    db.session.commit()
    live_settings.change("http_proxy", lab.server.url, "ada")
    lab.select("noble")
    environment = dict(os.environ)
    run = lab.run()
    assert (run.state, NOBLE in images()) == ("succeeded", True)
    asked = [request.path for request in lab.server.log]
    assert all(path.startswith(url) for path in asked)
    payload = {item.path for item in lab.mirror.newest(release="noble", ftype="boot-kernel")}
    payload |= {item.path for item in lab.mirror.newest(release="noble", ftype="squashfs")}
    assert payload <= {path.removeprefix(url) for path in asked}
    assert dict(os.environ) == environment
    check_region()
