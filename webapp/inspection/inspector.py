# SPDX-License-Identifier: Apache-2.0
"""Inspect a file from its first byte to its last, and say what it is.

The head alone gives a verdict in milliseconds; the full pass also checks the
checksums of the compression, the length of a disk and its backup partition table
(rule: inspect-files).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from webapp.inspection import disks, judging, kinds, tarballs, unpacking, vhdx
from webapp.inspection.disk_inspector import DiskInspector
from webapp.inspection.disks import BadTable
from webapp.inspection.judging import MAX_DISK, Declared
from webapp.inspection.report import REJECT, WARN, Report, human
from webapp.inspection.tar_inspector import OutOfOrder, TarInspector
from webapp.inspection.tarballs import Member, NotTar, TooLargeHeader, TooManyExtents

HEAD = 1 << 20  # bytes of a file that are enough for a first verdict
_CLASSIFY = 65 << 10  # raw bytes that show what kind of thing it is
_INSIDE = 40 << 10  # the same for a member of a tarball
MAX_MEMBERS = 4_000_000  # of a tarball; a large root file system has one million
MAX_HEAD_RAW_BYTES = 64 << 20
_MAX_HEAD_ESXI_BYTES = 112 << 20  # ESXi's version is within 110 MiB
MAX_HEAD_CPU_S = 2.0  # of this thread; bzip2 takes seconds for what gzip unpacks at once
_MAX_HEAD_HEADERS = 30_000  # a first verdict is given while someone waits
_MAX_DISKS = 64  # of a virtual machine
_BOMB_RAW, _BOMB_RATIO = 4 << 30, 200
_AGAIN = "Copy or build the file again; compare its size and SHA-256 with the source."


def inspect(
    pieces: Iterable[bytes],
    declared: Declared,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Inspect the whole file; stops as soon as it is certain that it can't be used.

    Memory is bounded whatever the bytes are.
    """
    inspector = _Inspector(declared, is_head=False)
    inspector.run(pieces, on_progress)
    return inspector.report


def inspect_head(head: bytes, declared: Declared, size: int | None = None) -> Report:
    """A first verdict from the first HEAD bytes. size: of the whole file, when known."""
    inspector = _Inspector(declared, is_head=size is None or len(head) < size)
    inspector.run([head], lambda done: None)
    return inspector.report


class _Enough(Exception):
    """The verdict is certain already."""


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


