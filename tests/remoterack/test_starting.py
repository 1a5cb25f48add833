# SPDX-License-Identifier: Apache-2.0
"""What stops the start of a rack, in words."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from werkzeug.test import Client

from tests.rack.server import request
from tests.remoterack.remote import RemoteRack
from tests.support import commands
from tests.support.partials import stopped_after_the_first_chunk
from tests.support.ports import HOST, keep_port
from webapp.config import Settings
from webapp.errors import Problem
from webapp.remoterack import app, jsonfiles
from webapp.remoterack.errors import RackProblem
from webapp.remoterack.events import BATCH, EventLog
from webapp.remoterack.filling import Fill, Fills, Wanted
from webapp.remoterack.state import RackSettings, State
from webapp.remoterack.upstreams import Upstreams
from webapp.storage.base import Check, no_check
from webapp.storage.errors import StoreFull
from webapp.storage.files import FileWriter
from webapp.storage.filesystem import FilesystemStore
from webapp.trust import signing

FINGERPRINT = "0123456789ABCDEF" * 2 + "01234567"


def settings(folder: Path, **values: str) -> Settings:
    named = {f"SLIPWAY_{name.upper()}": value for name, value in values.items()}
    return Settings.load({"SLIPWAY_DATA_DIR": str(folder), **named})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no SLIPWAY_REGION_URL"),
        ({"region_url": "http://r"}, "SLIPWAY_REGION_URL alone"),
        ({"region_url": "http://r", "rack_token": "only-a-secret"}, "40 hex digits"),
        ({"region_url": "http://r", "rack_fingerprint": "12"}, "2 characters"),
    ],
    ids=["nothing", "a region alone", "half a token", "half a fingerprint"],
)
def test_what_is_missing_is_named(tmp_path: Path, values: dict[str, str], words: str) -> None:
    with pytest.raises(RackProblem) as caught:
        app.fingerprint_of(settings(tmp_path, **values))
    assert words in str(caught.value)


def test_the_command_says_it(tmp_path: Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY_")}
    env = {
        **inherited,
        "SLIPWAY_DATA_DIR": str(tmp_path / "data"),
        "SLIPWAY_RACK_BIND": f"{HOST}:{keep_port()}",
    }
    done = commands.run(["run", "--role", "rack"], env)
    assert done.returncode == 1
    assert b"slipway rack enrol" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_rack_without_a_tree_is_alive_and_not_ready(tmp_path: Path) -> None:
    rack = app.RemoteRack(settings(tmp_path, region_url="http://r", rack_fingerprint=FINGERPRINT))
    client = Client(rack)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_an_address_has_so_many_connections_and_others_have_theirs(tmp_path: Path) -> None:
    region = f"http://{HOST}:{keep_port()}"
    rack = RemoteRack(tmp_path / "rack", region, FINGERPRINT, rack_connections=2)
    with rack, rack.connection("127.0.0.9"), rack.connection("127.0.0.9"):
        assert rack.say(request("/healthz"), "127.0.0.9").startswith(b"HTTP/1.1 429 ")
        assert rack.say(request("/healthz"), "127.0.0.10").startswith(b"HTTP/1.1 200 ")


def test_a_folder_that_follows_another_region_is_refused(tmp_path: Path) -> None:
    known = settings(tmp_path, region_url="http://r", rack_fingerprint=FINGERPRINT)
    folder = app.prepare(known)
    other = signing.new_key("another region")
    (folder / "trusted.key").write_bytes(other.public)
    jsonfiles.write(folder / "pinned.json", {"fingerprint": other.fingerprint})
    with pytest.raises(RackProblem) as caught:
        app.prepare(known)
    assert caught.value.code == "rack-key"
    assert other.fingerprint in str(caught.value)
    app.prepare(settings(tmp_path, region_url="http://r", rack_fingerprint=other.fingerprint))


def test_events_keep_their_numbers_across_restarts_and_power_cuts(tmp_path: Path) -> None:
    path = tmp_path / "events"
    log = EventLog(path)
    for number in range(3):
        log.add("image.fetched", "10.0.0.1", "ubuntu/noble", status=200, size=5, file=f"f{number}")
    log.add("image.fetched", "10.0.0.1", "ubuntu/noble", status=206, size=7, file="f0")
    log.add("mirror.read", "10.0.0.1", "mirror", status=200, size=5, file="index")
    log.close()
    with path.open("ab") as file:
        file.write(b'{"id": 4, "at": "2026')  # the power went
    again = EventLog(path)
    batch = again.batch()
    assert [(one["id"], one["bytes"]) for one in batch] == [(1, 12), (2, 5), (3, 5)]
    again.confirm(3)
    assert EventLog(path).batch() == []
    last = EventLog(path)
    last.add("image.fetched", "10.0.0.1", "ubuntu/noble", status=200, size=5, file="f0")
    last.flush()
    assert [one["id"] for one in last.batch()] == [4]
    assert len(last.batch()) <= BATCH


class FullStore(FilesystemStore):
    """A store without room."""

    def writer(self, sha256: str, size: int, check: Check = no_check) -> FileWriter:
        raise StoreFull("the store", needed=size, free=0)


def test_a_full_disk_is_an_error_that_is_reported(tmp_path: Path) -> None:
    store = FullStore(tmp_path)
    store.prepare(create=True)
    noted: list[Problem] = []
    fills = Fills(
        store,
        Upstreams(["http://127.0.0.1:9/mirror/"], lambda: 0),
        is_here=lambda sha256: False,
        make_room=lambda size: None,
        on_bytes=lambda count: None,
        on_done=lambda wanted: None,
        on_problem=noted.append,
    )
    wanted = Wanted("0" * 64, 1000, "sha256/x")
    fill = fills.get(wanted)
    assert isinstance(fill, Fill)
    assert fill.wait_over(30)
    assert [one.code for one in noted] == ["store-full"]
    again = fills.get(wanted)
    assert isinstance(again, Problem), "it isn't tried again at once"
    fills.close()


def test_a_rack_that_ends_does_not_hash_to_the_end_what_it_received(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    store.prepare(create=True)
    wanted = Wanted("0" * 64, 5000, "sha256/x")
    with store.writer(wanted.sha256, wanted.size) as writer:
        writer.write(bytes(1000))
    upstreams = Upstreams(["http://127.0.0.1:9/mirror/"], lambda: 0)
    fills = Fills(
        store,
        upstreams,
        is_here=lambda sha256: False,
        make_room=lambda size: None,
        on_bytes=lambda count: None,
        on_done=lambda wanted: None,
        on_problem=lambda problem: None,
    )
    with stopped_after_the_first_chunk(upstreams.close) as ended:
        fill = fills.get(wanted)
        assert isinstance(fill, Fill)
        assert fill.wait_over(30)
    fills.close()
    assert ended == []
    assert [part.received for part in store.partials()] == [1000]


def test_threads_that_keep_the_state_at_once_spoil_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = State.load(path, RackSettings())

    def keep(count: int) -> None:
        for _ in range(count):
            state.counts.add(hits=1)
            state.save()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, [25] * 4))
    assert State.load(path, RackSettings()).counts.totals()["hits"] == 100
