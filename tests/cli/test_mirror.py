# SPDX-License-Identifier: Apache-2.0
"""``slipway mirror publish``, ``key`` and ``status``, with the worker that signs."""

from __future__ import annotations

import json

from flask import Flask

from tests.cli.shell import Shell
from tests.rack import images
from tests.support.live import wait_until
from webapp.extensions import db
from webapp.models import Event
from webapp.trust.keyrings import load_keyring


def test_the_mirror_on_the_command_line(region: Flask, slipway: Shell) -> None:
    images.image()
    done = slipway("mirror", "key")
    assert done.returncode == 1
    assert "There is no signing key yet" in done.stderr
    slipway.start("worker")
    wait_until(lambda: "Up to date" in slipway("mirror", "status").stdout, "it's published")
    found = json.loads(slipway("mirror", "status", "--json").stdout)
    assert (found["images"], found["files"]) == (1, 3)
    detail = {"version": str(found["revision"]), "requests": 3, "bytes": 5000, "status": 200}
    db.session.add(Event(kind="mirror.read", actor="10.0.0.7", subject="mirror", detail=detail))
    db.session.commit()
    [reader] = [x for x in slipway("mirror", "status").stdout.splitlines() if "10.0.0.7" in x]
    assert "the current state" in reader
    key = slipway("mirror", "key").stdout
    assert load_keyring(key.encode()).fingerprints == (found["fingerprint"],)
    assert slipway("mirror", "publish", "--image", "ubuntu/nobel").returncode == 1
    assert (
        "Offered: ubuntu/noble, without uploads"
        in slipway("mirror", "publish", "--image", "ubuntu/noble", "--no-uploads").stdout
    )
    moved = slipway("mirror", "publish", "--prefix", "maas/images").stdout
    assert moved.rstrip().endswith("/maas/images/")
    assert "--prefix: Slipway itself uses" in slipway("mirror", "publish", "--prefix", "api").stderr
    wait_until(lambda: slipway("mirror", "key", "--imgverify").returncode == 0, "it's made")
    assert "BEGIN CERTIFICATE" in slipway("mirror", "key", "--imgverify").stdout
    assert slipway("mirror", "publish", "off").stdout.startswith("Off.")
    assert slipway("mirror", "publish", "on", "--all").returncode == 0
    wait_until(lambda: "Up to date" in slipway("mirror", "status").stdout, "it's back")
    assert "local mirror" in slipway("doctor").stdout


def test_options_that_exclude_each_other(slipway: Shell) -> None:
    assert slipway("mirror", "key", "--now").returncode == 2
    assert slipway("mirror", "key", "--rotate", "--imgverify", "--now").returncode == 2
    assert slipway("mirror", "bundle", "out", "--split", "much").returncode == 2
    assert slipway("mirror", "publish", "--all", "--image", "x").returncode == 2
