# SPDX-License-Identifier: Apache-2.0
"""Racks that follow a region, and each other: names, documents, bytes, restarts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import select

from tests.rack import images
from tests.rack.server import LiveRack
from tests.remoterack.remote import PATH, Line, RemoteRack, fetch, publish
from webapp.extensions import db
from webapp.models import BootResource
from webapp.services.mirror import codesigning, keys
from webapp.trust.keyrings import load_keyring

ROOT = random.Random(7).randbytes(3_000_000)
FILES = {**images.FILES, "squashfs": ROOT, "root-tgz": b""}
ODD = {"..data 1&2.tgz": b"first", "a%25b;c#d?é.tgz": b"second"}
MIRROR = "/mirror/streams/v1/"


@pytest.fixture(scope="module")
def fingerprint(region: LiveRack) -> str:
    """The region's key, once it has published FILES."""
    with region.app.app_context():
        images.image(FILES, product="p:v3:noble")
        images.image(ODD, name="odd", os="", release="ödd 1", product="p:v3:odd")
        db.session.remove()
    return publish(region)


@pytest.fixture(scope="module")
def rack(
    region: LiveRack, fingerprint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RemoteRack]:
    """A rack that fetches when it's asked."""
    folder = tmp_path_factory.mktemp("rack")
    with RemoteRack(folder, region.url, fingerprint) as found:
        found.wait_for(f"{PATH}/boot-kernel")
        yield found


def switch(region: LiveRack, content: bytes, version: str) -> None:
    """Publish another version of the image's squashfs, and sign it."""
    with region.app.app_context():
        [resource] = db.session.scalars(select(BootResource).where(BootResource.os == "ubuntu"))
        images.switch(resource, {**FILES, "squashfs": content}, version=version)
        db.session.remove()
    publish(region)


@pytest.mark.parametrize("name", ["boot-kernel", "squashfs", "root-tgz", "20260105/squashfs"])
def test_it_answers_what_its_region_answers(region: LiveRack, rack: RemoteRack, name: str) -> None:
    for headers in ({}, {"Range": "bytes=5-99"}, {"Range": "bytes=-7"}, {"If_None_Match": "*"}):
        here, there = (fetch(one.url, f"{PATH}/{name}", **headers) for one in (rack, region))
        assert (here.status, here.body) == (there.status, there.body)
        differing = {"Date", "Server", "Connection"}
        assert {k: v for k, v in here.headers.items() if k not in differing} == {
            k: v for k, v in there.headers.items() if k not in differing
        }
    assert (
        fetch(rack.url, f"{PATH}/{name}.sha256").body
        == fetch(region.url, f"{PATH}/{name}.sha256").body
    )


@pytest.mark.parametrize("name", ODD, ids=["dots", "marks"])
def test_odd_names_are_those_of_the_region(region: LiveRack, rack: RemoteRack, name: str) -> None:
    path = quote(f"/images/custom/amd64/ga-24.04/ödd 1/stable/{name}")
    here, there = fetch(rack.url, path), fetch(region.url, path)
    assert (here.status, here.body) == (there.status, there.body) == (200, ODD[name])
    assert here.headers["Content-Location"] == there.headers["Content-Location"]


def test_what_its_region_does_not_have_is_not_there(rack: RemoteRack) -> None:
    assert fetch(rack.url, f"{PATH}/nothing").status == 404
    assert fetch(rack.url, "/etc/passwd").status == 404
    assert fetch(rack.url, "/images/../rack/state.json").status == 404
    assert fetch(rack.url, f"/{PATH}//boot-kernel").body == images.FILES["boot-kernel"]


def test_it_gives_out_the_exact_signed_documents(region: LiveRack, rack: RemoteRack) -> None:
    for name in ("index.sjson", "index.json", "index.json.gpg", "rack.sjson"):
        assert fetch(rack.url, MIRROR + name).body == fetch(region.url, MIRROR + name).body
    assert fetch(rack.url, "/mirror/gpg.key").body == fetch(region.url, "/mirror/gpg.key").body


def test_it_gives_out_the_regions_signatures_for_ipxe(region: LiveRack, rack: RemoteRack) -> None:
    name = f"{PATH}/boot-kernel.sig"
    assert fetch(rack.url, name).status == 503
    with region.app.app_context():
        codesigning.reconcile()
        db.session.remove()
    assert rack.wait_for(name).body == fetch(region.url, name).body


def test_a_rack_behind_a_rack_has_what_the_region_signed(
    region: LiveRack, rack: RemoteRack, fingerprint: str, tmp_path: Path
) -> None:
    with RemoteRack(tmp_path / "third", rack.url, fingerprint, rack_mode="everything") as third:
        sha256 = hashlib.sha256(ROOT).hexdigest()
        third.wait_until(lambda: third.blob(sha256).exists(), "everything is here in advance")
        assert fetch(third.url, f"{PATH}/squashfs").body == ROOT
        content = random.Random(8).randbytes(100_000)
        switch(region, content, "20260301")
        third.wait_until(
            lambda: fetch(third.url, f"{PATH}/squashfs").body == content, "the new version"
        )
        pinned = fetch(third.url, f"{PATH}/20260105/squashfs")
        assert (pinned.status, pinned.body) == (200, ROOT)


