# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/mirror``: the local mirror for programs."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from tests.api.v1.typed import Typed
from tests.rack import images
from webapp.models import Role
from webapp.services.mirror import codesigning, publishing
from webapp.trust.keyrings import load_keyring


def test_the_mirror_is_shown_changed_and_its_key_given(program: Typed, region: Flask) -> None:
    empty = program.get("mirror")
    assert (empty["is_on"], empty["is_current"], empty["images"]) == (True, False, 0)
    assert program.get("mirror/key") == {"fingerprint": "", "public_key": ""}
    images.image()
    assert publishing.reconcile()
    found = program.get("mirror")
    assert (found["images"], found["files"], found["is_current"]) == (1, 3, True)
    assert found["url"].endswith(":5248/mirror/")
    key = program.get("mirror/key")
    assert load_keyring(key["public_key"].encode()).fingerprints == (found["fingerprint"],)
    assert key["fingerprint"] == found["fingerprint"]
    changed = program.call("PATCH", "mirror", {"chosen": ["ubuntu/noble"], "has_uploads": False})
    assert (changed.json["chosen"], changed.json["has_uploads"]) == (["ubuntu/noble"], False)
    wrong = program.call("PATCH", "mirror", {"chosen": ["ubuntu/nobel"]})
    assert (wrong.status_code, list(wrong.json["errors"])) == (422, ["images"])
    off = program.call("PATCH", "mirror", {"is_on": False}).json
    assert (off["is_on"], off["images"], off["chosen"]) == (False, 0, ["ubuntu/noble"])


def test_the_key_is_rotated_by_the_worker(program: Typed, region: Flask) -> None:
    publishing.reconcile()
    assert program.call("POST", "mirror/key/rotation", {}).status_code == 202
    publishing.reconcile()
    found = program.get("mirror")
    assert found["next_fingerprint"] not in ("", found["fingerprint"])
    assert program.call("POST", "mirror/key/rotation", {}).status_code == 409
    assert program.call("POST", "mirror/key/rotation", {"is_immediate": True}).status_code == 202
    publishing.reconcile()
    assert program.get("mirror")["fingerprint"] == found["next_fingerprint"]


def test_viewers_see_it_and_change_nothing(token_of: Callable[..., Typed]) -> None:
    viewer = token_of(Role.VIEWER)
    assert viewer.call("GET", "mirror").status_code == 200
    assert viewer.call("PATCH", "mirror", {"is_on": False}).status_code == 403
    assert viewer.call("POST", "mirror/key/rotation", {}).status_code == 403


def test_prefix_certificate_and_what_is_held(program: Typed, region: Flask) -> None:
    assert program.get("mirror/certificate") == dict.fromkeys(
        ("fingerprint", "certificate", "chain"), ""
    )
    images.image()
    assert len(program.get("mirror/held")["sha256"]) == 3
    codesigning.reconcile()
    found = program.get("mirror/certificate")
    assert found["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert found["chain"].endswith(found["certificate"])
    assert found["chain"].count("BEGIN CERTIFICATE") == 2
    assert program.get("mirror")["certificate"] == found["fingerprint"]
    assert program.call("POST", "mirror/certificate/rotation").status_code == 202
    codesigning.reconcile()
    assert program.get("mirror/certificate")["fingerprint"] != found["fingerprint"]
    moved = program.call("PATCH", "mirror", {"prefix": "maas/images"}).json
    assert (moved["prefix"], moved["url"][-18:]) == ("maas/images/", ":5248/maas/images/")
    wrong = program.call("PATCH", "mirror", {"prefix": "api"})
    assert (wrong.status_code, list(wrong.json["errors"])) == (422, ["prefix"])
