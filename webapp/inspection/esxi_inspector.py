# SPDX-License-Identifier: Apache-2.0
"""Version, build and preparation of an ESXi disk as its bytes pass."""

from __future__ import annotations

import re
from collections.abc import Callable

from webapp.inspection import fat
from webapp.inspection.report import Disk, Esxi, Partition
from webapp.inspection.system_inspector import Watch

_BUILD = re.compile(rb"^build=([0-9]+(?:\.[0-9]+)*)-[0-9.]*?([0-9]+)\s*$", re.MULTILINE)
_SECTOR = 512
_MAX_CONFIG_BYTES = 16 << 10
_MAX_FOLDER_BYTES = 64 << 10
_HOOKS, _SCRIPTS = "curtin-hooks", "scripts.tar.xz"


class EsxiInspector:
    """Asks for the places that tell, and keeps what they say in ``esxi``."""

    def __init__(self, disk: Disk, esxi: Esxi, watch: Watch) -> None:
        self.esxi = esxi
        self._disk = disk
        self._watch = watch
        self._into(1, self._see_first)
        self._into(5, self._see_bank)

    def _into(self, number: int, then: Callable[[Partition, fat.Volume, bytes], None]) -> None:
        """Read the root folder of a partition, when it is FAT."""
        partition = next((p for p in self._disk.partitions if p.number == number), None)
        if partition is None:
            return

        def see_boot(boot: bytes) -> None:
            volume = fat.read_volume(boot)
            if volume is not None and volume.root_size:
                self._watch(
                    partition.first + volume.root_first,
                    min(volume.root_size, _MAX_FOLDER_BYTES),
                    lambda root: then(partition, volume, root),
                )

        self._watch(partition.first, _SECTOR, see_boot)

    def _see_first(self, partition: Partition, volume: fat.Volume, root: bytes) -> None:
        found = next((e for e in fat.read_folder(root) if e.name == "curtin" and e.is_folder), None)
        if found is None:
            self.esxi.is_prepared = False
            return
        place = partition.first + volume.place_of(found.cluster)
        self._watch(place, min(volume.cluster, _MAX_FOLDER_BYTES), self._see_curtin)

    def _see_curtin(self, folder: bytes) -> None:
        names = {entry.name for entry in fat.read_folder(folder)}
        self.esxi.is_prepared = {_HOOKS, _SCRIPTS} <= names

    def _see_bank(self, partition: Partition, volume: fat.Volume, root: bytes) -> None:
        found = next((e for e in fat.read_folder(root) if e.name == "boot.cfg"), None)
        if found is not None and found.size:
            place = partition.first + volume.place_of(found.cluster)
            self._watch(place, min(found.size, _MAX_CONFIG_BYTES), self._see_config)

    def _see_config(self, text: bytes) -> None:
        match = _BUILD.search(text.replace(b"\r", b""))
        if match:
            self.esxi.version, self.esxi.build = match[1].decode(), match[2].decode()
