# SPDX-License-Identifier: Apache-2.0
"""One plane in gunicorn."""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from webapp import Plane, create_app, database, logs
from webapp.config import Settings
from webapp.errors import Problem
from webapp.extensions import db
from webapp.server.connections import PatientWorker
from webapp.server.memory import spare_collector

log = structlog.get_logger(__name__)

BACKLOG = 2048
KEEPALIVE_S = 75  # longer than a page polls and than nginx keeps its connections
STALL_S = 60  # a peer that neither takes nor sends a byte for so long is gone
MAX_CONNECTIONS = 4096  # in each process
GRACE_S = {"web": 10, "rack": 30}  # for running requests when stopping
UPLOADS = (b"/uploads", b"/api/v1/uploads", b"/MAAS/api/2.0/boot-resources")
SLASHES = re.compile(rb"/{2,}")
APP_FAILED = 4  # gunicorn's word for "do not start this worker again and again"


class AddressProblem(Problem):
    """A port cannot be listened on."""

    code = "address"


def run_plane(plane: Plane, settings: Settings, listener: socket.socket | None = None) -> None:
    """Serve one plane until asked to stop; leaves by SystemExit.

    listener: a listening socket that outlives restarts; made when absent.
    Raises a Problem when the plane cannot start.
    """
    settings = database.prepared(settings)
    logs.configure(settings)
    if listener is None:
        listener = listen(plane, settings)
        check(settings)
    process = os.getpid()
    try:
        serve(plane, settings, listener, partial(create_app, settings, plane=plane))
    finally:  # also reached in gunicorn's forks
        if os.getpid() == process:
            database.fold_journals(settings.database_url, settings.queue_url)


def serve(
    plane: Plane, settings: Settings, listener: socket.socket, make: Callable[[], Any]
) -> None:
    """Serve what ``make`` makes in each worker; leaves by SystemExit."""
    raise_file_limit()
    spare_collector()
    Arbiter(_Application(plane, settings, listener, make)).run()


def check(settings: Settings) -> None:
    """Raise a Problem now, in words, rather than in every worker."""
    app = create_app(settings, plane="none")
    with app.app_context():
        database.check_revision(db.engine)
        db.engine.dispose()


def bind_of(plane: Plane, settings: Settings) -> str:
    """The ADDRESS:PORT of a plane."""
    return settings.web_bind if plane == "web" else settings.rack_bind


def connections_per_address(settings: Settings) -> int:
    """How many one may have to the rack; 0 for any number, since a proxy limits them itself."""
    return 0 if settings.trusted_proxies else settings.rack_connections


def listen(plane: Plane, settings: Settings) -> socket.socket:
    """Listen on a plane's address. Raises AddressProblem.

    Connections inherit the limits that are set here: the kernel ends one whose
    peer takes nothing or sends nothing for STALL_S, so that no thread waits
    for it for ever.
    """
    bind = bind_of(plane, settings)
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_S * 1000)
        seconds = STALL_S.to_bytes(8, sys.byteorder) + bytes(8)  # struct timeval
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _refused(plane, bind, error) from error
    return listener


def _refused(plane: Plane, bind: str, error: OSError) -> AddressProblem:
    name = f"SLIPWAY_{plane.upper()}_BIND"
    what, next_step = f"Slipway can't listen on {bind}: {error.strerror}.", f"Change {name}."
    if error.errno == errno.EADDRINUSE:
        what = f"Port {bind.rpartition(':')[2]} is already in use."
        next_step = f"Stop the program that uses it, or set {name} to another port."
    return AddressProblem(what, where=f"{name}={bind}", next_step=next_step)


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us: each machine needs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Application(BaseApplication):  # type: ignore[misc]
    """gunicorn's view of one plane: its configuration, and the app in each worker."""

    def __init__(
        self,
        plane: Plane,
        settings: Settings,
        listener: socket.socket,
        make: Callable[[], Any],
    ) -> None:
        self._plane = plane
        self._make = make
        self._settings = settings
        self._listener = listener.detach()
        threads = settings.web_threads if plane == "web" else settings.rack_threads
        self.threads_per_address = max(1, threads * 3 // 4)
        self.trusted_proxies = settings.trusted_proxies
        self.connections_per_address = 0 if plane == "web" else connections_per_address(settings)
        super().__init__()

    @staticmethod
    def is_upload(target: bytes) -> bool:
        """Whether a request's target takes uploads, whose bodies may take their time."""
        return SLASHES.sub(b"/", target).startswith(UPLOADS)

    def load_config(self) -> None:
        for name, value in options(self._plane, self._settings).items():
            self.cfg.set(name, value)
        self.cfg.set("bind", f"fd://{self._listener}")

    def load(self) -> Any:
        try:
            return self._make()
        except Problem as problem:
            log.error("the app could not start", plane=self._plane, problem=str(problem))
            sys.exit(APP_FAILED)


def options(plane: Plane, settings: Settings) -> dict[str, Any]:
    """gunicorn's settings for a plane; its defaults and its environment do not matter."""
    is_web = plane == "web"
    threads = settings.web_threads if is_web else settings.rack_threads
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    connections = max(threads + 1, min(MAX_CONNECTIONS, files - threads - 128))
    return {
        "proc_name": f"slipway {plane}",
        "workers": settings.web_workers if is_web else settings.rack_workers,
        "threads": threads,
        "worker_class": PatientWorker,
        "worker_connections": connections,
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108
        "logger_class": _Log,
        "loglevel": "debug" if settings.log_level == "debug" else "warning",
        "accesslog": None,
        "keepalive": KEEPALIVE_S,
        "timeout": 30,  # for the event loop, which never waits; requests take what they take
        "graceful_timeout": GRACE_S[plane],
        "limit_request_line": 4094,
        "limit_request_fields": 64,
        "limit_request_field_size": 8190,
        # X-Forwarded-* is read by the app, which counts its trusted proxies.
        "forwarded_allow_ips": "",
        "forwarder_headers": "",
        "control_socket_disable": True,
        "worker_exit": _worker_exit,
    }


def _worker_exit(server: Any, worker: Any) -> None:
    """Write what the rack still remembers; gunicorn calls this as the worker's last act."""
    rack = getattr(worker, "wsgi", None) and worker.wsgi.extensions.get("slipway.rack")
    if rack:
        rack.close()


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's log, in the format of all our lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
