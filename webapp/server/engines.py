# SPDX-License-Identifier: Apache-2.0
"""What sends files to machines: gunicorn alone, or nginx with gunicorn behind it."""

from __future__ import annotations

import os
import shutil
import socket

from webapp import Plane
from webapp.config import Settings
from webapp.errors import Problem
from webapp.server import orphans, planes
from webapp.server.nginx import NginxRack

_UNQUOTABLE = frozenset('"$\\{};')


class EngineProblem(Problem):
    """The engine that was asked for can't serve machines here."""

    code = "rack-engine"


def run_plane(plane: Plane, settings: Settings, listener: socket.socket | None = None) -> None:
    """Serve one plane until asked to stop; leaves by SystemExit.

    listener: a listening socket that outlives restarts; made when absent.
    Raises a Problem when that can't be.
    """
    program = chosen(settings) if plane == "rack" else None
    if plane == "rack" and listener is None:
        orphans.end(settings.data_dir)
    if program is None:
        planes.run_plane(plane, settings, listener)
    else:
        NginxRack(program, settings, listener or planes.listen("rack", settings)).run()


def chosen(settings: Settings) -> str | None:
    """The nginx to use, None for gunicorn. Raises EngineProblem."""
    if settings.rack_engine == "gunicorn":
        return None
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    problem = _problem(settings, program)
    if problem is None:
        return program
    if settings.rack_engine == "auto":
        return None
    raise problem


def _problem(settings: Settings, program: str | None) -> EngineProblem | None:
    where = f"SLIPWAY_RACK_ENGINE={settings.rack_engine}"
    if program is None:
        return EngineProblem(
            "nginx isn't installed.",
            where=where,
            expected="a program called nginx",
            got=f"none in {os.environ.get('PATH', '')}",
            next_step="Install nginx, or set SLIPWAY_RACK_ENGINE to gunicorn.",
        )
    if settings.store != "filesystem":
        return EngineProblem(
            "nginx can send files only, and this store has none.",
            where=where,
            expected="SLIPWAY_STORE=filesystem",
            got=f"SLIPWAY_STORE={settings.store}",
            next_step="Set SLIPWAY_RACK_ENGINE to gunicorn.",
        )
    paths = f"{settings.data_dir}{settings.store_dir}"
    if not _UNQUOTABLE.isdisjoint(paths) or not paths.isprintable():
        return EngineProblem(
            "nginx can't be told the names of these folders.",
            where=where,
            expected='folders without " $ \\ { } ;',
            got=f"{settings.data_dir}, {settings.store_dir}",
            next_step="Rename the folder, or set SLIPWAY_RACK_ENGINE to gunicorn.",
        )
    return None
