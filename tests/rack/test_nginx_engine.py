# SPDX-License-Identifier: Apache-2.0
"""nginx as the rack: that it is nginx who sends, what is told of it, and how it ends."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack
from tests.rack.test_engines import fetch
from tests.support import commands, full_disk, live
from tests.support.databases import Databases
from tests.support.live import LiveSlipway
from tests.support.ports import keep_port
from webapp.config import Settings
from webapp.extensions import db, store
from webapp.models import Event, ResourceSet
from webapp.server import engines

ANOTHER = 54_321  # a user without a name, as containers have
# It may read all, since Python may be installed where only root may; nothing else is allowed to it.
AS_ANOTHER = (
    *("setpriv", f"--reuid={ANOTHER}", f"--regid={ANOTHER}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"),
    *("--bounding-set=-all,+dac_read_search", "--pdeathsig=TERM", "--"),
)
KERNEL = images.FILES["boot-kernel"]


@pytest.fixture
def rack(tmp_path: Path, sqlite_databases: Databases) -> Iterator[LiveRack]:
    rack = LiveRack(tmp_path, sqlite_databases.migrated(), rack_engine="auto")
    with rack.app.app_context():
        images.image()
    with rack:
        yield rack


def is_by_nginx(rack: LiveRack, path: str) -> bool:
    """Whether the bytes came by a link; the rack itself also sends their digest."""
    answer, _ = fetch(rack, path)
    assert answer.status == 200
    return answer.getheader("Repr-Digest") is None


def event_of(rack: LiveRack, actor: str) -> Event:
    def seen() -> Event | None:
        with rack.app.app_context():
            return db.session.scalar(select(Event).where(Event.actor == actor))

    live.wait_until(lambda: seen() is not None, "the event")
    event = seen()
    assert event is not None
    return event


def test_it_sends_what_is_whole_and_counts_it(rack: LiveRack) -> None:
    assert is_by_nginx(rack, f"{BASE}/boot-kernel")
    assert is_by_nginx(rack, f"{BASE}/20260105/boot-kernel")
    connection = http.client.HTTPConnection(
        live.HOST, rack.port, timeout=60, source_address=("127.0.0.78", 0)
    )
    connection.request("GET", f"{BASE}/squashfs", headers={"X-Forwarded-For": "198.51.100.1"})
    assert connection.getresponse().read() == images.FILES["squashfs"]
    connection.close()

    event = event_of(rack, "127.0.0.78")
    assert event.subject == BASE.removeprefix("/images/")
    assert event.detail["version"] == "20260105"
    assert event.detail["bytes"] == len(images.FILES["squashfs"])
    assert event.detail["files"] == ["squashfs"]

    def is_noted() -> bool:
        with rack.app.app_context():
            return db.session.scalar(select(ResourceSet.fetched_at)) is not None

    live.wait_until(is_noted, "the version is noted as fetched")


def test_names_and_folders_in_other_scripts_are_served(rack: LiveRack) -> None:
    with rack.app.app_context():
        images.image({"root é.tgz": b"root"}, release="größe")
    path = BASE.replace("noble", "gr%C3%B6%C3%9Fe") + "/root%20%C3%A9.tgz"
    live.wait_until(lambda: fetch(rack, path)[0].status == 200, "the new image")
    live.wait_until(lambda: is_by_nginx(rack, path), "its link")


def test_a_file_that_changed_on_the_disk_is_left_to_the_rack(rack: LiveRack) -> None:
    sha256 = hashlib.sha256(KERNEL).hexdigest()
    assert is_by_nginx(rack, f"{BASE}/boot-kernel")
    with rack.app.app_context():
        path = rack.app.extensions["slipway.settings"].store_dir / store().relative_path(sha256)
    path.chmod(0o600)
    path.write_bytes(KERNEL[:-1])
    live.wait_until(lambda: fetch(rack, f"{BASE}/boot-kernel")[0].status == 503, "it's refused")


def test_no_process_waits_for_a_connection_that_another_one_took(rack: LiveRack) -> None:
    assert rack.process is not None
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = (line.split() for line in table if f":{rack.port:04X} 00000000:0000 0A" in line)
    inode = next(fields[9] for fields in listening)
    flags = [
        int((folder.parent.parent / "fdinfo" / folder.name).read_text().split()[3], 8)
        for pid in live.descendants(rack.process.pid)
        if "nginx: worker" in live.command_line(pid)
        for folder in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(folder) == f"socket:[{inode}]"
    ]
    assert len(flags) == 1
    assert all(each & os.O_NONBLOCK for each in flags)


def test_it_stops_in_good_order_and_starts_again(rack: LiveRack) -> None:
    assert rack.process is not None
    servers = live.descendants(rack.process.pid)
    assert any("nginx" in live.command_line(pid) for pid in servers)
    assert rack.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in servers)
    with rack:
        assert fetch(rack, f"{BASE}/boot-kernel")[1] == KERNEL


def test_slipway_run_starts_it_again_when_either_server_is_killed(
    make_live: Callable[..., LiveSlipway],
) -> None:
    slipway = make_live({"SLIPWAY_RACK_ENGINE": "nginx", "SLIPWAY_WEB_WORKERS": "1"})
    for name in ("nginx: master", "slipway rack"):
        before = slipway.pids("rack")
        victim = next(pid for pid in before[1:] if name in live.command_line(pid))
        live.kill(victim, signal.SIGKILL)
        slipway.wait_for("rack", before)
        live.wait_until(lambda: live.answers(f"{slipway.rack_url}images/"), "it answers again")
    servers = slipway.pids("rack")
    assert slipway.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in servers)


def test_a_full_disk_does_not_stop_its_start(tmp_path: Path, sqlite_databases: Databases) -> None:
    with full_disk.small_disk(40 * full_disk.MIB) as disk:
        rack = LiveRack(disk, sqlite_databases.migrated(), rack_engine="nginx")
        rack.log = tmp_path / "rack.log"
        with rack.app.app_context():
            images.image()
        full_disk.fill(disk)
        with rack:
            assert fetch(rack, f"{BASE}/boot-kernel")[1] == KERNEL


def settings(folder: Path, **values: str) -> Settings:
    return Settings.load({"SLIPWAY_DATA_DIR": str(folder), **values})


def test_nginx_that_is_missing_is_refused_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(engines.EngineProblem, match="nginx isn't installed"):
        engines.chosen(settings(tmp_path, SLIPWAY_RACK_ENGINE="nginx"))
    assert engines.chosen(settings(tmp_path, SLIPWAY_RACK_ENGINE="auto")) is None
    assert engines.chosen(settings(tmp_path)) is None


def test_nginx_needs_files_and_folders_that_it_can_be_told(tmp_path: Path) -> None:
    asked = {"SLIPWAY_RACK_ENGINE": "nginx"}
    with pytest.raises(engines.EngineProblem, match="this store has none"):
        engines.chosen(settings(tmp_path, SLIPWAY_STORE="database", **asked))
    with pytest.raises(engines.EngineProblem, match="can't be told"):
        engines.chosen(settings(tmp_path / "a$b", **asked))
    assert str(engines.chosen(settings(tmp_path / "a b", **asked))).endswith("/nginx")


def pids_of(rack: LiveRack, title: str) -> list[int]:
    assert rack.process is not None
    found = live.descendants(rack.process.pid)
    return [pid for pid in found if title in live.command_line(pid)]


def test_a_start_ends_what_two_killed_processes_left_on_the_port(rack: LiveRack) -> None:
    assert rack.process is not None
    [master], workers = pids_of(rack, "nginx: master"), pids_of(rack, "nginx: worker")
    rack.process.send_signal(signal.SIGSTOP)  # it would end the workers, since the master did
    os.kill(master, signal.SIGKILL)
    live.wait_until(lambda: not live.command_line(master), "the master ended")
    rack.process.kill()
    rack.process.wait()
    assert workers
    assert all(map(_runs, workers))
    rack.__enter__()
    assert is_by_nginx(rack, f"{BASE}/boot-kernel")
    live.wait_until(lambda: not any(map(_runs, workers)), "the orphans are gone")


def _runs(pid: int) -> bool:
    return "nginx" in live.command_line(pid)


def test_a_second_rack_with_nginx_is_refused_in_the_same_folder(
    rack: LiveRack, tmp_path: Path
) -> None:
    port = keep_port()
    environ = {**os.environ, **rack.environ, "SLIPWAY_RACK_BIND": f"{live.HOST}:{port}"}
    second = commands.start(["rack"], environ, tmp_path / "second.log")
    assert second.wait(60) == 1
    said = (tmp_path / "second.log").read_text()
    assert "already serves machines from this data folder" in said
    assert is_by_nginx(rack, f"{BASE}/boot-kernel")


def as_another(
    args: list[str], env: Mapping[str, str], log: Path, **_: object
) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        command = [*AS_ANOTHER, str(commands.SLIPWAY), *args]
        return subprocess.Popen(command, env=dict(env), stdout=out, stderr=out)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_run_it(sqlite_databases: Databases) -> None:
    with tempfile.TemporaryDirectory(prefix="slipway-user-", dir="/tmp") as place:
        folder = Path(place)
        shutil.copy(sqlite_databases.migrated().removeprefix("sqlite:///"), folder / "its.db")
        rack = LiveRack(folder, f"sqlite:///{folder}/its.db", rack_engine="nginx")
        rack.launch = as_another
        with rack.app.app_context():
            images.image()
            db.session.remove()
            db.engine.dispose()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, ANOTHER, ANOTHER)
        with rack:
            assert is_by_nginx(rack, f"{BASE}/boot-kernel")
            assert fetch(rack, f"{BASE}/boot-kernel")[1] == KERNEL
            assert fetch(rack, f"{BASE}/nothing")[0].status == 404
            assert rack.process is not None
            running = live.descendants(rack.process.pid)
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in running} == {ANOTHER}
            assert rack.stop() == 0
