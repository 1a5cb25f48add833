# SPDX-License-Identifier: Apache-2.0
"""A disk as its bytes pass: table, kind of system, and for ESXi version, build and preparation."""

from __future__ import annotations

import re
from collections.abc import Callable

from webapp.inspection import disks, fat
from webapp.inspection.disks import SECTOR, Ranges
from webapp.inspection.report import Disk, Esxi, Partition, System
from webapp.inspection.system_look import SystemLook

_BUILD = re.compile(rb"^build=([0-9]+(?:\.[0-9]+)*)-[0-9.]*?([0-9]+)\s*$", re.MULTILINE)
_MOST_CFG = 16 << 10
_MOST_FOLDER = 64 << 10
_HOOKS, _SCRIPTS = "curtin-hooks", "scripts.tar.xz"


class DiskLook:
    """Feed it a disk from its first byte, after its table was read."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.esxi: Esxi | None = disks.layout_of(disk)
        self.backup = "it was not seen"
        self._ranges = Ranges()
        if disk.size:
            self._ranges.watch(disk.size - SECTOR, SECTOR, self._see_backup)
        self._system: SystemLook | None = None
        if self.esxi is not None:
            self._into(1, self._see_first)
            self._into(5, self._see_bank)
        else:
            self._system = SystemLook(disk, self._ranges.watch)

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        self._ranges.pass_by(piece)

    def system(self) -> System:
        """What system is on it; for ESXi see ``esxi``."""
        return self._system.result() if self._system is not None else System()

    @property
    def position(self) -> int:
        """Bytes that passed."""
        return self._ranges.position

    def _into(self, number: int, then: Callable[[Partition, fat.Volume, bytes], None]) -> None:
        """Read the root folder of a partition, when it is FAT."""
        partition = next((p for p in self.disk.partitions if p.number == number), None)
        if partition is None:
            return

        def see_boot(boot: bytes) -> None:
            volume = fat.read_volume(boot)
            if volume is not None and volume.root_size:
                self._ranges.watch(
                    partition.first + volume.root_first,
                    min(volume.root_size, _MOST_FOLDER),
                    lambda root: then(partition, volume, root),
                )

        self._ranges.watch(partition.first, SECTOR, see_boot)

    def _see_first(self, partition: Partition, volume: fat.Volume, root: bytes) -> None:
        if self.esxi is None:
            return
        found = next((e for e in fat.read_folder(root) if e.name == "curtin" and e.is_folder), None)
        if found is None:
            self.esxi.is_prepared = False
            return
        place = partition.first + volume.place_of(found.cluster)
        self._ranges.watch(place, min(volume.cluster, _MOST_FOLDER), self._see_curtin)

    def _see_curtin(self, folder: bytes) -> None:
        if self.esxi is None:
            return
        names = {entry.name for entry in fat.read_folder(folder)}
        self.esxi.is_prepared = {_HOOKS, _SCRIPTS} <= names

    def _see_bank(self, partition: Partition, volume: fat.Volume, root: bytes) -> None:
        found = next((e for e in fat.read_folder(root) if e.name == "boot.cfg"), None)
        if found is not None and found.size:
            place = partition.first + volume.place_of(found.cluster)
            self._ranges.watch(place, min(found.size, _MOST_CFG), self._see_config)

    def _see_config(self, text: bytes) -> None:
        match = _BUILD.search(text.replace(b"\r", b""))
        if match and self.esxi is not None:
            self.esxi.version, self.esxi.build = match[1].decode(), match[2].decode()

    def _see_backup(self, last: bytes) -> None:
        self.backup = disks.check_backup(last, self.disk.size)