class _Inspector:
    def __init__(self, declared: Declared, *, is_head: bool, is_outer: bool = True) -> None:
        self.report = Report()
        self._is_outer = is_outer
        self._declared = declared
        self._is_head = is_head
        self._began = time.thread_time()
        self._head = bytearray()
        self._disk: DiskInspector | None = None
        self._tar: TarInspector | None = None
        self._virtual_kind = ""
        self._virtual: dict[str, int] = {}  # sizes of the members that are virtual disks

    def run(self, pieces: Iterable[bytes], on_progress: Callable[[int], None]) -> None:
        """Take everything, then judge."""
        counted = _Counted(pieces, on_progress)
        stream = iter(counted)
        first = b""
        while len(first) < unpacking.HEAD:
            piece = next(stream, b"")
            if not piece:
                break
            first += piece
        report = self.report
        report.compression = unpacking.compression_of(first)
        try:
            if report.compression in unpacking.NAMED_ONLY:
                report.forecast = kinds.forecast(report.compression, first)
                report.container = "unknown"
                self._peek(first)
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
                self._refuse("cut", f"The file is truncated: its {report.compression} stream "
                             "ends too early.", _AGAIN)  # fmt: skip
        except unpacking.Damaged as damage:
            self._end_anyway()
            self._refuse("damaged", f"The {report.compression} stream is damaged: {damage}.",
                         _AGAIN)  # fmt: skip
        except _Enough:
            if self._is_head:
                self._end_anyway()
        judging.judge(report, self._declared, is_head=self._is_head)

    def _refuse(self, code: str, message: str, next_step: str) -> None:
        self.report.add(REJECT, code, message, next_step)

    def _peek(self, first: bytes) -> None:
        """See what is in a file that machines can't unpack, as far as its beginning shows it."""
        inside = unpacking.peek(first, self.report.compression) if self._is_outer else b""
        if inside:
            inspector = _Inspector(Declared(), is_head=True, is_outer=False)
            inspector.run([inside], lambda done: None)
            inner = inspector.report
            self.report.has_root = inner.container == "tar" and not inner.disk_in_tar
            size = inner.disk.size if inner.disk is not None else 0
            self.report.forecast = inner.forecast or max(self.report.forecast, size)

    # -- raw bytes

    def _take(self, raw: bytes) -> None:
        if self.report.container:
            self._pass(raw)
            return
        self._head += raw
        if len(self._head) >= _CLASSIFY:
            self._classify()

    def _classify(self) -> None:
        head = bytes(self._head)
        self._head.clear()
        self.report.container = self._kind_of(head)
        self._pass(head)

    def _kind_of(self, head: bytes) -> str:
        if not head:
            return "empty"
        if tarballs.is_header(head):
            self._tar = TarInspector(self.report, self._open_member, _INSIDE)
            return "tar"
        if kind := kinds.archive_or_virtual_disk(head):
            self.report.forecast = kinds.forecast(kind, head)
            return kind
        if self._open_disk(head):
            return "disk"
        if kind := kinds.volume_kind(head):
            return kind
        is_text = len(head) > 32 and all(
            32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:4096]
        )
        if unpacking.compression_of(head) and self.report.compression:
            return "packed"
        return "text" if is_text else "unknown"

    def _pass(self, raw: bytes) -> None:
        if self._tar is not None:
            self._pass_tar(self._tar, raw)
        elif self._disk is not None:
            with self._stop_at_bad_table():
                self._disk.take(raw)
        elif self.report.container == "vhdx" and len(self._head) < vhdx.HEAD:
            self._head += raw
            self.report.forecast = vhdx.size(self._head)
            if self.report.forecast:
                raise _Enough
        else:
            raise _Enough  # nothing that can be used: the rest wouldn't change that
        headers = self._tar.reader.headers if self._tar is not None else 0
        is_esxi = self._disk is not None and self._disk.esxi is not None
        is_costly = (
            self.report.raw_size > (_MAX_HEAD_ESXI_BYTES if is_esxi else MAX_HEAD_RAW_BYTES)
            or headers > _MAX_HEAD_HEADERS
            or time.thread_time() - self._began > MAX_HEAD_CPU_S
        )
        if self._is_head and is_costly:
            raise _Enough

    def _end(self) -> None:
        """No more bytes come."""
        report = self.report
        if not report.container:
            self._classify()
        if self._tar is not None:
            self._end_tar(self._tar)
        if self._disk is None:
            return
        report.esxi, report.system = self._disk.esxi, self._disk.system()
        if self._is_head:
            return
        with self._stop_at_bad_table():
            self._disk.end(report)
        report.esxi, report.system = self._disk.esxi, self._disk.system()
        if report.container == "vhd":
            report.disk, report.disk_in_tar, report.esxi = None, "", None

    def _end_anyway(self) -> None:
        """The same where the bytes ended badly."""
        with suppress(_Enough):
            self._end()

    # -- disks

    def _open_disk(self, head: bytes) -> bool:
        with self._stop_at_bad_table():
            table = disks.read_table(head[: disks.HEAD])
        if table is None:
            return False
        disk = self.report.disk = table.disk
        if disk.size > MAX_DISK:
            self._finish_as_disk()
            self._refuse(
                "too-large",
                f"The disk is {human(disk.size)}; the maximum is {human(MAX_DISK)}.",
                "Build a smaller one: it grows on the machine.",
            )
            raise _Enough
        self._disk = DiskInspector(table)
        return True

    def _stop_at_bad_table(self) -> _StopAtBadTable:
        return _StopAtBadTable(self)

    def bad_table(self, bad: BadTable) -> None:
        """A partition table turned out to be damaged."""
        self._finish_as_disk()
        self._refuse("table", f"The partition table is damaged: {bad}.", "Build the image again.")

    def _finish_as_disk(self) -> None:
        self.report.container = self.report.container or "disk"

    # -- tarballs

    def _open_member(self, head: bytes, member: Member) -> DiskInspector | None:
        kind = kinds.archive_or_virtual_disk(head)
        if kind and kinds.KINDS[kind].qemu:
            if member.size > max(self._virtual.values(), default=0):
                self._virtual_kind, self.report.forecast = kind, kinds.forecast(kind, head)
            if len(self._virtual) < _MAX_DISKS:
                self._virtual[member.name] = member.size
        elif not kind and self._open_disk(head):
            self.report.disk_in_tar = member.name
            return self._disk
        return None

    def _pass_tar(self, tar: TarInspector, raw: bytes) -> None:
        try:
            with self._stop_at_bad_table():
                tar.feed(raw)
        except NotTar:
            self._refuse("tar", "The tarball is damaged: it has an invalid header.",
                         "Build or copy it again.")  # fmt: skip
        except TooLargeHeader:
            self._refuse("tar", "The tarball has an extended header of more than 4 MiB or 50,000 "
                         "records.", "Pack it again with fewer extended attributes.")  # fmt: skip
        except TooManyExtents:
            self._refuse("tar-holes", "A sparse file in the tarball has more than a million "
                         "pieces.", "Pack it again without -S (--sparse).")  # fmt: skip
        except OutOfOrder:
            self._refuse("tar-order", f"The pieces of {self.report.disk_in_tar[:80]} in the "
                         "tarball aren't in order, so it can't be written to a disk as it is read.",
                         "Pack it again with GNU tar.")  # fmt: skip
        else:
            self._check_members(tar)
            return
        raise _Enough

    def _check_members(self, tar: TarInspector) -> None:
        large = tar.too_large
        if large is not None:
            self._refuse("too-large", f"{large.name[:80]} in it is {human(large.size)}; the "
                         f"maximum is {human(MAX_DISK)}.", "Leave it out.")  # fmt: skip
            raise _Enough
        if tar.root.entries > MAX_MEMBERS:
            self._refuse("many-files", f"The tarball holds more than {MAX_MEMBERS:,} files: this "
                         "isn't an image.", "Use the file that was built.")  # fmt: skip
            raise _Enough

    def _end_tar(self, tar: TarInspector) -> None:
        tar.end()
        report = self.report
        if tar.root.has_shell and report.disk_in_tar:
            self._disk, report.disk, report.disk_in_tar = None, None, ""
        elif self._virtual and not tar.root.has_shell and self._disk is None:
            report.container = "ova" if report.container == "ova" else self._virtual_kind
            if len(self._virtual) > 1:
                report.add(WARN, "disks", f"It has {len(self._virtual)} disks: only the largest "
                           "file is converted.", "Convert the other ones yourself.")  # fmt: skip
        if not self._is_head and not tar.reader.is_between:
            self._refuse("cut-tar", "The tarball is truncated: it ends inside a file.",
                         "Build or copy it again.")  # fmt: skip
        if tar.reader.has_more:
            report.add(
                WARN, "tar-end", "The tarball has an end mark in the middle: tar won't unpack "
                "what comes after it.", "Check that it was copied completely.",
            )  # fmt: skip

    # -- limits

    def _check_bomb(self, done: int) -> None:
        disk = self._disk
        is_known = disk is not None and disk.position < disk.disk.size
        raw = self.report.raw_size
        if raw > MAX_DISK or (not is_known and raw > max(_BOMB_RAW, done * _BOMB_RATIO)):
            self._refuse("bomb", f"{human(done)} of it unpack to more than {human(raw)}: this "
                         "isn't an image.", "Use the file that was built.")  # fmt: skip
            raise _Enough


@dataclass
class _StopAtBadTable:
    """A context in which a damaged table ends the inspection."""

    inspector: _Inspector

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BadTable):
            self.inspector.bad_table(error)
            raise _Enough from error


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
