# SPDX-License-Identifier: Apache-2.0
"""Changes of where images come from, on the command line."""

from __future__ import annotations

import json
import re

import pytest
from flask import Flask

from tests.cli.shell import Shell, refused
from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support import factories
from webapp.extensions import db
from webapp.models import utcnow


@pytest.fixture
def ids(region: Flask) -> tuple[str, str]:
    """Two sources that offer noble and are selected for it."""
    found = []
    for name, priority in (("high", 5), ("low", 1)):
        row = factories.boot_source(
            name=name,
            priority=priority,
            refreshed_at=utcnow(),
            is_unsigned=True,
            keyring_filename="",
        )
        factories.cache_entry(row, version=str(priority))
        factories.selection(row)
        found.append(str(row.id))
    db.session.remove()
    return found[0], found[1]


def test_a_priority_is_tried_set_and_undone(slipway: Shell, ids: tuple[str, str]) -> None:
    change = ("source", "change", ids[1], "--priority", "9")
    shown = slipway(*change, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "ubuntu/noble" in shown.stdout
    assert json.loads(slipway("source", "show", ids[1], "--json").stdout)["priority"] == 1
    assert slipway(*change).stdout == f"Changed boot source {ids[1]}.\n"
    tried = json.loads(slipway("source", "undo", "--dry-run", "--json").stdout)
    assert [one["source"] for one in tried["moves"]] == ["high"]
    assert slipway("source", "undo").stdout == "Undone: low: priority 1 to 9.\n"
    assert "There's no change to undo." in refused(slipway("source", "undo"))


def test_an_image_is_bound_by_the_name_of_a_source(slipway: Shell, ids: tuple[str, str]) -> None:
    image = ("ubuntu/noble", "--arch", "amd64")
    assert "1 (low)" in slipway("image", "bind", *image, "--source", "low", "--dry-run").stdout
    assert slipway("image", "bindings").stdout == "No image is bound to a boot source.\n"
    assert "is bound to" in slipway("image", "bind", *image, "--source", "low").stdout
    assert "low" in slipway("image", "bindings").stdout
    assert "bound to this source" in " ".join(slipway("source", "offers").stdout.split())
    assert "No boot source is called" in refused(slipway("image", "bind", *image, "--source", "x"))
    assert "no longer bound" in slipway("image", "unbind", *image).stdout
    assert "isn't bound" in refused(slipway("image", "unbind", *image))


def test_removal_shows_what_moves_first(slipway: Shell, ids: tuple[str, str]) -> None:
    shown = slipway("source", "remove", ids[0], "--dry-run")
    assert "ubuntu/noble" in shown.stdout
    code, screen = slipway.answered("n\n", "source", "remove", ids[0])
    assert (code, "and its selections? [y/N]" in screen) == (130, True)
    for words in ((), ("--json",)):
        done = slipway("source", "remove", ids[0], *words)
        assert (done.returncode, "again with --yes" in done.stderr) == (1, True)
        assert done.stdout == "" or not words
    code, screen = slipway.answered("y\n", "source", "remove", ids[0], "--json")
    assert (code, "again with --yes" in screen) == (1, True)
    code, screen = slipway.answered("y\n", "source", "change", ids[0], "--off", "--json")
    assert (code, "This needs a confirmation: Make this change?" in screen) == (1, True)
    assert "Architecture" not in screen
    assert slipway("source", "show", ids[0]).returncode == 0
    assert "stream didn't go back" in refused(slipway("source", "accept", ids[0]))


def test_a_preview_of_a_filtered_mirror_warns_with_count_and_names(
    slipway: Shell, shared_mirror: Mirror
) -> None:
    gone = shared_mirror.newest(release="jammy", arch="amd64", ftype="boot-kernel")[0].path
    with MirrorServer(shared_mirror, [{"path": f"{gone}$", "status": 404}]) as server:
        words = ("--keyring", shared_mirror.keyring)
        done = slipway("source", "preview", server.source_url, *words)
    assert done.returncode == 0, done.stderr
    assert "checked, 1 missing, 0 of another size" in done.stderr
    assert f"Where: {gone}." in done.stderr
    assert "24.04" in done.stdout


def test_announcements_are_hidden_from_the_command_line(region: Flask, slipway: Shell) -> None:
    notice = {"maas_version": "3.0.0", "message": "New"}
    source_id = str(factories.boot_source(notices=[notice], refreshed_at=utcnow()).id)
    db.session.remove()
    assert "Announced: MAAS 3.0.0: New" in slipway("source", "show", source_id).stdout
    done = slipway("source", "dismiss", source_id)
    assert done.stdout.strip() == "Hidden from you for two weeks."
    assert "Announced" not in slipway("source", "show", source_id).stdout


def test_messages_name_options_and_not_the_fields_of_a_form(
    slipway: Shell, ids: tuple[str, str]
) -> None:
    done = slipway("source", "add", "http://mirror.example.test/")
    assert "Give a keyring with --keyring or --keyring-path" in refused(done)
    done = slipway("source", "preview", "not a url", "--keyring-path", "/nowhere/x.gpg")
    assert "The URL contains a space" in refused(done)
    done = slipway("source", "change", ids[0], "--username", "ann", "--yes")
    assert not re.search(r"[a-z]_[a-z]", done.stderr), done.stderr
