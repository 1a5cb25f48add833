# SPDX-License-Identifier: Apache-2.0
"""Look at a file from its first byte to its last, and say what it is (spec esxi b.2).

The head alone gives a verdict in milliseconds; the full pass also checks the
checksums of the compression, the length of a disk and its second partition table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from webapp.inspection import disks, judging, tarballs, unpacking
from webapp.inspection.disk_look import DiskLook
from webapp.inspection.disks import BadTable
from webapp.inspection.judging import MAX_DISK, Declared
from webapp.inspection.report import REJECT, Report, Root, human
from webapp.inspection.tarballs import Content, Member, NotTar, TarReader

HEAD = 1 << 20  # bytes of a file that are enough for a first verdict
_CLASSIFY = 40 << 10  # raw bytes that show what kind of thing it is
_BOMB_RAW, _BOMB_RATIO = 4 << 30, 200
_MAGIC = (
    (0, b"hsqs", "squashfs"),
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"MSWIM\0\0\0", "wim"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x7fELF", "elf"),
    (32769, b"CD001", "iso"),
    (1080, b"\x53\xef", "ext4"),
    (0, b"XFSB", "xfs"),
)
_SHELLS = ("bin/sh", "bin/dash", "bin/bash", "bin/busybox", "bin/busybox.static")
_ARCHES = {62: "amd64", 183: "arm64", 40: "armhf", 3: "i386", 21: "ppc64el", 243: "riscv64"}


def inspect(
    pieces: Iterable[bytes],
    declared: Declared,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Look at the whole file; stops early when it is certain that it is no good.

    Memory is bounded whatever the bytes are; what is refused is refused at the
    first place that shows it.
    """
    look = _Look(declared, is_head=False)
    look.run(pieces, on_progress)
    return look.report


def inspect_head(head: bytes, declared: Declared, size: int | None = None) -> Report:
    """A first verdict from the first HEAD bytes. size: of the whole file, when known."""
    look = _Look(declared, is_head=size is None or len(head) < size)
    look.run([head], lambda done: None)
    return look.report


class _Enough(Exception):
    """It is certain already."""


@dataclass
class _Counted:
    """Pieces as they are taken, counted."""

    pieces: Iterable[bytes]
    on_progress: Callable[[int], None]
    done: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.done += len(piece)
            self.on_progress(self.done)
            yield piece


