# SPDX-License-Identifier: Apache-2.0
"""``slipway run`` and its planes as processes: start, restart, stop, and no orphans."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support import commands, live
from tests.support.live import LiveSlipway
from tests.support.ports import keep_port
from webapp.config import Settings
from webapp.server import planes, sockets, supervisor

MakeLive = Callable[[Mapping[str, str]], LiveSlipway]


def settings_of(**values: object) -> Settings:
    return Settings.load({f"SLIPWAY_{name.upper()}": str(v) for name, v in values.items()})


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def all_pids(slipway: LiveSlipway) -> list[int]:
    assert slipway.process is not None
    return [slipway.process.pid, *live.descendants(slipway.process.pid)]


def wait_until_gone(pids: list[int]) -> None:
    live.wait_until(lambda: not any(map(is_alive, pids)), f"none of {pids} is left")


# -- all three


def test_everything_starts_and_ctrl_c_ends_it(make_live: Callable[..., LiveSlipway]) -> None:
    slipway = make_live({}, commands.execute)
    pids = all_pids(slipway)
    for role in live.ROLES:
        assert slipway.pids(role), role
        assert live.command_line(slipway.pids(role)[0]) == f"slipway {role}"
    # The worker may just have gpg create the mirror's key.
    ours = re.compile(r"(^|/)slipway (run|web|rack|worker)\b")
    assert sum(bool(ours.search(live.command_line(pid))) for pid in pids) == 8
    link = re.search(r"^  (http://\S+/setup\?code=[\w-]{43})$", slipway.output(), re.MULTILINE)
    assert link is not None
    assert link[1].startswith(slipway.web_url)
    assert live.answers(link[1])
    assert slipway.stop() == 0
    wait_until_gone(pids)
    assert slipway.output().rstrip().endswith("Stopped.")
    assert "Traceback" not in slipway.output()


def test_there_is_no_setup_link_once_there_is_a_user(make_live: MakeLive) -> None:
    slipway = make_live({})
    assert slipway.stop() == 0
    slipway.cli("admin", "create", "ada", "--password-stdin", stdin=live.PASSWORD)
    before = len(slipway.output())
    slipway.start()
    output = slipway.output()[before:]
    live.wait_until(lambda: "Slipway is ready" in slipway.output()[before:], "it says so")
    assert "setup?code=" not in output


def test_a_killed_supervisor_leaves_no_process_behind(make_live: MakeLive) -> None:
    slipway = make_live({})
    pids = all_pids(slipway)
    process, slipway.process = slipway.process, None
    assert process is not None
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    wait_until_gone(pids)
    slipway.start()
    assert live.answers(slipway.web_url)


def test_what_dies_is_started_again(make_live: MakeLive) -> None:
    slipway = make_live({})
    for role in live.ROLES:
        killed = slipway.kill(role)
        slipway.wait_for(role, other_than=killed)
        # Nobody is refused meanwhile: the supervisor keeps the port.
        assert live.answers(slipway.web_url)
        assert live.answers(slipway.rack_url)
        assert f"{role} was killed by signal 9; it starts again" in slipway.output()
    assert slipway.stop() == 0


def test_a_signal_that_comes_twice_is_one(make_live: MakeLive) -> None:
    slipway = make_live({})
    process, slipway.process = slipway.process, None
    assert process is not None
    for _ in range(5):
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert slipway.output().rstrip().endswith("Stopped.")


def test_a_second_signal_stops_at_once(make_live: MakeLive) -> None:
    slipway = make_live({})
    pids = all_pids(slipway)
    for pid in slipway.pids("worker"):
        live.kill(pid, signal.SIGSTOP)  # as if it could not come to an end
    process, slipway.process = slipway.process, None
    assert process is not None
    process.send_signal(signal.SIGTERM)
    live.wait_until(lambda: "Stopping" in slipway.output(), "it is stopping")
    live.wait_until(lambda: not any(map(is_alive, pids[1:3])), "web and rack have ended")

    def is_urged() -> bool:
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    live.wait_until(is_urged, "it has ended")
    assert process.returncode == 1
    wait_until_gone(pids)
    assert "Killed worker." in slipway.output()


def test_tftp_is_served_beside_the_planes(tmp_path: Path) -> None:
    slipway = LiveSlipway(tmp_path)
    slipway.env["SLIPWAY_TFTP_BIND"] = f"{live.HOST}:{slipway.rack_port}"
    with slipway, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.sendto(b"\0\1/grub/grub.cfg\0octet\0", (live.HOST, slipway.rack_port))
        assert sock.recv(600).startswith(b"\0\3\0\1configfile /grub/grub.cfg-")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((live.HOST, 0))
            other = LiveSlipway(tmp_path / "other")
            port = taken.getsockname()[1]
            other.env["SLIPWAY_TFTP_BIND"] = f"{live.HOST}:{port}"
            with pytest.raises(AssertionError, match="can't serve TFTP"):
                other.__enter__()
    assert "Machines boot by TFTP from" in slipway.output()


@pytest.mark.parametrize("plane", ["web", "rack"])
def test_a_used_port_is_reported_in_a_sentence(plane: str, tmp_path: Path) -> None:
    slipway = LiveSlipway(tmp_path)
    port = {"web": slipway.web_port, "rack": slipway.rack_port}[plane]
    with socket.create_server((live.HOST, port)):
        with pytest.raises(AssertionError, match=f"Port {port} is already in use."):
            slipway.start()
    assert f"set SLIPWAY_{plane.upper()}_BIND to another port" in slipway.output()
    assert "Traceback" not in slipway.output()


def test_a_second_one_on_the_same_data_folder_is_refused(make_live: MakeLive) -> None:
    first = make_live({})
    second = LiveSlipway(first.data_dir)
    with pytest.raises(AssertionError, match="Slipway is already running with this data folder"):
        second.start()
    assert "Traceback" not in second.output()
    assert first.stop() == 0
    second.start()
    assert second.stop() == 0


def test_a_data_folder_that_cannot_be_written_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run.lock").mkdir()
    slipway = LiveSlipway(tmp_path)
    with pytest.raises(AssertionError, match="The data folder isn't writable"):
        slipway.start()
    assert "Traceback" not in slipway.output()


def test_a_wrong_setting_is_reported_in_a_sentence(tmp_path: Path) -> None:
    slipway = LiveSlipway(tmp_path, {"SLIPWAY_STORE": "tape"})
    with pytest.raises(AssertionError, match="SLIPWAY_STORE has an invalid value"):
        slipway.start()
    assert "Traceback" not in slipway.output()


def test_one_plane_alone_needs_a_migrated_database(tmp_path: Path) -> None:
    slipway = LiveSlipway(tmp_path)
    done = subprocess.run(
        [str(live.SLIPWAY), "rack"], env=slipway.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "Run `slipway db upgrade`." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "pauses"),
    [
        ("web", [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
        ("rack", [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]),
    ],
)
def test_a_child_that_fails_early_waits_longer_each_time_and_after_good_service_not_at_all(
    name: str, pauses: list[float], tmp_path: Path
) -> None:
    script = tmp_path / "supervise.py"
    script.write_text(
        textwrap.dedent("""
            import os, signal, sys, time
            from webapp.server import supervisor
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, supervisor.WATCHED)
            child = supervisor.Child(sys.argv[1], lambda: sys.exit(7))
            clock, pauses = [1000.0], []
            supervisor.time.monotonic = lambda: clock[0]

            def end():
                while child.pid:
                    time.sleep(0.01)
                    child.tend(mask)

            for _ in range(8):
                clock[0] += child.seconds_to_start()
                child.tend(mask)
                end()
                pauses.append(child.seconds_to_start())
            clock[0] += pauses[-1]
            child.run = lambda: time.sleep(600)
            child.tend(mask)
            clock[0] += supervisor.CALM_S
            killed = child.pid
            os.kill(killed, signal.SIGKILL)
            while child.pid == killed:  # the clock stands still: no pause is over
                time.sleep(0.01)
                child.tend(mask)
            child.kill()
            print(pauses)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script), name], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == str(pauses)
    assert f"{name} ended with code 7; it starts again" in done.stdout


