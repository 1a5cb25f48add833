# SPDX-License-Identifier: Apache-2.0
"""Real files that boot, for made mirrors: a kernel, an initrd, signed loaders.

They come from Debian's packages, downloaded and unpacked below ``build/`` and
never installed. Where packages cannot be had, the files of this machine serve:
``BootFiles.note`` says in one sentence what was used.

    python -m tests.mirror.bootfiles
"""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / "build" / "bootfiles"
INSTALLER = "debian-installer-12-netboot-amd64"
PACKAGES = {  # package: what it is worth
    INSTALLER: "kernel and initrd of the network installer",
    "grub-efi-amd64-signed": "GRUB signed for Secure Boot",
    "shim-signed": "shim signed for Secure Boot",
    "shim-unsigned": "the MOK manager that shim loads",
    "pxelinux": "pxelinux",
    "syslinux-common": "the modules of pxelinux",
}
_NETBOOT = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"
_MEMBERS = {  # (platform, architecture, source package): package, [(member, path)]
    ("uefi", "amd64", "grub2-signed"): (
        "grub-efi-amd64-signed",
        [("grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed")],
    ),
    ("uefi", "amd64", "shim-signed"): (
        "shim-signed",
        [
            ("bootx64.efi", "usr/lib/shim/shimx64.efi.signed"),
            ("mmx64.efi", "usr/lib/shim/mmx64.efi"),
        ],
    ),
}
_PXE = [
    ("pxelinux.0", "usr/lib/PXELINUX/pxelinux.0"),
    ("lpxelinux.0", "usr/lib/PXELINUX/lpxelinux.0"),
]
_MODULES = "usr/lib/syslinux/modules/bios"


@dataclass(frozen=True)
class LoaderFiles:
    """The real members of one loader archive and the version of their package."""

    version: str
    members: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class BootFiles:
    """What a made mirror carries in place of made-up bytes."""

    kernel: Path
    initrd: Path
    note: str
    loaders: dict[tuple[str, str, str], LoaderFiles] = field(default_factory=dict)


class NoBootFiles(RuntimeError):
    """Neither Debian's packages nor this machine has a kernel; the text says what was tried."""


def find(cache: Path = CACHE) -> BootFiles:
    """Return real boot files, from the cache when it has them."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once share one download
        problem = _fetch(cache)
    root = cache / "root"
    kernel, initrd = root / _NETBOOT / "linux", root / _NETBOOT / "initrd.gz"
    if kernel.is_file() and initrd.is_file():
        version = _versions(cache).get(INSTALLER, "unknown")
        note = f"kernel and initrd from Debian's package {INSTALLER} {version}"
        return BootFiles(kernel, initrd, note, _loaders(cache))
    return _of_this_machine(cache, problem)


def _fetch(cache: Path) -> str:
    """Download and unpack what is missing; return why that failed, or nothing."""
    done = cache / "complete"
    if done.exists():
        return ""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "this system has no apt-get and dpkg-deb"
    debs = cache / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    problem = _download(debs, _missing(debs))
    if problem and os.geteuid() == 0:  # a fresh machine has no package lists yet
        _run(["apt-get", "update", "-qq"], debs)
        problem = _download(debs, _missing(debs))
    unpacked = Path(tempfile.mkdtemp(prefix="root.", dir=cache))
    for deb in sorted(debs.glob("*.deb")):
        problem = problem or _run(["dpkg-deb", "-x", str(deb), str(unpacked)], debs)
    root = cache / "root"
    if problem and root.is_symlink():  # others may be reading what an earlier attempt brought
        shutil.rmtree(unpacked)
        return problem
    if not root.is_symlink():
        shutil.rmtree(root, ignore_errors=True)
    link = cache / f"{unpacked.name}.link"
    link.symlink_to(unpacked.name)
    link.replace(root)
    if not problem:
        done.touch()
    return problem


def _missing(debs: Path) -> list[str]:
    have = {deb.name.partition("_")[0] for deb in debs.glob("*.deb")}
    return [name for name in PACKAGES if name not in have]


def _download(debs: Path, names: Iterable[str]) -> str:
    wanted = list(names)
    options = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    return _run(["apt-get", "download", "-q", *options, *wanted], debs) if wanted else ""


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]}: no end after 300 seconds"
    return "" if done.returncode == 0 else f"{command[0]}: {done.stderr.strip()[-300:]}"


def _versions(cache: Path) -> dict[str, str]:
    parts = (deb.name.split("_") for deb in (cache / "debs").glob("*.deb"))
    return {name: version.replace("%3a", ":") for name, version, *_ in parts}


def _loaders(cache: Path) -> dict[tuple[str, str, str], LoaderFiles]:
    root, versions = cache / "root", _versions(cache)
    modules = sorted((root / _MODULES).glob("*.c32"))
    pxe = [*_PXE, *((path.name, f"{_MODULES}/{path.name}") for path in modules)]
    wanted = dict(_MEMBERS)
    for arch in ("amd64", "i386"):
        wanted["pxe", arch, "syslinux"] = ("pxelinux", pxe)
    found = {}
    for key, (package, members) in wanted.items():
        paths = tuple((name, root / path) for name, path in members)
        if all(path.is_file() for _, path in paths):
            found[key] = LoaderFiles(versions.get(package, "unknown"), paths)
    return found


def _of_this_machine(cache: Path, problem: str) -> BootFiles:
    for kernel in sorted(Path("/boot").glob("vmlinuz*"), reverse=True):
        release = kernel.name.partition("-")[2]
        names = (f"initrd.img-{release}", f"initramfs-{release}.img", f"initrd-{release}")
        for initrd in (kernel.with_name(name) for name in names):
            if os.access(kernel, os.R_OK) and os.access(initrd, os.R_OK):
                note = f"kernel {kernel} and initrd {initrd} of this machine ({problem})"
                return BootFiles(kernel, initrd, note, _loaders(cache))
        if os.access(kernel, os.R_OK):
            initrd = _empty_initrd(cache)
            note = f"kernel {kernel} of this machine with an initrd that holds nothing ({problem})"
            return BootFiles(kernel, initrd, note, _loaders(cache))
    raise NoBootFiles(
        f"No kernel to boot: {problem}, and /boot has none that can be read. "
        f"Next: run `apt-get update` as root and try again."
    )


def _empty_initrd(cache: Path) -> Path:
    """A cpio archive with its trailer only: valid for a kernel, though nothing is in it."""
    target = cache / "empty-initrd.gz"
    header = b"070701" + b"%08x" * 13 % (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0)
    archive = header + b"TRAILER!!!\0"
    made = cache / f"{target.name}.{os.getpid()}"
    made.write_bytes(gzip.compress(archive + bytes(-len(archive) % 512), mtime=0))
    made.replace(target)  # another process may be reading it
    return target


if __name__ == "__main__":
    files = find()
    print(files.note)
    print(f"{files.kernel.stat().st_size:>12,}  {files.kernel}")
    print(f"{files.initrd.stat().st_size:>12,}  {files.initrd}")
    for (platform, arch, source), loader in files.loaders.items():
        print(f"{platform}/{arch}/{source} {loader.version}: {len(loader.members)} files")
