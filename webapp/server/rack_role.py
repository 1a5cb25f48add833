# SPDX-License-Identifier: Apache-2.0
"""``slipway run --role rack``: a rack that follows a region elsewhere, kept alive."""

from __future__ import annotations

import socket
from dataclasses import replace

from webapp import logs
from webapp.config import Settings
from webapp.remoterack import app as remote
from webapp.server import planes, tftp
from webapp.server.supervisor import Child, keep_running, lock_data_dir, say, url_of

TFTP_OPENERS = 64  # each may wait until a file is here


def supervise_rack(settings: Settings) -> int:
    """Start the rack and keep it running until a signal; returns the exit code.

    Raises a Problem when that cannot be.
    """
    logs.configure(settings)
    remote.fingerprint_of(settings)
    settings.data_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    held = lock_data_dir(settings.data_dir)
    remote.enrol_first(settings, remote.prepare(settings))
    listener = planes.listen("rack", settings)
    tftp_socket = tftp.listen(settings) if settings.tftp_bind else None

    def run() -> None:
        held.close()
        _serve(settings, listener, tftp_socket)

    def announce() -> None:
        say(f"The rack is ready and follows {settings.region_url}")
        say(f"Machines fetch from {settings.rack_url or url_of(settings.rack_bind)}images/")
        if settings.tftp_bind:
            say(f"Machines boot by TFTP from {settings.tftp_bind}")

    return keep_running([Child("rack", run)], [listener], announce)


def _serve(settings: Settings, listener: socket.socket, tftp_socket: socket.socket | None) -> None:
    """Serve in one process: it knows every fetch under way, and so there is one for a file."""

    def make() -> remote.RemoteRack:
        rack = remote.RemoteRack(settings)
        rack.start()
        if tftp_socket is not None:
            port = settings.rack_bind.rpartition(":")[2]
            server = tftp.TftpServer(tftp_socket, rack.tftp_names, port, openers=TFTP_OPENERS)
            rack.run_beside(server.run, server.leave)
        return rack

    planes.serve("rack", replace(settings, rack_workers=1), listener, make)
