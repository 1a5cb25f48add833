# SPDX-License-Identifier: Apache-2.0
"""nginx as the rack: it sends what has a link, and gunicorn behind it answers the rest.

One process looks after both. It keeps the links the same as the published names and
counts the fetches that nginx tells of. When either server ends, so does this process: whoever
started it starts all three again.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import structlog
from flask import Flask

from webapp import create_app, database, logs
from webapp.config import Settings
from webapp.extensions import db, store
from webapp.rack.files import Files
from webapp.rack.in_step import LinksMark, NamesInStep
from webapp.rack.links import LinkedNames
from webapp.rack.proofs import Proofs
from webapp.server import orphans, planes
from webapp.server.crowds import Refusals
from webapp.server.nginx_site import Site
from webapp.services.images.serving import NamesUnread
from webapp.storage.layout import Layout

log = structlog.get_logger(__name__)

LOOK_S = 0.05  # between looks at what is published
RECHECK_S = 5.0  # between looks at the files that have links
GRACE_S = planes.GRACE_S["rack"]
PIECE = 64 << 10  # bytes that nginx's pipe holds
MOST_PIECES = 256  # that wait to be counted; older ones aren't counted
MEMORY = "/dev/shm"  # noqa: S108
PR_SET_PDEATHSIG = 1


class NginxRack:
    """Runs nginx on the listening socket, with a gunicorn rack behind it."""

    def __init__(self, program: str, settings: Settings, listener: socket.socket) -> None:
        self._program = program
        self._settings = database.prepared(settings)
        self._listener = listener
        self._is_stopping = False

    def run(self) -> NoReturn:
        """Serve until SIGTERM or SIGINT; leaves by SystemExit. Raises RackRuns."""
        self._held = orphans.hold(self._settings.data_dir)
        planes.check(self._settings)
        # Short, since sockets' names are bounded and each folder costs nginx a system call, and
        # in memory, since the disk may be full.
        memory = MEMORY if os.access(MEMORY, os.W_OK) else None
        folder = Path(tempfile.mkdtemp(prefix="slipway-", dir=memory))
        try:
            code = self._run(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            database.fold_journals(self._settings.database_url, self._settings.queue_url)
        sys.exit(code)

    def _run(self, folder: Path) -> int:
        behind = socket.socket(socket.AF_UNIX)
        behind.bind(str(folder / "rack"))
        behind.listen(planes.BACKLOG)
        planes.raise_file_limit()
        mark = LinksMark()
        gunicorn = self._start_gunicorn(behind, mark)
        behind.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        app = create_app(self._settings, plane="rack")
        files: Files = app.extensions["slipway.rack"]
        with app.app_context():
            links = LinkedNames(folder / "links", Proofs(store(), db.engine).is_proved)
        fetches = _Fetches(folder / "fetches")
        refusals = Refusals(planes.connections_per_address(self._settings))
        keeper = _Keeper(files, links, mark, fetches, refusals)
        keeper.look()
        nginx = self._start_nginx(folder)
        fetches.start()
        self._listener.close()
        code = 0
        try:
            while not self._is_stopping and not code:
                keeper.wait()
                code = _ended("nginx", nginx) or _ended("gunicorn", gunicorn)
            _end(nginx, gunicorn, keeper)
        finally:
            for pid in (nginx, gunicorn):  # and what either left behind
                with suppress(ProcessLookupError, ChildProcessError):
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            files.close()
            with app.app_context():
                db.engine.dispose()
        return code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def _start_gunicorn(self, behind: socket.socket, mark: LinksMark) -> int:
        """The rack that answers what nginx passes on; nginx is one more proxy before it."""
        settings = dataclasses.replace(
            self._settings,
            trusted_proxies=self._settings.trusted_proxies + 1,
            accel_prefix="",
            rack_workers=1,  # it has little to do
        )

        def serve() -> None:
            self._held.close()
            self._listener.close()
            logs.configure(settings)
            planes.serve("rack", settings, behind, partial(_app_in_step, settings, mark))

        return _fork(serve)

    def _start_nginx(self, folder: Path) -> int:
        """nginx takes over the socket by the way in which it replaces itself."""
        own = self._settings.data_dir / "nginx"
        own.mkdir(mode=0o750, exist_ok=True)
        host, port = self._listener.getsockname()[:2]
        site = Site(
            folder=own.resolve(),
            listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            links=folder.resolve() / "links",
            blobs=Layout(self._settings.store_dir.resolve()).blobs,
            rack=folder / "rack",
            fetches=folder / "fetches",
            workers=self._settings.rack_workers,
            backlog=planes.BACKLOG,
            grace_s=GRACE_S,
            has_proxies=self._settings.trusted_proxies > 0,
            most_per_address=planes.connections_per_address(self._settings),
        )
        config = folder / "nginx.conf"
        config.write_text(site.text())
        command = [self._program, "-e", "stderr", "-p", str(own), "-c", str(config)]
        number = self._listener.fileno()
        # nginx takes it as it is. Where accept() waits, so does a whole process with all that
        # it sends, when another one was faster.
        self._listener.setblocking(False)
        self._nginx = subprocess.Popen(
            command,
            pass_fds=[number, self._held.fileno()],  # so that a start finds what is left of it
            env={**os.environ, "NGINX": f"{number};"},
            process_group=0,
            preexec_fn=_end_with_parent(os.getpid()),
        )
        return self._nginx.pid


def _app_in_step(settings: Settings, mark: LinksMark) -> Flask:
    """The rack behind nginx, which is never ahead of the links."""
    app = create_app(settings, plane="rack")
    files: Files = app.extensions["slipway.rack"]
    files.published = NamesInStep(files.published, mark)
    return app


class _Keeper:
    """Keeps the links right, and counts what nginx tells of."""

    def __init__(
        self,
        files: Files,
        links: LinkedNames,
        mark: LinksMark,
        fetches: _Fetches,
        refusals: Refusals,
    ) -> None:
        self._files = files
        self._links = links
        self._mark = mark
        self._fetches = fetches
        self._refusals = refusals
        self._names: object = None
        self._checked_at = self._failed_at = -RECHECK_S

    def wait(self) -> None:
        """Wait a moment, then look at what was fetched and what is published."""
        time.sleep(LOOK_S)
        self.read()
        self.look()

    def look(self) -> None:
        """Follow the published names; they are looked up as for a request."""
        now = time.monotonic()
        try:
            with suppress(NamesUnread):
                names = self._files.published.names()
                if names is not self._names and now > self._failed_at + RECHECK_S:
                    self._links.follow(names)
                    self._mark.set(names.serial)
                    self._names = names
            if now > self._checked_at + RECHECK_S:
                self._links.recheck()
                self._checked_at = now
        except OSError as error:  # without room for links, the rack answers all by itself
            log.warning("the links for nginx can't be made", error=str(error))
            self._failed_at = now
            self._names = None
            self._links.clear()
            self._mark.set()

    def read(self) -> None:
        """Count the fetches that nginx has told of; what is cut or odd isn't counted."""
        for line in self._fetches.lines():
            with suppress(ValueError, KeyError, TypeError):
                told = json.loads(line.decode("latin-1"))
                if "refused" in told:
                    self._refusals.note(told["refused"])
                    continue
                environ = {"REMOTE_ADDR": told["peer"], "HTTP_X_FORWARDED_FOR": told["via"]}
                self._files.note_fetch(
                    environ, told["name"], told["sha256"], told["status"], told["sent"]
                )


