# SPDX-License-Identifier: Apache-2.0
"""``slipway run``: web, rack and worker as children of one process that keeps them alive.

Children are forks: what is imported once serves all three and is in memory once, which
halves the time until the first page answers. The supervisor itself has no thread and no
open database when it forks. The listening sockets belong to it, so machines wait instead
of being refused while a plane is started again.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from webapp import Plane, create_app, database, logs
from webapp.config import Settings
from webapp.errors import Problem
from webapp.extensions import db
from webapp.server import memory

log = structlog.get_logger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WATCHED = {*STOPPING, signal.SIGCHLD}
STOP_S = 40.0  # a child that did not stop by then is killed
TWICE_S = 1.0  # a signal that comes again within this time is the same one
CALM_S = 10.0  # a child that served for this long restarts without a pause
MAX_PAUSE_S = {"rack": 5.0}  # machines that boot now can't wait longer
PR_SET_PDEATHSIG = 1

Mask = set[int | signal.Signals]


class AlreadyRunning(Problem):
    """Another supervisor has this data folder."""

    code = "runs-already"


def supervise(settings: Settings) -> int:
    """Keep everything running until a signal; returns the exit code. Raises a Problem."""
    from webapp import api, rack, web
    from webapp.server import engines, orphans, tftp, worker
    from webapp.server import planes as serve

    settings = database.prepared(settings)
    logs.configure(settings)
    engines.chosen(settings)  # refused now, rather than in each start of the rack
    held = lock_data_dir(settings.data_dir)
    orphans.end(settings.data_dir)
    planes: tuple[Plane, ...] = ("web", "rack")
    listeners = {plane: serve.listen(plane, settings) for plane in planes}
    tftp_socket = tftp.listen(settings) if settings.tftp_bind else None
    setup_code = prepare(settings)
    memory.share(api, rack, web)

    def keep_only(kept: socket.socket | None) -> None:
        held.close()
        for listener in (*listeners.values(), tftp_socket):
            if listener is not None and listener is not kept:
                listener.close()

    def run(plane: Plane) -> None:
        keep_only(listeners[plane])
        engines.run_plane(plane, settings, listeners[plane])

    def work() -> None:
        keep_only(None)
        sys.exit(worker.run_worker(create_app(settings, plane="none")))

    def give(sock: socket.socket) -> None:
        keep_only(sock)
        tftp.run_tftp(settings, sock)

    children = [
        Child("web", lambda: run("web")),
        Child("rack", lambda: run("rack")),
        Child("worker", work),
    ]
    if tftp_socket is not None:
        children.append(Child("tftp", lambda: give(tftp_socket)))
    try:
        return keep_running(
            children, list(listeners.values()), lambda: _announce(settings, setup_code)
        )
    finally:
        database.fold_journals(settings.database_url, settings.queue_url)


def keep_running(
    children: list[Child], listeners: list[socket.socket], announce: Callable[[], None]
) -> int:
    """Start children and keep them running until a signal; returns the exit code.

    announce: called once, when every listener is answered.
    """
    probes = [ReadinessProbe(listener) for listener in listeners]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        for child in children:
            child.start(mask)
        is_ready = False
        while True:
            caught = signal.sigtimedwait(WATCHED, _pause(children, is_ready))
            if caught is not None and caught.si_signo in STOPPING:
                for listener in listeners:
                    listener.close()
                return _stop(children)
            for child in children:
                child.tend(mask)
            if not is_ready and all(probe.is_answered() for probe in probes):
                is_ready = True
                announce()
    finally:  # signals stay blocked: whoever presses Ctrl-C on has been heard
        for child in children:
            child.kill()


def lock_data_dir(folder: Path) -> BinaryIO:
    """Lock a data folder for this process; closing the file unlocks it.

    Two supervisors would both make a setup link, and only the later one would
    work. Raises AlreadyRunning, Problem.
    """
    path = folder / "run.lock"
    try:
        file = path.open("ab")
    except OSError as error:
        raise Problem(
            "The data folder isn't writable.",
            code="data-folder",
            where=str(path),
            expected="a file that this user can write to",
            got=error.strerror or str(error),
            next_step="Give the user that Slipway runs as write access, and free up space.",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AlreadyRunning(
            "Slipway is already running with this data folder.",
            where=str(folder),
            next_step="Stop the other `slipway run`, or set SLIPWAY_DATA_DIR to another folder.",
        ) from None
    return file


def prepare(settings: Settings) -> str | None:
    """Migrate the database to the latest schema; returns the setup code while there is no user."""
    from webapp.services.accounts import users
    from webapp.services.sources.first_start import ensure_defaults
    from webapp.services.system import reserve

    with create_app(settings, plane="none").app_context():
        reserve.keep()
        database.upgrade(db.engine, key=settings.secret_key)
        ensure_defaults(settings)
        code = users.ensure_setup_code()
        db.session.remove()
        db.engine.dispose()
    return code


def _pause(children: list[Child], is_ready: bool) -> float:
    """Seconds until a child has to be checked; a signal ends the wait earlier."""
    if not is_ready:
        return 0.03
    return min(child.seconds_to_start() for child in children)


def _announce(settings: Settings, setup_code: str | None) -> None:
    web = settings.public_url or url_of(settings.web_bind)
    say(f"Slipway is ready: {web}")
    say(f"Machines fetch from {settings.rack_url or url_of(settings.rack_bind)}images/")
    if settings.tftp_bind:
        say(f"Machines boot by TFTP from {settings.tftp_bind}")
    if setup_code:
        say("Create the first administrator within 24 hours with this link, which works once:")
        say(f"  {web}setup?code={setup_code}")


def say(line: str) -> None:
    """Print a line; a closed output stops nothing."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def url_of(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    return f"http://{'localhost' if host in ('0.0.0.0', '[::]') else host}:{port}/"  # noqa: S104


