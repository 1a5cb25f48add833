# SPDX-License-Identifier: Apache-2.0
"""A rack with a region that knows it: enrolled, told, reporting, drained, removed."""

from __future__ import annotations

import hashlib
import random
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.rack import images
from tests.remoterack.remote import PATH, Line, RemoteRack, fetch, publish
from tests.support.databases import Databases
from tests.web.test_slow_clients import LiveWeb
from webapp.extensions import db
from webapp.models import BootResource, Event, Rack, ResourceSet
from webapp.remoterack.errors import RackProblem
from webapp.remoterack.region import Enrolment, Region
from webapp.services.images import steering
from webapp.services.mirror import options
from webapp.services.racks import changing, tokens

ROOT = random.Random(3).randbytes(1_000_000)
FILES = {**images.FILES, "squashfs": ROOT}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture(scope="module")
def region(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> Iterator[LiveWeb]:
    """The pages' process of a region, which also gives out the mirror."""
    folder: Path = tmp_path_factory.mktemp("region")
    with LiveWeb(folder, sqlite_databases.migrated(), web_workers=1) as found:
        with found.app.app_context():
            images.image(FILES, product="p:v3:noble")
            images.image(
                {"squashfs": b"jammy"}, name="ubuntu/jammy", release="jammy", product="p:v3:jammy"
            )
            db.session.remove()
        publish(found)
        yield found


@pytest.fixture(scope="module")
def token(region: LiveWeb) -> str:
    """A token for all racks of this module."""
    with region.app.app_context():
        found = tokens.create("ada", uses=10)[1]
        db.session.remove()
    return found


@pytest.fixture
def rack(region: LiveWeb, token: str, tmp_path: Path) -> Iterator[RemoteRack]:
    """An enrolled rack."""
    with RemoteRack(tmp_path, region.url, "", rack_token=token, rack_name=tmp_path.name) as found:
        found.wait_for(f"{PATH}/boot-kernel")
        yield found


def row(region: LiveWeb, rack: RemoteRack) -> Rack:
    """What the region knows of it."""
    with region.app.app_context():
        found = db.session.scalars(select(Rack).where(Rack.name == rack.folder.name)).one()
        db.session.expunge(found)
        db.session.remove()
    return found


def change(region: LiveWeb, rack: RemoteRack, **values: Any) -> None:
    """Set what an administrator sets."""
    with region.app.app_context():
        changing.change(row(region, rack).id, "ada", **values)
        db.session.remove()


def test_an_enrolled_rack_fetches_everything_and_reports_it(
    region: LiveWeb, rack: RemoteRack
) -> None:
    path = rack.folder / "rack" / "credential.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    size = sum(map(len, FILES.values())) + len(b"jammy")
    rack.wait_until(lambda: row(region, rack).bytes == size, "it reports all bytes")
    rack.wait_until(lambda: row(region, rack).held_state > 0, "it reports the state it holds")
    found = row(region, rack)
    assert (found.files, found.wanted_bytes, found.errors) == (len(FILES) + 1, size, [])
    assert found.fetched_bytes == size
    rack.wait_until(lambda: row(region, rack).verified_at is not None, "it verified its store")


def test_a_publish_reaches_it_at_once(region: LiveWeb, rack: RemoteRack) -> None:
    content = random.Random(time.monotonic_ns()).randbytes(500)
    with region.app.app_context():
        resource = db.session.scalars(
            select(BootResource).where(BootResource.release == "jammy")
        ).one()
        images.switch(resource, {"squashfs": content}, version=f"2027{time.time_ns() % 10**6:06}")
        db.session.remove()
    publish(region)
    jammy = PATH.replace("noble", "jammy")
    rack.wait_until(lambda: fetch(rack.url, f"{jammy}/squashfs").body == content, "the new version")
    digest = hashlib.sha256(content).hexdigest()
    rack.wait_until(lambda: rack.blob(digest).exists(), "it's fetched in advance")


def test_a_roll_back_reaches_it(region: LiveWeb, rack: RemoteRack) -> None:
    versions = {f"20280101.{n}": random.Random(n).randbytes(700) for n in (1, 2)}
    jammy = PATH.replace("noble", "jammy")
    with region.app.app_context():
        query = select(BootResource).where(BootResource.release == "jammy")
        resource = db.session.scalars(query).one()
        id = resource.id
        for version, content in versions.items():
            images.switch(resource, {"squashfs": content}, version=version)
        both = ResourceSet.resource_id == id, ResourceSet.version.in_(versions)
        db.session.execute(update(ResourceSet).where(*both).values(retired_at=None))  # it's kept
        db.session.commit()
        db.session.remove()
    publish(region)
    old, new = versions
    for version in (new, old):
        with region.app.app_context():
            steering.roll([id], version, "ada")
            db.session.remove()
        publish(region)
        is_there = partial(_has, rack, f"{jammy}/squashfs", versions[version])
        rack.wait_until(is_there, f"version {version}")
    digest = hashlib.sha256(versions[old]).hexdigest()
    assert fetch(rack.url, f"{jammy}/squashfs.sha256").body.startswith(digest.encode())
    assert fetch(rack.url, f"{jammy}/squashfs").headers["ETag"] == f'"{digest}"'


def test_a_mirror_that_is_off_for_others_is_there_for_it(
    region: LiveWeb, token: str, tmp_path: Path
) -> None:
    with region.app.app_context():
        options.change("ada", is_on=False)
        db.session.remove()
    try:
        with RemoteRack(tmp_path, region.url, "", rack_token=token, rack_name="hidden") as rack:
            publish(region)  # as the worker does once a rack is enrolled
            rack.wait_for(f"{PATH}/boot-kernel")
            rack.wait_until(lambda: rack.blob(DIGESTS["squashfs"]).exists(), "it has every file")
            index = "/mirror/streams/v1/index.sjson"
            rack.wait_until(lambda: fetch(region.url, index).status == 404, "it's off for others")
    finally:
        with region.app.app_context():
            options.change("ada", is_on=True)
            db.session.remove()
        publish(region)


def test_fetches_become_events_of_the_region_and_survive_its_absence(
    region: LiveWeb, token: str, tmp_path: Path
) -> None:
    def fetched() -> list[int]:
        with region.app.app_context():
            rows = db.session.scalars(select(Event).where(Event.kind == "image.fetched")).all()
            found = [one.detail["bytes"] for one in rows if one.detail.get("rack") == tmp_path.name]
            db.session.remove()
        return found

    with (
        Line(region.url) as line,
        RemoteRack(tmp_path, line.url, "", rack_token=token, rack_name=tmp_path.name) as rack,
    ):
        rack.wait_for(f"{PATH}/boot-kernel")
        rack.wait_until(lambda: rack.blob(DIGESTS["squashfs"]).exists(), "all is here")
        rack.wait_until(lambda: fetched() == [len(FILES["boot-kernel"])], "the first event")
        line.is_cut = True
        assert fetch(rack.url, f"{PATH}/squashfs").body == ROOT
        rack.stop()
        rack.__enter__()
        assert fetch(rack.url, f"{PATH}/squashfs").body == ROOT
        line.is_cut = False
        rack.wait_until(lambda: sum(fetched()) == 2 * len(ROOT) + 8, "all events, each once")


def test_settings_of_the_region_count(region: LiveWeb, rack: RemoteRack) -> None:
    change(region, rack, is_drained=True)
    rack.wait_for(f"{PATH}/boot-kernel", 503)
    change(region, rack, is_drained=False)
    rack.wait_for(f"{PATH}/boot-kernel")
    change(region, rack, mode="chosen", images=["ubuntu/noble/amd64"], max_bytes=2_000_000)
    rack.wait_until(
        lambda: row(region, rack).wanted_bytes == sum(map(len, FILES.values())), "chosen"
    )
    path = rack.blob(DIGESTS["squashfs"])
    rack.wait_until(path.exists, "the chosen image is here")
    before = row(region, rack).verified_at
    with path.open("r+b") as file:
        file.write(b"rotten")
    with region.app.app_context():
        changing.verify(row(region, rack).id, "ada")
        db.session.remove()
    rack.wait_until(
        lambda: path.exists() and path.read_bytes() == ROOT, "the damaged file is fetched again"
    )
    rack.wait_until(lambda: row(region, rack).verified_at != before, "verified is reported")
    assert "damaged" in str(row(region, rack).errors)


def _has(rack: RemoteRack, path: str, content: bytes) -> bool:
    return fetch(rack.url, path).body == content


def test_a_mirror_that_moves_is_followed(region: LiveWeb, rack: RemoteRack) -> None:
    for prefix in ("elsewhere", "mirror"):
        with region.app.app_context():
            options.change("ada", prefix=prefix)
            resource = db.session.scalars(
                select(BootResource).where(BootResource.release == "jammy")
            ).one()
            images.switch(resource, {"squashfs": prefix.encode()}, version=f"2028-{prefix}")
            db.session.remove()
        publish(region)
        jammy = PATH.replace("noble", "jammy")
        is_there = partial(_has, rack, f"{jammy}/squashfs", prefix.encode())
        rack.wait_until(is_there, f"the version that was published at /{prefix}/")


def test_a_removed_rack_serves_what_it_has_and_says_so(region: LiveWeb, rack: RemoteRack) -> None:
    rack.wait_until(lambda: rack.blob(DIGESTS["squashfs"]).exists(), "all is here")
    with region.app.app_context():
        changing.remove(row(region, rack).id, "ada")
        db.session.remove()
    rack.wait_until(lambda: "isn't enrolled" in rack.status.get("trouble", ""), "it says so")
    assert fetch(rack.url, f"{PATH}/squashfs").body == ROOT


def test_a_token_that_is_used_up_stops_the_start(region: LiveWeb, tmp_path: Path) -> None:
    with region.app.app_context():
        found = tokens.create("ada", uses=1)
        fingerprint = found[1].rpartition(".")[2]
        db.session.remove()
    rack = RemoteRack(tmp_path, region.url, "", rack_token=f"wrong.{fingerprint}")
    with pytest.raises(AssertionError), rack:
        raise LookupError("it started")
    assert "token" in rack.log.read_text()


def test_a_name_that_is_taken_is_said_with_what_to_do(
    region: LiveWeb, rack: RemoteRack, token: str, tmp_path: Path
) -> None:
    there = Region(f"{region.url.rstrip('/')}/")
    with pytest.raises(RackProblem) as caught:
        there.enrol(token, rack.folder.name, "", "0.1.0", tmp_path / "answer.json")
    assert "enrolled already" in caught.value.what
    assert "another name" in caught.value.next_step
    assert Enrolment.load(tmp_path / "answer.json") is None
