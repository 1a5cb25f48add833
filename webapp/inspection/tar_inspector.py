# SPDX-License-Identifier: Apache-2.0
"""What is in a tarball: a root file system, a disk, or neither, as its members pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from webapp.inspection.report import MAX_DISK, Report, Root
from webapp.inspection.tarballs import Content, Member, TarReader

_SHELLS = ("bin/sh", "bin/dash", "bin/bash", "bin/busybox", "bin/busybox.static")
_ARCHES = {62: "amd64", 183: "arm64", 40: "armhf", 3: "i386", 21: "ppc64el", 243: "riscv64"}
_ELF = 64  # bytes that tell the machine
_MAX_PROGRAMS = 4096


class Disk(Protocol):
    """Whoever takes the bytes of the disk in a tarball."""

    @property
    def position(self) -> int:
        """Bytes that have passed."""

    def take(self, piece: bytes) -> None:
        """The next bytes."""

    def skip(self, size: int) -> None:
        """That many zeros."""


class OutOfOrder(Exception):
    """The pieces of a sparse disk don't come in the order of their places."""


class TarInspector:
    """Feed it a tarball. open_disk(head, member): a look into it when it begins like a disk.

    head: bytes that it needs to see of a member to tell.
    """

    def __init__(
        self, report: Report, open_disk: Callable[[bytes, Member], Disk | None], head: int
    ) -> None:
        self.reader = TarReader()
        self.root = report.root = Root()
        self._report = report
        self._open_disk = open_disk
        self._needed = head
        self._disk: Disk | None = None
        self._inside: Member | None = None  # the member that _disk is in
        self._head: bytearray | None = None  # of a member that may be a disk
        self._program: bytearray | None = None
        self._member = Member("", "", 0)
        self._machines: dict[str, str] = {}
        self.too_large: Member | None = None

    def feed(self, piece: bytes) -> None:
        """The next bytes. Raises what TarReader raises, OutOfOrder and what the disk raises."""
        for event in self.reader.feed(piece):
            if isinstance(event, Member):
                self._end_member()
                self._begin(event)
            else:
                self._see(event)

    def end(self) -> None:
        """No more bytes come."""
        self._end_member()

    def _begin(self, member: Member) -> None:
        root, self._member = self.root, member
        root.entries += 1
        name = _plain(member.name)
        if member.size > MAX_DISK:
            self.too_large = member
        if name.endswith(".ovf") and "/" not in name:
            self._report.container = "ova"
        base = name.removeprefix("usr/")
        is_file = member.kind not in "123456" and member.size > 0
        if base in _SHELLS and not is_file:
            root.has_shell = True
            if member.kind == "1":
                root.arch = self._machines.get(_plain(member.link), root.arch)
        root.has_kernel |= name.startswith(("boot/vmlinu", "boot/Image", "boot/kernel"))
        root.has_initrd |= name.startswith(("boot/initr", "boot/initramfs"))
        root.has_cloud_init |= base in ("bin/cloud-init",) or name.startswith("etc/cloud/cloud.cfg")
        root.has_curtin_hooks |= name.startswith("curtin/")
        if is_file and base.startswith("bin/"):
            self._program = bytearray()
        is_large = is_file and member.size >= self._needed
        if is_large and self._disk is None and not root.has_shell:
            self._head = bytearray()

    def _see(self, content: Content) -> None:
        if self._program is not None and content.place == len(self._program):
            self._program += content.data[: _ELF - len(self._program)]
        if self._disk is not None:
            if self._inside is content.member:
                self._pass(self._disk, content)
            return
        if self._head is None:
            return
        # The hole before a piece belongs to the head, too.
        hole = content.place - len(self._head)
        if hole < 0:
            self._head = None
            return
        self._head += bytes(min(hole, self._needed - len(self._head)))
        used = min(self._needed - len(self._head), len(content.data))
        self._head += content.data[:used]
        if len(self._head) >= self._needed:
            self._open(content, used)

    def _open(self, content: Content, used: int) -> None:
        """Look whether the head is a disk's, and pass it what is left of this piece."""
        head, self._head = bytes(self._head or b""), None
        self._disk = self._open_disk(head, content.member)
        if self._disk is not None:
            self._inside = content.member
            self._disk.take(head)
            rest = Content(content.member, content.place + used, content.data[used:])
            self._pass(self._disk, rest)

    @staticmethod
    def _pass(disk: Disk, content: Content) -> None:
        hole = content.place - disk.position
        if hole < 0:
            raise OutOfOrder
        if hole:
            disk.skip(hole)
        if content.data:
            disk.take(content.data)

    def _end_member(self) -> None:
        """A member is complete: see which machine its program is for."""
        self._head = None
        program, self._program = self._program, None
        if program is None:
            return
        name = _plain(self._member.name)
        machine = _machine(bytes(program))
        if name.removeprefix("usr/") in _SHELLS and len(program) >= 20:
            self.root.has_shell = True
            self.root.arch = machine or self.root.arch
        if machine and len(self._machines) < _MAX_PROGRAMS:
            self._machines[name] = machine


def _plain(name: str) -> str:
    return name.removeprefix("./").lstrip("/")


def _machine(head: bytes) -> str:
    """The architecture of a program, by its ELF header; "" for anything else."""
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    is_big = head[5] == 2
    machine = int.from_bytes(head[18:20], "big" if is_big else "little")
    return "s390x" if machine == 22 and is_big else _ARCHES.get(machine, "")
