# SPDX-License-Identifier: Apache-2.0
"""``slipway image restrict``."""

from __future__ import annotations

import json

from flask import Flask

from tests.cli.shell import Shell, refused
from tests.rack import images
from tests.support import factories
from webapp.extensions import db
from webapp.models import Event

MAC = "52:54:00:12:34:56"
NAME = ("image", "restrict", "ubuntu/noble")


def test_an_image_is_restricted_listed_and_given_back(region: Flask, slipway: Shell) -> None:
    images.image()
    folder = "ubuntu/amd64/ga-24.04/noble/stable"
    factories.saved(Event(kind="image.fetched", actor="198.51.100.7", subject=folder, detail={}))
    db.session.remove()
    assert slipway(*NAME).stdout == "ubuntu/noble amd64: for everyone\n"
    assert slipway("image", "restrict").stdout == "All images are for everyone.\n"
    wanted = (*NAME, "--network", "192.0.2.0/24", "--mac", MAC, "--note", "3 hosts")
    assert "Fetched lately from elsewhere: 198.51.100.7." in refused(slipway(*wanted))
    assert slipway(*NAME).stdout == "ubuntu/noble amd64: for everyone\n"
    code, screen = slipway.answered("n\n", *wanted)
    assert (code, "Restrict it?" in screen) == (130, True)
    done = slipway(*wanted, "--yes")
    assert done.stdout == f"ubuntu/noble amd64: kept to 192.0.2.0/24, {MAC} (3 hosts)\n"
    wider = slipway(*NAME, "--network", "192.0.2.0/23", "--mac", MAC)
    assert wider.returncode == 0, "it takes nothing from anyone"
    listed = json.loads(slipway("image", "restrict", "--json").stdout)
    assert [(one["name"], one["networks"]) for one in listed] == [
        ("ubuntu/noble", ["192.0.2.0/23"])
    ]
    assert slipway(*NAME, "--lift").stdout == "ubuntu/noble amd64 is for everyone now.\n"
    assert "for everyone already" in refused(slipway(*NAME, "--lift"))


def test_a_name_without_an_image_is_taken_and_said(region: Flask, slipway: Shell) -> None:
    done = slipway("image", "restrict", "win", "--network", "192.0.2.7", "--yes")
    assert "No such image is stored." in done.stdout
    assert "custom/win (not stored)" in slipway("image", "restrict").stdout


def test_what_cannot_be_meant_is_refused(region: Flask, slipway: Shell) -> None:
    assert "Enter 192.0.2.0/24" in refused(slipway(*NAME, "--network", "192.0.2.9/24", "--yes"))
    assert slipway(*NAME, "--lift", "--mac", MAC).returncode == 2
    assert slipway("image", "restrict", "--mac", MAC).returncode == 2
