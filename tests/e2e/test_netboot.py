# SPDX-License-Identifier: Apache-2.0
"""Machines boot a real kernel and installer through the rack, by what the boot table says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror import bootfiles
from tests.rack import images
from tests.rack.server import LiveRack
from tests.support import netboot
from tests.support.databases import Databases
from webapp.extensions import db
from webapp.services.boot import table

pytestmark = pytest.mark.slow

CONSOLE = "console=ttyS0,115200n8 vga=normal"
INSTALLER = "Starting system log daemon"  # the installer's init, from the initrd


@pytest.fixture(scope="module")
def rack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> Iterator[LiveRack]:
    """A rack with the network installer of Debian as an image."""
    found = bootfiles.find()
    rack = LiveRack(tmp_path_factory.mktemp("rack"), sqlite_databases.migrated())
    rack.environ["SLIPWAY_RACK_URL"] = f"http://{netboot.GATEWAY}:{rack.port}/"
    with rack.app.app_context():
        images.image(
            {"boot-kernel": found.kernel.read_bytes(), "boot-initrd": found.initrd.read_bytes()},
            os="debian",
            release="bookworm",
        )
        table.set_entry("ada", "default", "debian/bookworm", arch="amd64", parameters=CONSOLE)
        db.session.remove()
    with rack:
        yield rack


def test_ipxe_boots_the_default_image_over_http(rack: LiveRack, tmp_path: Path) -> None:
    script = f"http://{netboot.GATEWAY}:{rack.port}/ipxe.cfg"
    console = netboot.boot(tmp_path, ["Linux version", INSTALLER], bootfile=script)
    assert f"BOOTIF=01-{netboot.MAC.replace(':', '-')} {CONSOLE}" in console.text
    print(f"{console.cpu_s:.1f} s of a processor")
