# SPDX-License-Identifier: Apache-2.0
"""Read a backup: nothing of it is used that doesn't match its manifest.

A tar file isn't unpacked: members are read by the names in the manifest, so that no
path in the file matters.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from webapp.errors import Problem
from webapp.services.backups import manifest
from webapp.services.backups.manifest import BackupDamaged, Manifest, Member
from webapp.storage.files import open_file

_CHUNK = 1 << 20


class Backup(ABC):
    """An open backup with its manifest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = self._read_manifest()

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The bytes of a member.

        Raises BackupDamaged, at the latest after the last chunk: use nothing before.
        """
        digest, read = hashlib.sha256(), 0
        try:
            with self._open(member.name) as file:
                while read <= member.size and (chunk := file.read(_CHUNK)):
                    read += len(chunk)
                    digest.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise self._differs(member, "nothing") from None
        except (OSError, tarfile.TarError) as error:
            raise self._differs(member, str(error)[:200]) from error
        if read != member.size:
            raise self._differs(member, f"{read} bytes" if read < member.size else "more bytes")
        if digest.hexdigest() != member.sha256:
            raise self._differs(member, f"sha256 {digest.hexdigest()}")

    def content(self, member: Member, limit: int = 64 << 20) -> bytes:
        """A small member. Raises BackupDamaged."""
        if member.size > limit:
            raise self._differs(member, f"more than {limit} bytes")
        return b"".join(self.chunks(member))

    def _read_manifest(self) -> Manifest:
        try:
            with self._open(manifest.NAME) as file:
                data = file.read(manifest.MAX_BYTES + 1)
        except (OSError, tarfile.TarError) as error:
            raise BackupDamaged(
                "This isn't a complete backup.",
                where=str(self.path),
                expected=manifest.NAME,
                got="no such member" if isinstance(error, FileNotFoundError) else str(error)[:200],
            ) from error
        return manifest.parse(data, str(self.path))

    def _differs(self, member: Member, got: str) -> BackupDamaged:
        return BackupDamaged(
            "A file of the backup is damaged.",
            where=f"{self.path}, {member.name}",
            expected=f"{member.size} bytes with sha256 {member.sha256}",
            got=got,
        )

    @abstractmethod
    def _open(self, name: str) -> BinaryIO:
        """Open a member. Raises FileNotFoundError, OSError, tarfile.TarError."""


class _Folder(Backup):
    def _open(self, name: str) -> BinaryIO:
        return os.fdopen(open_file(self.path / name, os.O_RDONLY), "rb")


class _Tar(Backup):
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:")
        self._members = {info.name: info for info in self._tar if info.type == tarfile.REGTYPE}
        super().__init__(path)

    def _open(self, name: str) -> BinaryIO:
        if name not in self._members:
            raise FileNotFoundError(name)
        return cast(BinaryIO, self._tar.extractfile(self._members[name]))


@contextmanager
def opened(path: Path) -> Iterator[Backup]:
    """Open a backup for reading. Raises BackupDamaged, Problem."""
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise Problem(
            "The backup can't be read.",
            code="backup",
            where=str(path),
            got=error.strerror or str(error),
            next_step="Name the folder or the .tar file that `slipway backup` wrote.",
        ) from error
    with file:
        try:
            backup = _Tar(path, file)
        except (tarfile.TarError, OSError) as error:
            raise BackupDamaged(
                "This isn't a complete backup.",
                where=str(path),
                expected="a tar file that `slipway backup` wrote",
                got=str(error)[:200],
            ) from error
        yield backup


def damage(backup: Backup, advance: Callable[[int], object]) -> list[BackupDamaged]:
    """Read every byte of a backup; what's wrong with it, one problem for each member.

    advance: called with the bytes read so far.
    """
    found, before = [], 0
    for member in backup.manifest.members:
        read = before
        try:
            for chunk in backup.chunks(member):
                read += len(chunk)
                advance(read)
        except BackupDamaged as problem:
            found.append(problem)
        before += member.size
    return found