class _Look:
    def __init__(self, declared: Declared, *, is_head: bool) -> None:
        self.report = Report()
        self._declared = declared
        self._is_head = is_head
        self._head = bytearray()
        self._disk: DiskLook | None = None
        self._tar: TarReader | None = None
        self._inner: tuple[Member, bytearray] | None = None
        self._shell: tuple[Member, bytearray] | None = None

    def run(self, pieces: Iterable[bytes], on_progress: Callable[[int], None]) -> None:
        """Take everything, then judge."""
        counted = _Counted(pieces, on_progress)
        stream = iter(counted)
        first = b""
        while len(first) < 8:
            piece = next(stream, b"")
            if not piece:
                break
            first += piece
        report = self.report
        report.compression = unpacking.compression_of(first)
        try:
            if report.compression == "zstd":
                report.container = "unknown"
                raise _Enough
            for raw in unpacking.raw(_chained(first, stream), report.compression):
                report.raw_size += len(raw)
                self._take(raw)
                self._check_bomb(counted.done)
            self._end()
            report.is_whole = not self._is_head
        except unpacking.Cut:
            self._end_anyway()
            if not self._is_head:
                report.say(
                    REJECT,
                    "cut",
                    f"The {report.compression} stream ends in the middle: the file is cut.",
                    "Copy or build the file again; compare its size and SHA-256 with the source.",
                )
        except unpacking.Damaged as damage:
            self._end_anyway()
            report.say(
                REJECT,
                "damaged",
                f"The {report.compression} stream is damaged: {damage}.",
                "Copy or build the file again; compare its SHA-256 with the source.",
            )
        except _Enough:
            pass
        judging.judge(report, self._declared, is_head=self._is_head)

    # -- raw bytes

    def _take(self, raw: bytes) -> None:
        if self.report.container:
            self._pass(raw)
            return
        self._head += raw
        if len(self._head) >= _CLASSIFY:
            self._classify()

    def _end(self) -> None:
        """No more bytes come."""
        if not self.report.container:
            self._classify()
        self._look_into_shell()
        look, report = self._disk, self.report
        if look is not None:
            report.esxi, report.system = look.esxi, look.system()
        if self._is_head:
            return
        if self._tar is not None and not self._tar.is_between:
            report.say(
                REJECT,
                "cut-tar",
                "The tarball ends in the middle of a file: it is cut.",
                "Build or copy it again.",
            )
        if look is None or report.disk is None:
            return
        size = report.disk.size
        if size and look.position < size:
            report.say(
                REJECT,
                "short",
                f"The disk ends after {human(look.position)}, but its partition table "
                f"says {human(size)}: the file is cut.",
                "Copy or build the file again.",
            )
        elif size and look.backup:
            report.say(REJECT, "backup", f"The disk is damaged: {look.backup}.", "Build it again.")

    def _end_anyway(self) -> None:
        """The same where the bytes ended badly."""
        with suppress(_Enough):
            self._end()

    def _classify(self) -> None:
        head, report = bytes(self._head), self.report
        self._head.clear()
        report.container = self._kind_of(head)
        self._pass(head)

    def _kind_of(self, head: bytes) -> str:
        if not head:
            return "empty"
        for place, magic, kind in _MAGIC:
            if head[place : place + len(magic)] == magic:
                return kind
        if tarballs.is_header(head[: tarballs.BLOCK]):
            self._tar = TarReader()
            self.report.root = Root()
            return "tar"
        if self._open_disk(head):
            return "disk"
        is_text = len(head) > 32 and all(
            32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:4096]
        )
        return "text" if is_text else "unknown"

    def _open_disk(self, head: bytes) -> bool:
        try:
            disk = disks.read_table(head[: disks.HEAD])
        except BadTable as bad:
            self.report.container = "disk"
            self.report.say(
                REJECT, "table", f"The partition table is damaged: {bad}.", "Build the image again."
            )
            raise _Enough from bad
        if disk is None:
            return False
        self.report.disk = disk
        if disk.size > MAX_DISK:
            self.report.container = "disk"
            self.report.say(
                REJECT,
                "too-large",
                f"The disk in it is {human(disk.size)} large; at most {human(MAX_DISK)} are taken.",
                "Build it smaller: it grows on the machine.",
            )
            raise _Enough
        self._disk = DiskLook(disk)
        return True

    def _pass(self, raw: bytes) -> None:
        if self._tar is not None:
            self._pass_tar(raw)
        elif self._disk is not None:
            self._pass_disk(raw)
        elif not self._is_head:
            raise _Enough  # nothing that can be used: the rest would not change that

    def _pass_disk(self, raw: bytes) -> None:
        look = self._disk
        if look is None:
            return
        look.take(raw)
        size = look.disk.size
        if size and look.position > size:
            self.report.say(
                REJECT,
                "longer",
                f"There is more in it than the {human(size)} that its partition table tells.",
                "Build the image again.",
            )
            raise _Enough

    # -- tarballs

    def _pass_tar(self, raw: bytes) -> None:
        if self._tar is None:
            return
        try:
            for event in self._tar.feed(raw):
                if isinstance(event, Member):
                    self._begin_member(event)
                else:
                    self._see_content(event)
        except NotTar:
            self.report.say(
                REJECT, "tar", "The tarball is damaged: a header in it makes no sense.",
                "Build or copy it again.",
            )  # fmt: skip
            raise _Enough from None

    def _begin_member(self, member: Member) -> None:
        root, report = self.report.root, self.report
        if root is None:
            return
        root.entries += 1
        name = member.name.removeprefix("./").lstrip("/")
        if member.size > MAX_DISK:
            report.say(REJECT, "too-large", f"{name[:80]} in it is {human(member.size)} large.", "")
            raise _Enough
        if name.endswith(".ovf"):
            report.container = "ova"
            raise _Enough
        self._look_into_shell()
        base = name.removeprefix("usr/")
        if base in _SHELLS and member.kind in "0\0" and member.size:
            self._shell = (member, bytearray())
        elif base in _SHELLS:
            root.has_shell = True
        root.has_kernel |= name.startswith(("boot/vmlinu", "boot/Image", "boot/kernel"))
        root.has_initrd |= name.startswith(("boot/initr", "boot/initramfs"))
        root.has_cloud_init |= base in ("bin/cloud-init",) or name.startswith("etc/cloud/cloud.cfg")
        root.has_curtin_hooks |= name.startswith("curtin/")
        is_large = member.size >= _CLASSIFY and self._disk is None
        self._inner = (member, bytearray()) if is_large else None

    def _see_content(self, content: Content) -> None:
        if self._shell is not None and self._shell[0] is content.member:
            room = 64 - len(self._shell[1])
            self._shell[1].extend(content.data[: max(0, room)])
        if self._disk is not None and self.report.disk_in_tar:
            if content.member.name == self.report.disk_in_tar:
                self._pass_disk(content.data)
            return
        if self._inner is None or self._inner[0] is not content.member:
            return
        member, head = self._inner
        head += content.data
        if len(head) >= _CLASSIFY:
            self._inner = None
            if self._open_disk(bytes(head)):
                self.report.disk_in_tar = member.name
                self._pass_disk(bytes(head))

    def _look_into_shell(self) -> None:
        shell, self._shell = self._shell, None
        root = self.report.root
        if shell is None or root is None or len(shell[1]) < 20:
            return
        root.has_shell = True
        head = bytes(shell[1])
        if head[:4] == b"\x7fELF":
            is_big = head[5] == 2
            machine = int.from_bytes(head[18:20], "big" if is_big else "little")
            is_s390 = machine == 22 and is_big
            root.arch = "s390x" if is_s390 else _ARCHES.get(machine, root.arch)

    def _check_bomb(self, done: int) -> None:
        is_known_disk = self._disk is not None and bool(self._disk.disk.size)
        raw = self.report.raw_size
        if raw > MAX_DISK or (not is_known_disk and raw > max(_BOMB_RAW, done * _BOMB_RATIO)):
            self.report.say(
                REJECT,
                "bomb",
                f"{human(done)} of it become more than {human(raw)}: this is no image.",
                "Use the file that was built, not one that only looks like it.",
            )
            raise _Enough


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
