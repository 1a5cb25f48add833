# SPDX-License-Identifier: Apache-2.0
"""A machine that really boots from the network: QEMU without KVM, and what its console shows.

The guest reaches this machine's 127.0.0.1 as GATEWAY; DHCP is QEMU's own.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import live

GATEWAY = "10.0.2.2"
MAC = "52:54:00:12:34:56"
TIMEOUT_S = 400  # only a bound for what hangs
_FIRMWARE = Path("/usr/share/OVMF")
IPXE = Path("/usr/lib/ipxe/snponly.efi")  # of Debian's package ipxe
_FW_VARS = str(Path(sys.executable).with_name("virt-fw-vars"))
_ESCAPES = re.compile(r"\x1b[\[(][0-9;?]*[A-Za-z0-9]")
_ENDED = ("Kernel panic", "No bootable device", "Slipway: nothing", "\ngrub>")


class NotBooted(AssertionError):
    """The console's end, and what was waited for."""


@dataclass(frozen=True)
class Console:
    """What a machine showed, and the processor seconds that it took."""

    text: str
    cpu_s: float


def boot(
    folder: Path,
    expected: Sequence[str],
    *,
    bootfile: str = "",
    http_url: str = "",
    mac: str = MAC,
) -> Console:
    """Start a machine and wait until its serial console has shown all of ``expected``.

    bootfile: the file name that DHCP gives. http_url: what UEFI firmware loads by HTTP, in
    place of DHCP's word, which QEMU's server can't say. Raises NotBooted.
    """
    log = folder / "serial.log"
    log.write_bytes(b"")
    command = _command(folder, log, bootfile, http_url, mac)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    errors = folder / "qemu.log"
    with errors.open("wb") as file:
        machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def has_come() -> bool:
        shown = _plain(log)
        return all(words in shown for words in expected) or any(end in shown for end in _ENDED)

    try:
        live.wait_until(
            has_come, "the console", seconds=TIMEOUT_S, alive=lambda: machine.poll() is None
        )
    except AssertionError as problem:
        raise NotBooted(f"{problem}\n{errors.read_text()}\n{_plain(log)[-3000:]}") from None
    finally:
        machine.kill()
        machine.wait()
    shown = _plain(log)
    if missing := [words for words in expected if words not in shown]:
        raise NotBooted(f"not shown: {missing}\n{shown[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Console(shown, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _command(folder: Path, log: Path, bootfile: str, http_url: str, mac: str) -> list[str]:
    network = "user,id=n0" + (f",bootfile={bootfile}" if bootfile else "")
    card = f"virtio-net-pci,netdev=n0,mac={mac}"
    command = [
        *("qemu-system-x86_64", "-accel", "tcg", "-machine", "q35" if http_url else "pc"),
        *("-m", "512", "-nographic", "-monitor", "none", "-serial", f"file:{log}"),
        *("-no-reboot", "-rtc", "base=utc", "-netdev", network),
    ]
    if not http_url:
        return [*command, "-device", card, "-boot", "n"]
    variables = folder / "vars.fd"
    shutil.copyfile(_FIRMWARE / "OVMF_VARS_4M.fd", variables)
    edit = [_FW_VARS, "--inplace", str(variables), "--set-boot-uri", http_url]
    subprocess.run(edit, check=True, capture_output=True)
    return [
        *command,
        *("-device", f"{card},romfile="),  # the firmware's own network stack
        *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_FIRMWARE}/OVMF_CODE_4M.fd"),
        *("-drive", f"if=pflash,format=raw,unit=1,file={variables}"),
    ]


def _plain(log: Path) -> str:
    """Console text without escape sequences."""
    return _ESCAPES.sub("", log.read_bytes().decode("utf-8", "replace")).replace("\r", "")
