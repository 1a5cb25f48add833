# SPDX-License-Identifier: Apache-2.0
"""A disk as its bytes pass: its table, its system, and whether all of it is there."""

from __future__ import annotations

from webapp.inspection import disks, gpt
from webapp.inspection.esxi_inspector import EsxiInspector
from webapp.inspection.gpt import BadTable, EntryList
from webapp.inspection.kinds import VHD_FOOTER
from webapp.inspection.ranges import Ranges, Tail
from webapp.inspection.report import REJECT, WARN, Esxi, Partition, Report, System, human
from webapp.inspection.system_inspector import SystemInspector

_PIECE = 64 << 10  # of the list of entries; a multiple of every entry's size


class DiskInspector:
    """Feed it a disk from its first byte. ``take`` and ``skip`` raise BadTable."""

    def __init__(self, table: disks.Table) -> None:
        self.disk = table.disk
        self.has_list = table.header is None and table.disk.table == "mbr"
        self._header = table.header
        self._backup = ""
        self._ranges = Ranges()
        self._esxi: EsxiInspector | None = None
        self._system: SystemInspector | None = None
        is_missing = table.header is None and not self.has_list
        self._tail = Tail(gpt.MAX_LIST_BYTES + max(gpt.SECTORS) if is_missing else VHD_FOOTER)
        if table.header is not None:
            self._ask_list(EntryList(table.header), table.header)
            last = self.disk.size - table.header.sector
            self._ranges.watch(last, table.header.sector, self._see_backup)
        elif self.has_list:
            self._inspect_content()

    @property
    def position(self) -> int:
        """Bytes that have passed."""
        return self._ranges.position

    @property
    def esxi(self) -> Esxi | None:
        """What is known of ESXi, when the disk has its layout."""
        return self._esxi.esxi if self._esxi is not None else None

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        self._tail.pass_by(piece)
        self._ranges.pass_by(piece)

    def skip(self, size: int) -> None:
        """That many zeros."""
        self._tail.skip(size)
        self._ranges.skip(size)

    def system(self) -> System:
        """Which system is on it; for ESXi see ``esxi``."""
        return self._system.result() if self._system is not None else System()

    def end(self, report: Report) -> None:
        """All bytes have passed: say whether they are the whole disk. Raises BadTable."""
        if self._tail.data().startswith(b"conectix"):
            report.container = "vhd"  # a fixed one: the disk itself, then a footer
            report.forecast = self.position - VHD_FOOTER
            return
        if self.disk.table == "gpt" and self._header is None:
            self._use_backup(report)
            return
        size, position = self.disk.size, self.position
        last = max(self.disk.partitions, key=lambda p: p.first + p.size, default=None)
        end = last.first + last.size if last is not None else 0
        if not self.has_list:
            report.add(
                REJECT, "short",
                f"The disk ends after {human(position)}, before its list of partitions.",
                "Copy or build the file again.",
            )  # fmt: skip
        elif last is not None and position < end:
            report.add(
                REJECT, "short",
                f"The file is truncated: the disk ends after {human(position)}, inside partition "
                f"{last.number}, which ends at {human(end)}.",
                "Copy or build the file again.",
            )  # fmt: skip
        elif position < size:
            report.add(
                WARN, "short",
                f"The disk ends after {human(position)}, but its partition table says "
                f"{human(size)}. All partitions are complete; the backup partition table is "
                "missing.",
                "Nothing is lost: growpart or sgdisk -e writes a new backup on the machine.",
            )  # fmt: skip
        elif size and self._backup:
            report.add(REJECT, "backup", f"The disk is damaged: {self._backup}.", "Build it again.")
        elif size and position > size:
            report.add(
                WARN, "longer",
                f"There are {human(position - size)} after the end of the disk, which is "
                f"{human(size)} according to its partition table.",
                "Nothing is lost: growpart or sgdisk -e moves the backup partition table to the "
                "end of the disk on the machine.",
            )  # fmt: skip

    def _ask_list(self, entries: EntryList, header: gpt.Header, done: int = 0) -> None:
        size = min(_PIECE, entries.size - done)

        def see(piece: bytes) -> None:
            entries.feed(piece)
            if done + size < entries.size:
                self._ask_list(entries, header, done + size)
                return
            entries.end()
            self.disk.partitions.extend(entries.partitions)
            self.has_list = True
            self._inspect_content()

        if not self._ranges.watch(entries.first + done, size, see):
            raise BadTable(f"its list of partitions would begin in sector {header.list_at}")

    def _inspect_content(self) -> None:
        layout = disks.layout_of(self.disk)
        if layout is not None:
            self._esxi = EsxiInspector(self.disk, layout, self._ranges.watch)
        else:
            self._system = SystemInspector(self.disk, self._ranges.watch)
            extended = [p for p in self.disk.partitions if p.kind == disks.EXTENDED]
            for partition in extended[:1]:
                self._ask_logical(self._system, partition, partition.first, 5)

    def _ask_logical(
        self, system: SystemInspector, extended: Partition, place: int, number: int
    ) -> None:
        """Follow the chain of logical partitions of an MBR; each has a table in front of it."""

        def see(sector: bytes) -> None:
            found, following = disks.read_logical(sector, place, extended, number)
            if found is not None:
                self.disk.partitions.append(found)
                system.add(found)
            if following > place:
                self._ask_logical(system, extended, following, number + 1)
            else:
                system.is_listed = True

        system.is_listed = False
        if number < disks.MAX_LOGICAL:
            self._ranges.watch(place, disks.SECTOR, see)

    def _see_backup(self, last: bytes) -> None:
        if self._header is not None:
            self._backup = gpt.check_backup(last, self._header)

    def _use_backup(self, report: Report) -> None:
        found = gpt.read_backup(self._tail.data(), self.position)
        if found is None:
            raise BadTable("neither its header nor its backup at the end of the disk is there")
        header, partitions = found
        self.disk.size, self.disk.sector_size = self.position, header.sector
        self.disk.partitions.extend(partitions)
        self.has_list = True
        self._inspect_content()  # what has passed is gone: only the layout is known
        report.add(
            WARN, "first-table",
            "The first partition table is missing; its backup at the end of the disk is intact. "
            "Linux doesn't read the backup by default, so the machine may not boot.",
            "Restore it before you upload the disk: sgdisk -e FILE.",
        )  # fmt: skip
