# SPDX-License-Identifier: Apache-2.0
"""``slipway run --role rack``: a rack that follows a region elsewhere, kept alive."""

from __future__ import annotations

from webapp import logs
from webapp.config import Settings
from webapp.remoterack import app as remote
from webapp.server import planes
from webapp.server.supervisor import Child, keep_running, lock_data_dir, say, url_of


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

    def run() -> None:
        held.close()
        planes.run_remote_rack(settings, listener)

    def announce() -> None:
        say(f"The rack is ready and follows {settings.region_url}")
        say(f"Machines fetch from {settings.rack_url or url_of(settings.rack_bind)}images/")

    return keep_running([Child("rack", run)], [listener], announce)