def _stop(children: list[Child]) -> int:
    """Stop all children in good order; a second signal, or time running out, kills them."""
    began = time.monotonic()
    for child in children:  # before a word is printed: the output may be closed
        child.terminate()
    say("Stopping; press Ctrl-C again to stop at once.")
    while any(child.is_running() for child in children):
        caught = signal.sigtimedwait(WATCHED, 0.5)
        passed = time.monotonic() - began
        # timeout(1) and make(1) send the one signal twice: that is no second wish.
        is_urged = caught is not None and caught.si_signo in STOPPING and passed > TWICE_S
        if is_urged or passed > STOP_S:
            slow = [child.name for child in children if child.is_running()]
            say(f"Killed {', '.join(slow)}.")
            return 1
    say("Stopped.")
    return 0


def pause_s(failures: int, longest: float) -> float:
    """Seconds before a restart: none after good service, then doubling from half a second.

    failures: how often in a row the process ended before it had served for CALM_S.
    """
    return min(longest, 2.0 ** (min(failures, 16) - 2)) if failures else 0.0


@dataclass
class Child:
    """One process that restarts when it ends, after a longer pause each time it fails early."""

    name: str
    run: Callable[[], None]
    pid: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0

    def start(self, mask: Mask) -> None:
        """Fork; the child never returns from here."""
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self.pid = os.fork()
        self.started_at = time.monotonic()
        if self.pid == 0:
            _be_a_child(self.name, self.run, parent, mask)
        with contextlib.suppress(OSError):  # whoever comes first, child or parent, is right
            os.setpgid(self.pid, self.pid)

    def is_running(self) -> bool:
        """Whether the process is there; collects it when it ended."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
        return self.pid != 0

    def tend(self, mask: Mask) -> None:
        """Notice that it ended, start it again when its time has come."""
        now = time.monotonic()
        if self.pid:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid:
                return
            self.pid = 0
            self.failures = 0 if now - self.started_at >= CALM_S else self.failures + 1
            pause = pause_s(self.failures, MAX_PAUSE_S.get(self.name, 30.0))
            self.start_at = now + pause
            code = os.waitstatus_to_exitcode(status)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            log.warning(f"{self.name} {how}; it starts again", in_s=round(pause, 1))
        if now >= self.start_at:
            self.start(mask)

    def seconds_to_start(self) -> float:
        """How long nothing is to be done for it."""
        return 3600.0 if self.pid else max(0.0, self.start_at - time.monotonic())

    def terminate(self) -> None:
        """Ask it to stop."""
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and whatever it started."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


def _be_a_child(name: str, run: Callable[[], None], parent: int, mask: Mask) -> None:
    """Run in a fork and leave without returning to the supervisor's code.

    A group of its own keeps Ctrl-C in a terminal with the supervisor. The
    kernel sends SIGTERM when the supervisor dies, even by kill -9.
    """
    code = 1
    try:
        os.setpgid(0, 0)
        _set_title(f"slipway {name}")
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)  # it died before we could ask for the signal
        for number in WATCHED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        run()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except Problem as problem:
        log.error(f"{name} could not start", problem=str(problem))
    except BaseException:
        log.exception(f"{name} failed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _set_title(title: str) -> None:
    """Make ``ps`` show what a fork does: write over the command line, within its bounds."""
    with open("/proc/self/stat") as stat:
        start, end = map(int, stat.read().rpartition(")")[2].split()[45:47])
    size = end - start
    ctypes.memmove(start, title.encode()[: size - 1].ljust(size, b"\0"), size)
    with open("/proc/self/comm", "w") as name:
        name.write(title[:15])


class ReadinessProbe:
    """One request to a plane, to learn when it answers; never blocks."""

    def __init__(self, listener: socket.socket) -> None:
        self._address = _loopback(listener.getsockname())
        self._family = listener.family
        self._socket: socket.socket | None = None
        self._answered = False

    def is_answered(self) -> bool:
        """Whether the plane has answered so far."""
        if self._answered:
            return True
        try:
            if self._socket is None:
                self._socket = socket.socket(self._family, socket.SOCK_STREAM)
                self._socket.connect(self._address)
                self._socket.send(b"HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            if select.select([self._socket], [], [], 0)[0]:
                self._answered = bool(self._socket.recv(1))
                self._close()
        except OSError:
            self._close()
        return self._answered

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _loopback(address: tuple[str, int]) -> tuple[str, int]:
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return wildcards.get(address[0], address[0]), address[1]