class _Fetches:
    """What nginx tells of, by a pipe. nginx waits while it's full, so a thread always reads.

    A socket for datagrams would lose them: many systems let ten of them wait.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self._pipe = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # nginx opens it at any time
        self._pieces: deque[bytes] = deque(maxlen=MOST_PIECES)
        self._rest = b""

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._run, name="fetches", daemon=True).start()

    def lines(self) -> list[bytes]:
        """What came since the last time."""
        taken = [self._pieces.popleft() for _ in range(len(self._pieces))]
        *lines, self._rest = b"".join((self._rest, *taken)).split(b"\n")
        return lines

    def _run(self) -> None:
        while True:
            self._pieces.append(os.read(self._pipe, PIECE))


def _end(nginx: int, gunicorn: int, keeper: _Keeper) -> None:
    """Let both finish what they are sending, and hear of it."""
    until = time.monotonic() + GRACE_S
    running = {nginx: signal.SIGQUIT, gunicorn: signal.SIGTERM}
    for pid, number in running.items():
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    while running and time.monotonic() < until:
        keeper.wait()
        running = {pid: number for pid, number in running.items() if not _is_over(pid)}
    keeper.read()


def _ended(name: str, pid: int) -> int:
    """1 when this process has ended, which it shouldn't, else 0."""
    if not _is_over(pid):
        return 0
    log.error(f"{name} ended", next_step=f"Read what {name} wrote above.")
    return 1


def _is_over(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _end_with_parent(parent: int) -> Callable[[], None]:
    """What a child does first, so that the kernel ends it with its parent."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)  # it died before we could ask

    return ask


def _fork(serve: Callable[[], None]) -> int:
    """Run in a process that ends with this one."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        with suppress(OSError):  # whoever comes first, child or parent, is right
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        _end_with_parent(parent)()
        serve()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        log.exception("a server of the rack failed")
    finally:
        os._exit(code)
