# SPDX-License-Identifier: Apache-2.0
"""The button that stops one image of a running import."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import Flask

from tests.support import factories
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import Role, utcnow

Visit = Callable[..., Visitor]


def test_one_image_of_an_import_is_stopped_and_both_pages_name_who_did(
    region: Flask, visit: Visit
) -> None:
    action = {"kind": "add", "name": "ubuntu/noble", "architecture": "amd64/ga-24.04"}
    run = factories.import_run(
        state="running", finished_at=None, plan={"actions": [{**action, "version": "20260105"}]}
    )
    factories.file_transfer(run, state="waiting", bytes_done=0)
    factories.file_transfer(run, image="ubuntu/jammy")
    viewer, operator = visit(Role.VIEWER), visit(Role.OPERATOR)
    path = "/imports/stop/ubuntu/noble/amd64"
    assert path not in viewer.get("/imports/").text
    page = operator.get("/imports/").text
    assert re.findall(r'action="(/imports/stop/[^"]*)"', page) == [path]
    assert viewer.post(path).status_code == 403
    assert operator.post(path).status_code == 303
    page = operator.get("/imports/")
    assert "Stopped ubuntu/noble amd64. The next import downloads the rest" in text_of(page)
    assert path not in page.text
    run.state, run.finished_at, run.plan = "succeeded", utcnow(), None
    db.session.commit()
    for place in ("/imports/", "/imports/history", f"/imports/{run.id}"):
        words = f"Stopped: ubuntu/noble amd64 by {operator.username}"
        assert words in text_of(operator.get(place))
        shown = text_of(viewer.get(place))
        assert "Stopped: ubuntu/noble amd64" in shown
        assert operator.username not in shown
    assert operator.post(path).status_code == 404
