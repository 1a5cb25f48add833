# SPDX-License-Identifier: Apache-2.0
"""Machines boot a real kernel and installer through the rack, by what the boot table says."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror import bootfiles
from tests.rack import images
from tests.rack.server import LiveRack
from tests.rack.test_engines import fetch
from tests.rack.tftp import Server
from tests.support import live, netboot
from tests.support.databases import Databases
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.services.boot import loaders, table

pytestmark = pytest.mark.slow

# The last word has what the languages of boot loaders give a meaning.
CONSOLE = "console=ttyS0,115200n8 vga=normal odd=a|b;c&d(e)<f>*?[g]^~!%h@i"
IMAGE = "debian/bookworm amd64, 20260105"
INSTALLER = "Starting system log daemon"  # the installer's init, from the initrd
# What GRUB is built with, as a site does whose GRUB has to find the rack by itself.
GRUB_MODULES = "efinet net http tftp linux echo sleep test cat configfile normal"
GRUB_STARTS = """\
net_bootp
set net_default_interface=efinet0_dhcp
export net_default_interface
set root=({protocol},{host}:{port})
configfile /grub/grub.cfg
"""


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
        uefi = ("uefi", "amd64", "grub2-signed"), ("uefi", "amd64", "shim-signed")
        pxe = found.loaders["pxe", "amd64", "syslinux"].members
        grub = grub_of(tmp_path_factory.mktemp("grub"), "http", rack.port)
        images.image(
            {
                "ipxe.tar.xz": archive((("snponly.efi", netboot.IPXE), (grub.name, grub))),
                **{f"{key[2]}.tar.xz": archive(found.loaders[key].members) for key in uefi},
            },
            os="grub-efi-signed",
            release="uefi",
            subarch="generic",
            bootloader_type="uefi",
        )
        images.image(
            {"syslinux.tar.xz": archive(pxe)},
            os="pxelinux",
            release="pxe",
            subarch="generic",
            bootloader_type="pxe",
        )
        assert loaders.reconcile() == 2
        db.session.remove()
    with rack:
        yield rack


def grub_of(folder: Path, protocol: str, port: int) -> Path:
    """A real GRUB for UEFI that knows the rack's address, and nothing else of it."""
    early, grub = folder / "early.cfg", folder / f"grub{protocol}.efi"
    early.write_text(GRUB_STARTS.format(host=netboot.GATEWAY, protocol=protocol, port=port))
    command = ["grub-mkimage", "-O", "x86_64-efi", "-p", "/grub", "-c", str(early)]
    subprocess.run([*command, "-o", str(grub), *GRUB_MODULES.split()], check=True)
    return grub


def archive(members: tuple[tuple[str, Path], ...]) -> bytes:
    """A boot loader's archive, as boot sources have them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz") as tar:
        for name, path in members:
            tar.add(path, name)
    return file.getvalue()


def test_ipxe_boots_the_default_image_over_http(rack: LiveRack, tmp_path: Path) -> None:
    script = f"http://{netboot.GATEWAY}:{rack.port}/ipxe.cfg"
    console = netboot.boot(tmp_path, ["Linux version", INSTALLER], bootfile=script)
    assert f"BOOTIF=01-{netboot.MAC.replace(':', '-')} {CONSOLE}" in console.text
    print(f"{console.cpu_s:.1f} s of a processor")


def test_ipxe_reads_its_script_by_tftp(rack: LiveRack, tmp_path: Path) -> None:
    app = create_app(Settings.load(rack.environ), plane="rack")
    with app.app_context(), Server(app) as tftp:
        script = f"tftp://{netboot.GATEWAY}:{tftp.port}/ipxe.cfg"
        console = netboot.boot(tmp_path, ["Linux version"], bootfile=script)
        app.extensions["slipway.rack"].close()
        db.engine.dispose()
    print(f"{console.cpu_s:.1f} s of a processor")


def test_uefi_firmware_boots_over_http(rack: LiveRack, tmp_path: Path) -> None:
    """The firmware loads iPXE of a boot loader's archive, and iPXE the rest."""
    script = f"http://{netboot.GATEWAY}:{rack.port}/ipxe.cfg"
    loader = f"http://{netboot.GATEWAY}:{rack.port}/snponly.efi"
    expected = ["Linux version", INSTALLER]
    console = netboot.boot(tmp_path, expected, bootfile=script, http_url=loader)
    assert "efi: EFI v2" in console.text
    print(f"{console.cpu_s:.1f} s of a processor")


def test_uefi_firmware_starts_grub_by_shim_over_http(rack: LiveRack, tmp_path: Path) -> None:
    """shim asks for ``//grubx64.efi``, and before that for files that aren't there."""
    url = f"http://{netboot.GATEWAY}:{rack.port}/bootx64.efi"
    console = netboot.boot(tmp_path, ["Welcome to GRUB!"], http_url=url)
    print(f"{console.cpu_s:.1f} s of a processor")


def given(console: netboot.Console) -> str:
    """What the kernel says it was given."""
    return console.text.partition("Command line: ")[2].partition("\n")[0]


def test_grub_reads_its_configuration_and_boots(rack: LiveRack, tmp_path: Path) -> None:
    """By HTTP: the chooser, the default for this machine's processor, kernel and initrd."""
    url = f"http://{netboot.GATEWAY}:{rack.port}/grubhttp.efi"
    expected = [f"Slipway: {IMAGE}", "Linux version", INSTALLER]
    console = netboot.boot(tmp_path, expected, http_url=url)
    assert f"BOOTIF=01-{netboot.MAC.replace(':', '-')} {CONSOLE}" in given(console)
    print(f"{console.cpu_s:.1f} s of a processor")


def test_grub_reads_all_by_tftp(rack: LiveRack, tmp_path: Path) -> None:
    app = create_app(Settings.load(rack.environ), plane="rack")
    with app.app_context(), Server(app) as tftp:
        grub = grub_of(tmp_path, "tftp", tftp.port)
        images.image(
            {"grub.tar.xz": archive(((grub.name, grub),))},
            os="grub-by-tftp",
            release="uefi",
            subarch="generic",
            bootloader_type="uefi",
        )
        loaders.reconcile()
        live.wait_until(lambda: fetch(rack, f"/{grub.name}")[0].status == 200, "it is served")
        url = f"http://{netboot.GATEWAY}:{rack.port}/{grub.name}"
        expected = [f"Slipway: {IMAGE}", "Linux version"]
        console = netboot.boot(tmp_path, expected, http_url=url)
        app.extensions["slipway.rack"].close()
        db.session.remove()
        db.engine.dispose()
    assert f"BOOTIF=01-{netboot.MAC.replace(':', '-')} {CONSOLE}" in given(console)
    print(f"{console.cpu_s:.1f} s of a processor")


def test_pxelinux_reads_its_configuration_and_boots(rack: LiveRack, tmp_path: Path) -> None:
    """By HTTP: its modules, the default configuration, kernel and initrd."""
    loader = f"http://{netboot.GATEWAY}:{rack.port}/lpxelinux.0"
    expected = ["PXELINUX 6", f"Slipway: {IMAGE}", "Linux version", INSTALLER]
    console = netboot.boot(tmp_path, expected, bootfile=loader)
    assert CONSOLE in given(console)
    assert f"BOOTIF=01-{netboot.MAC.replace(':', '-')}" in given(console)
    print(f"{console.cpu_s:.1f} s of a processor")
