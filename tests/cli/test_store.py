# SPDX-License-Identifier: Apache-2.0
"""``slipway store``: what is stored, and whether it is intact."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from tests.cli.shell import Shell
from tests.jobs import rotten
from tests.rack import images
from tests.support.live import wait_until
from webapp.extensions import db
from webapp.models import Blob, utcnow

pytestmark = pytest.mark.settings(scrub_rate=0)


def test_a_check_is_started_followed_and_finds_damage(region: Flask, slipway: Shell) -> None:
    images.image()
    db.session.execute(update(Blob).values(checked_at=utcnow() - timedelta(days=1)))
    db.session.commit()
    assert "3 files" in slipway("store", "show").stdout
    assert "No damage found" in slipway("store", "scrub").stdout
    slipway.start("worker")
    done = slipway("store", "scrub", "--now", "--rate", "0", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["is_running"]) == (0, False)
    assert (found["last_pass"]["files"], found["last_pass"]["damaged"]) == (3, 0)
    sha256 = db.session.query(Blob.sha256).order_by(Blob.id).first()[0]
    rotten.damage(sha256, "flip")
    done = slipway("store", "scrub", "--now")
    assert done.returncode == 1
    assert "1 damaged file." in done.stdout
    wait_until(lambda: "damaged" in slipway("doctor").stdout, "doctor names it")


def test_a_rate_is_for_a_check_that_starts(slipway: Shell) -> None:
    done = slipway("store", "scrub", "--rate", "5")
    assert done.returncode == 2
    assert "--now" in done.stderr