def test_good_service_is_ten_seconds() -> None:
    assert supervisor.CALM_S == 10


# -- one plane


def test_options_of_the_planes() -> None:
    web = planes.options("web", settings_of(web_workers=3, web_threads=5))
    rack = planes.options("rack", settings_of(rack_workers=1, rack_threads=200))
    assert (web["workers"], web["threads"]) == (3, 5)
    assert (rack["workers"], rack["threads"]) == (1, 200)
    assert rack["worker_connections"] > 200
    assert web["keepalive"] > 2  # pages poll every two seconds
    for options in (web, rack):
        assert options["control_socket_disable"] is True
        assert options["forwarded_allow_ips"] == ""


def test_an_address_that_is_not_ours_is_reported_in_a_sentence() -> None:
    with pytest.raises(planes.AddressProblem) as caught:
        planes.listen("web", settings_of(web_bind="192.0.2.1:5240"))
    assert "Slipway can't listen on 192.0.2.1:5240" in caught.value.what
    assert caught.value.where == "SLIPWAY_WEB_BIND=192.0.2.1:5240"


def test_ipv6_addresses() -> None:
    port = keep_port()
    with planes.listen("web", settings_of(web_bind=f"[::1]:{port}")):
        with socket.create_connection(("::1", port), timeout=10):
            pass