def test_a_rack_serves_after_a_restart_while_its_region_is_away(
    region: LiveRack, fingerprint: str, tmp_path: Path
) -> None:
    with Line(region.url) as line:
        with RemoteRack(tmp_path / "rack", line.url, fingerprint) as rack:
            rack.wait_for(f"{PATH}/boot-kernel")
            rack.stop()
            line.is_cut = True
            rack.__enter__()
            assert fetch(rack.url, f"{PATH}/boot-kernel").body == images.FILES["boot-kernel"]
            missing = fetch(rack.url, f"{PATH}/boot-initrd")
            assert (missing.status, missing.headers["Retry-After"]) == (503, "5")
            assert fetch(rack.url, MIRROR + "rack.sjson").status == 200
            assert fetch(rack.url, "/readyz").status == 200
            line.is_cut = False
            assert rack.wait_for(f"{PATH}/boot-initrd").body == images.FILES["boot-initrd"]


def test_a_rack_that_was_off_or_cut_off_while_sets_changed_catches_up(
    region: LiveRack, fingerprint: str, tmp_path: Path
) -> None:
    with (
        Line(region.url) as line,
        RemoteRack(tmp_path / "rack", line.url, fingerprint) as rack,
    ):
        rack.wait_for(f"{PATH}/boot-kernel")
        for number, is_off in enumerate((True, False), 20):
            content = random.Random(number).randbytes(1000)
            if is_off:
                rack.stop()
            line.is_cut = True
            for day in (1, 2):  # more than one version is missed
                switch(region, content + bytes([day]), f"202603{number}.{day}")
            if is_off:
                rack.__enter__()
            old = fetch(rack.url, f"{PATH}/boot-kernel")
            assert (old.status, old.body) == (200, images.FILES["boot-kernel"])
            line.is_cut = False
            caught_up = partial(_has, rack, content + bytes([2]))
            rack.wait_until(caught_up, "the last version")


def _has(rack: RemoteRack, content: bytes) -> bool:
    return fetch(rack.url, f"{PATH}/squashfs").body == content


def test_an_older_tree_that_is_played_again_is_refused(
    region: LiveRack, fingerprint: str, tmp_path: Path
) -> None:
    with Line(region.url) as line:
        old: dict[str, bytes] = {}

        def record(path: str, body: bytes) -> bytes:
            return old.setdefault(path, body)

        line.alter = record
        with RemoteRack(tmp_path / "rack", line.url, fingerprint) as rack:
            rack.wait_for(f"{PATH}/boot-kernel")
            line.alter = lambda path, body: body
            content = random.Random(9).randbytes(1000)
            switch(region, content, "20260401")
            rack.wait_until(
                lambda: fetch(rack.url, f"{PATH}/squashfs").body == content, "the new version"
            )
            line.alter = lambda path, body: old.get(path, body)
            rack.wait_until(
                lambda: "older tree" in str(rack.status.get("errors")), "the refusal is reported"
            )
            assert fetch(rack.url, f"{PATH}/squashfs").body == content


def test_a_tree_that_is_altered_on_the_way_is_refused(
    region: LiveRack, fingerprint: str, tmp_path: Path
) -> None:
    with Line(region.url) as line:
        line.alter = lambda path, body: (
            body.replace(b'"version": "2026', b'"version": "2027') if "rack.sjson" in path else body
        )
        with RemoteRack(tmp_path / "rack", line.url, fingerprint) as rack:
            rack.wait_until(lambda: bool(rack.status.get("errors")), "the refusal is reported")
            assert fetch(rack.url, f"{PATH}/boot-kernel").status == 503
            line.alter = lambda path, body: body
            rack.wait_for(f"{PATH}/boot-kernel")


def test_another_key_is_refused(region: LiveRack, fingerprint: str, tmp_path: Path) -> None:
    other = ("0" if fingerprint[0] != "0" else "1") + fingerprint[1:]
    with RemoteRack(tmp_path / "rack", region.url, other) as rack:
        rack.wait_until(lambda: "doesn't trust" in str(rack.status.get("errors")), "the refusal")
        assert "slipway rack enrol" in str(rack.status["errors"]), "what to do"
        assert fetch(rack.url, f"{PATH}/boot-kernel").status == 503


def test_a_key_that_was_announced_is_followed(
    region: LiveRack, fingerprint: str, tmp_path: Path
) -> None:
    with RemoteRack(tmp_path / "rack", region.url, fingerprint) as rack:
        rack.wait_for(f"{PATH}/boot-kernel")
        trusted = rack.folder / "rack" / "trusted.key"
        before = trusted.read_bytes()
        for now in (False, True):  # announced, then in use
            with region.app.app_context():
                keys.request_rotation("ada", now=now)
                db.session.remove()
            content = random.Random(int(now)).randbytes(1000)
            switch(region, content, f"20260501.{int(now)}")
            rack.wait_until(
                partial(_has, rack, content), f"the version of a key that signs now: {now}"
            )
            if not now:
                rack.stop()
                trusted.write_bytes(before)  # the power went between tree and key
                rack.__enter__()
                assert trusted.read_bytes() != before
        assert len(load_keyring(trusted.read_bytes()).fingerprints) == 2
        rack.stop()
        rack.__enter__()
        assert fetch(rack.url, f"{PATH}/squashfs").body == content


def _has(rack: RemoteRack, content: bytes) -> bool:
    return fetch(rack.url, f"{PATH}/squashfs").body == content
