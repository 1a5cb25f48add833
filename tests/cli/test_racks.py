# SPDX-License-Identifier: Apache-2.0
"""``slipway rack``: enrolling, listing and changing racks on other machines."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask import Flask

from tests.api.racks.remote import RemoteRack, ask
from tests.cli.shell import Shell
from tests.rack import images
from webapp.services.mirror import publishing


def test_racks_on_the_command_line(
    region: Flask, make_app: Callable[[str], Flask], slipway: Shell
) -> None:
    early = slipway("rack", "enrol")
    assert (early.returncode, "no signing key yet" in early.stderr) == (1, True)
    images.image()
    assert publishing.reconcile()
    assert "Next: slipway rack enrol" in slipway("rack", "list").stdout
    none = slipway("rack", "enrol", "--uses", "0", "--hours", "9999")
    assert "uses: Enter a number of at least 1." in none.stderr
    assert "hours: Enter a number of at most 720." in none.stderr
    line = slipway("rack", "enrol", "--uses", "2", "--hours", "1").stdout.strip()
    words = dict(word.split("=", 1) for word in line.split()[:2])
    assert line.endswith(" slipway run --role rack")
    assert words["SLIPWAY_REGION_URL"].endswith(":5240/")
    token = words["SLIPWAY_RACK_TOKEN"]
    web = make_app("web")
    first, _ = (RemoteRack(web, ask(web, token, f"rack-{n}").json) for n in (1, 2))
    first.follow()
    listed = slipway("rack", "list").stdout
    assert "Up to date" in listed
    assert "Never seen" in listed
    assert "0 of 2" in slipway("rack", "token", "list").stdout
    changed = slipway(
        "rack", "set", "rack-1", "--image", "ubuntu/noble/amd64", "--max-size", "200G", "--rate",
        "none", "--after", "rack-2",
    )  # fmt: skip
    assert changed.stdout.strip() == "Changed rack-1."
    found = json.loads(slipway("rack", "show", "rack-1", "--json").stdout)
    assert (found["mode"], found["max_bytes"], found["after_rack"]) == (
        *("chosen", 200 * 10**9, "rack-2"),
    )
    assert (
        "--after: That rack comes after"
        in slipway(*("rack", "set", "rack-2", "--after", "rack-1")).stderr
    )
    assert slipway("rack", "set", "rack-1").returncode == 2
    assert slipway("rack", "verify", "rack-1").returncode == 0
    assert "serves machines again" in slipway("rack", "undrain", "rack-1").stdout
    assert "is draining" in slipway("rack", "drain", "rack-1").stdout
    assert "Drained" in slipway("rack", "show", "rack-1").stdout
    assert slipway("rack", "show", "rack-9").returncode == 1
    assert slipway("rack", "remove", "rack-1").returncode == 1, "nobody confirmed it"
    assert slipway("rack", "remove", "rack-1", "--yes").stdout.strip() == "Removed rack-1."
    assert [one["name"] for one in json.loads(slipway("rack", "list", "--json").stdout)] == [
        "rack-2"
    ]
    assert slipway("rack", "token", "revoke", "1").returncode == 0
