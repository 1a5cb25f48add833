# SPDX-License-Identifier: Apache-2.0
"""The operating system on a disk: what the installer looks for in its partitions.

The installer writes a disk, then looks for a partition with ``/curtin`` on it; a
disk without one fails at the end of a deployment (rule: curtin-on-disk).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from webapp.inspection import ext4, kinds, ntfs, xfs
from webapp.inspection.report import Disk, Partition, System

Watch = Callable[[int, int, Callable[[bytes], None]], bool]
_MAX_PARTITIONS = 8
_PIECE = 64 << 10  # of a table of files; a multiple of every record's size
_NEVER = {"efi", "bios", "extended", "msr", "swap"}  # no system is there
_UNREAD = {"btrfs": "btrfs", "lvm": "LVM", "luks": "LUKS"}
_WINDOWS_AGENT = "cloudbase-init"


class SystemInspector:
    """Asks for the places that tell; ``result`` once all bytes have passed.

    is_listed: all partitions are known.
    watch(first, size, then): asks for bytes of the disk; False when they have passed already.
    """

    def __init__(self, disk: Disk, watch: Watch) -> None:
        self._watch = watch
        self._system = System()
        self._waits = 0
        self._is_sure = self.is_listed = True
        self._count = 0
        for partition in disk.partitions:
            self.add(partition)

    def add(self, partition: Partition) -> None:
        """One more partition to inspect."""
        if partition.kind in _NEVER:
            return
        self._count += 1
        if self._count > _MAX_PARTITIONS:
            self._is_sure = False
            return
        self._ask(partition, 0, 2 * ext4.SUPER, self._see_start)
        if kinds.BTRFS_AT + len(kinds.BTRFS) <= partition.size:
            self._ask(partition, kinds.BTRFS_AT, len(kinds.BTRFS), self._see_btrfs)

    def result(self) -> System:
        """What was found; None where it couldn't be seen."""
        system = self._system
        if self._is_sure and self.is_listed and not self._waits:
            system.has_curtin = bool(system.has_curtin)
            if system.kind == "windows":
                system.has_cloud_init = bool(system.has_cloud_init)
        return system

    def _ask(
        self,
        partition: Partition,
        place: int,
        size: int,
        then: Callable[[Partition, bytes], None],
    ) -> None:
        def see(data: bytes) -> None:
            self._waits -= 1
            then(partition, data)

        self._waits += 1
        is_inside = place + size <= partition.size
        if not is_inside or not self._watch(partition.first + place, size, see):
            self._is_sure = False

    def _see_start(self, partition: Partition, start: bytes) -> None:
        windows, linux = ntfs.read_volume(start), ext4.read_volume(start[ext4.SUPER :])
        red_hat = xfs.read_volume(start)
        if windows is not None:
            self._system.kind = "windows"
            self._read_table(partition, windows)
        elif linux is not None:
            self._system.kind = self._system.kind or "linux"
            self._read_root(partition, linux)
        elif red_hat is not None:
            self._system.kind = self._system.kind or "linux"
            self._read_xfs(partition, red_hat)
        else:
            self._is_sure = False
            self._note_unread(partition, kinds.volume_kind(start))

    def _see_btrfs(self, partition: Partition, magic: bytes) -> None:
        if magic == kinds.BTRFS:
            self._note_unread(partition, "btrfs")

    def _note_unread(self, partition: Partition, kind: str) -> None:
        if kind in _UNREAD:
            self._is_sure = False
            self._system.kind = self._system.kind or "linux"
            self._system.unread[partition.number] = _UNREAD[kind]

    # -- NTFS: one table holds every name

    def _read_table(self, partition: Partition, volume: ntfs.Volume) -> None:
        def see_first(partition: Partition, record: bytes) -> None:
            runs = ntfs.table_runs(record, volume)
            self._is_sure &= bool(runs)
            for place, size in runs:
                self._read_run(partition, volume, place, place + size)

        self._ask(partition, volume.table, volume.record, see_first)

    def _read_run(self, partition: Partition, volume: ntfs.Volume, place: int, end: int) -> None:
        def see(partition: Partition, piece: bytes) -> None:
            self._see_records(piece, volume)
            if place + len(piece) < end:
                self._read_run(partition, volume, place + len(piece), end)

        self._ask(partition, place, min(_PIECE, end - place), see)

    def _see_records(self, piece: bytes, volume: ntfs.Volume) -> None:
        small = piece.lower()
        if not any(word.encode("utf-16-le") in small for word in ("curtin", _WINDOWS_AGENT)):
            return  # almost always: the records needn't be parsed
        for name in ntfs.names(piece, volume):
            if name.name == "curtin" and name.folder == ntfs.ROOT:
                self._system.has_curtin = True
            if name.name.startswith(_WINDOWS_AGENT):
                self._system.has_cloud_init = True

    # -- ext4: from the super block to the root folder

    def _read_root(self, partition: Partition, volume: ext4.Volume) -> None:
        def see_groups(partition: Partition, group: bytes) -> None:
            self._ask(partition, ext4.root_inode(group, volume), volume.inode, see_inode)

        def see_inode(partition: Partition, inode: bytes) -> None:
            runs = ext4.folder_runs(inode, volume)
            self._is_sure &= bool(runs)
            for place, size in runs:
                self._ask(partition, place, size, see_folder)

        def see_folder(partition: Partition, blocks: bytes) -> None:
            self._see_name(ext4.names(blocks))

        self._ask(partition, volume.groups, 64, see_groups)

    # -- XFS: the root folder's inode holds the names, or says where they are

    def _read_xfs(self, partition: Partition, volume: xfs.Volume) -> None:
        def see_inode(partition: Partition, inode: bytes) -> None:
            folder = xfs.read_folder(inode, volume)
            self._is_sure &= folder is not None
            if folder is None:
                return
            self._see_name(folder.names)
            for place, size in folder.runs:
                self._ask(partition, place, size, see_run)

        def see_run(partition: Partition, run: bytes) -> None:
            self._see_name(xfs.names(run, volume))

        self._ask(partition, volume.root_place, volume.inode, see_inode)

    def _see_name(self, names: Collection[str]) -> None:
        if "curtin" in names:
            self._system.has_curtin = True