def test_the_kernel_ends_connections_that_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "STALL_S", 1)
    port = keep_port()
    with (
        planes.listen("rack", settings_of(rack_bind=f"{live.HOST}:{port}")) as listener,
        socket.create_connection((live.HOST, port)),
        tempfile.TemporaryFile() as file,
    ):
        connection, _ = listener.accept()
        with connection:
            with pytest.raises(BlockingIOError):  # nothing is sent to us
                connection.recv(1)
            os.truncate(file.fileno(), 1 << 30)
            with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
                connection.sendfile(file)  # nothing is taken


@pytest.mark.parametrize("held", [0, 1, 3, 5])
@pytest.mark.parametrize("piece", [1, 7, 100])
def test_large_pieces_of_a_body_are_received_in_place(
    held: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was read ahead and however it arrives; small reads and the end are gunicorn's."""
    monkeypatch.setattr(sockets, "LARGE_PIECE", 4)
    data = bytes(range(40))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = sockets.InPlaceUnreader(ours)
        reader.unread(data[:held])
        sender = threading.Thread(target=send_slowly, args=(theirs, data[held:], piece))
        sender.start()
        found = [reader.read(size, read_ahead=20) for size in (4, 2, 6, 20, 3)]
        rest = reader.read(100)
        sender.join()
        assert b"".join(found) + rest == data
        assert [len(part) for part in found] == [4, 2, 6, 20, 3]
        assert reader.read(100) == b""


def send_slowly(sock: socket.socket, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece):
        sock.sendall(data[start : start + piece])
        time.sleep(0.001)
    sock.shutdown(socket.SHUT_WR)


def test_requests_that_come_together_are_distinguished(make_live: MakeLive) -> None:
    """A large body, and the next requests right behind it in the same packets."""
    slipway = make_live({})
    body = b"x" * 300_000
    host = f"Host: {live.HOST}:{slipway.web_port}\r\n"
    head = f"POST /MAAS/api/2.0/boot-resources/ HTTP/1.1\r\n{host}"
    lone = f"GET /login HTTP/1.1\r\n{host}\r\n"
    together = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + lone.encode() * 2
    with socket.create_connection((live.HOST, slipway.web_port), timeout=30) as sock:
        sock.sendall(together)
        file = sock.makefile("rb")
        statuses = [answer_of(file) for _ in range(3)]
    assert statuses[0] == 401  # read to its end, although nobody is signed in
    assert statuses[1] == statuses[2]


def answer_of(file: BinaryIO) -> int:
    """The status of the next answer; its body is read."""
    status = int(file.readline().split()[1])
    length = 0
    while line := file.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    file.read(length)
    return status
