# SPDX-License-Identifier: Apache-2.0
"""Read a bundle from one or several folders: who signed it, whether it's whole, its files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from webapp.bundle import manifest as manifests
from webapp.bundle.manifest import BundleProblem, Manifest, Member
from webapp.fetch.folders import LocalFile, Raw
from webapp.trust.files import read_bounded
from webapp.trust.keyrings import Keyring
from webapp.trust.signatures import verify_clearsigned

ROOT = "file:///bundle/"  # where the files of a bundle seem to be
_PREFIX = "/bundle/"
_CHUNK = 1 << 20
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Held = Callable[[Member], LocalFile | None]


class Bundle:
    """A bundle whose manifest is signed by a trusted key. Its pieces aren't checked yet."""

    def __init__(self, folders: Sequence[Path], manifest: Manifest, fingerprint: str) -> None:
        self.manifest = manifest
        self.fingerprint = fingerprint
        self._folders = folders

    def check(self, advance: Callable[[int, int], object]) -> None:
        """Compare every byte of every piece with the manifest. Raises BundleProblem."""
        missing = [n for n in range(len(self.manifest.pieces)) if self._piece(n) is None]
        if missing:
            names = ", ".join(manifests.piece_name(n) for n in missing[:5])
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise BundleProblem(
                f"Pieces of the bundle are missing: {len(missing)} of {len(self.manifest.pieces)}.",
                code="bundle-missing",
                where=", ".join(map(str, self._folders)),
                got=f"no {names}{more}",
                next_step="Copy them into the same folder, or name every folder that has some.",
            )
        done = 0
        for number, piece in enumerate(self.manifest.pieces):
            path = self._path(number)
            digest, size = hashlib.sha256(), 0
            buffer = memoryview(bytearray(_CHUNK))
            with open(self._open(number), "rb", buffering=0) as file:
                while count := _read(file, buffer, path):
                    digest.update(buffer[:count])
                    size += count
                    advance(done + size, self.manifest.size)
                    if size > piece.size:
                        break
            if size != piece.size:
                raise _damaged(path, f"{piece.size} bytes", f"{size} bytes")
            if digest.hexdigest() != piece.sha256:
                raise _damaged(path, f"SHA-256 {piece.sha256}", digest.hexdigest())
            done += size

    def files(self, held: Held) -> Callable[[str], LocalFile | None]:
        """Opens the files of the bundle by their URLs' paths.

        held: opens a file that the other side already had, None if it hasn't.
        """
        places = {member: start for member, start in self.manifest.placed()}
        members = {path: member for member in self.manifest.members for path in member.paths}

        def find(path: str) -> LocalFile | None:
            member = members.get(path.removeprefix(_PREFIX))
            if member is None:
                return None
            if not member.is_here:
                return held(member)
            raw = _Span(self._open, self.manifest.split, places[member], member.size)
            return LocalFile(raw, member.size, f'"{member.sha256}"')

        return find

    def _piece(self, number: int) -> Path | None:
        """Where a piece is: a whole one if several folders have it."""
        name, found = manifests.piece_name(number), None
        for folder in self._folders:
            with suppress(OSError):
                size = os.lstat(folder / name).st_size
                found = found or folder / name
                if size == self.manifest.pieces[number].size:
                    return folder / name
        return found

    def _path(self, number: int) -> Path:
        return self._piece(number) or self._folders[0] / manifests.piece_name(number)

    def _open(self, number: int) -> int:
        """Open a piece; a link isn't followed. Raises BundleProblem."""
        path = self._path(number)
        try:
            fd = os.open(path, _FILE)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise _damaged(path, "a regular file", "a folder, pipe or device")
        return fd


class _Span:
    """The bytes of one file, over the pieces that have them."""

    def __init__(self, open_piece: Callable[[int], int], split: int, start: int, size: int) -> None:
        self._open_piece, self._split = open_piece, split
        self._start, self._size, self._at = start, size, 0
        self._number, self._fd = -1, -1

    def seek(self, offset: int) -> int:
        """Continue there."""
        self._at = offset
        return offset

    def readinto(self, view: memoryview) -> int:
        """Fill the view, at most to the end of a piece."""
        left = self._size - self._at
        if left <= 0:
            return 0
        number, inside = divmod(self._start + self._at, self._split)
        if number != self._number:
            self.close()
            self._fd, self._number = self._open_piece(number), number
        count = os.preadv(self._fd, [view[: min(left, self._split - inside)]], inside)
        self._at += count
        return count

    def close(self) -> None:
        """Let go of the piece."""
        if self._fd >= 0:
            os.close(self._fd)
        self._number, self._fd = -1, -1


def opened(folders: Sequence[Path], keyring: Keyring) -> Bundle:
    """The bundle in these folders. Raises BundleProblem, SignatureProblem, GpgProblem."""
    path = _where(folders, manifests.NAME)
    raw = read_bounded(
        str(path), max_bytes=manifests.MAX_BYTES, what="bundle", problem=BundleProblem
    )
    signed = verify_clearsigned(raw, keyring, what=str(path))
    manifest = manifests.parse(signed.payload, where=str(path))
    return Bundle(folders, manifest, signed.fingerprint)


def key_of(folders: Sequence[Path]) -> bytes:
    """The key that a bundle says it's signed with: to be shown, not to be trusted."""
    path = _where(folders, manifests.KEY)
    return read_bounded(str(path), max_bytes=1 << 20, what="bundle", problem=BundleProblem)


def _where(folders: Sequence[Path], name: str) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    is_unfinished = any((folder / ".work").is_dir() for folder in folders)
    raise BundleProblem(
        "This bundle isn't finished." if is_unfinished else "There is no bundle here.",
        code="bundle-missing",
        where=", ".join(map(str, folders)),
        expected=f"a folder with {name}",
        next_step="Run the same `slipway mirror bundle` again, which continues."
        if is_unfinished
        else "Name the folder that `slipway mirror bundle` wrote, or a copy of it.",
    )


def _read(file: Raw, buffer: memoryview, path: Path) -> int:
    try:
        return file.readinto(buffer) or 0
    except OSError as error:
        raise _unreadable(path, error) from error


def _damaged(path: Path, expected: str, got: str) -> BundleProblem:
    return BundleProblem(
        "A piece of the bundle was damaged or changed. Nothing was loaded.",
        code="bundle-damaged",
        where=str(path),
        expected=expected,
        got=got,
        next_step="Copy this piece again from where the bundle was made.",
    )


def _unreadable(path: Path, error: OSError) -> BundleProblem:
    return BundleProblem(
        "A piece of the bundle can't be read.",
        code="bundle-missing",
        where=str(path),
        expected="a file that this user can read",
        got=error.strerror or type(error).__name__,
        next_step="Check the medium and the file's owner, or copy this piece again.",
    )
