# SPDX-License-Identifier: Apache-2.0
"""Files of a made mirror: bytes that depend on a seed and a key alone."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

MIB = 1 << 20
_GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"
_HEADS = {  # enough of a header for file(1) to name the type
    "squashfs": b"hsqs",
    "boot-kernel": b"MZ" + bytes(0x200) + b"HdrS",
    "boot-initrd": _GZIP,
    "boot-dtb": b"\xd0\x0d\xfe\xed",
    "root-image.gz": _GZIP,
    "root-tgz": _GZIP,
    "root-dd.gz": _GZIP,
    "root-dd.xz": b"\xfd7zXZ\x00",
}


class Payloads:
    """Write files below a folder and remember the size and sha256 of each path."""

    def __init__(self, root: Path, seed: str) -> None:
        self.root = root
        self.seed = seed
        self.known: dict[str, dict[str, int | str]] = {}

    def made(self, path: str, key: str, ftype: str, size: int) -> dict[str, int | str]:
        """A pseudo-random file; the same key gives the same bytes."""
        return self._write(path, self._chunks(f"{ftype}|{key}", ftype, size))

    def given(self, path: str, content: bytes) -> dict[str, int | str]:
        """A file with exactly these bytes."""
        return self._write(path, [content])

    def copied(self, path: str, source: Path) -> dict[str, int | str]:
        """A copy of a real file."""
        with source.open("rb") as stream:
            return self._write(path, iter(lambda: stream.read(MIB), b""))

    def size(self, base: int, jitter: float, key: str) -> int:
        """The base size, give or take a fraction that depends on the key."""
        return max(64, int(base * (1 + jitter * self.random("size", key).uniform(-1, 1))))

    def random(self, *key: str) -> random.Random:
        """A generator that is the same for the same seed and key."""
        return random.Random("|".join((self.seed, *key)))

    def prune(self) -> None:
        """Remove payload files that the documents no longer name."""
        for path in self.root.rglob("*"):
            relative = path.relative_to(self.root).as_posix()
            if path.is_file() and relative.split("/")[0] != "streams":
                if relative not in self.known:
                    path.unlink()

    def forget(self, kept: Iterable[str]) -> None:
        """Keep only these paths in memory; files stay where they are."""
        wanted = set(kept)
        self.known = {path: info for path, info in self.known.items() if path in wanted}

    def _chunks(self, key: str, ftype: str, size: int) -> Iterator[memoryview]:
        block = bytearray(self.random(key).randbytes(min(MIB, max(size, 64))))
        head = _HEADS.get(ftype, b"")[: len(block)]
        block[: len(head)] = head
        count = 0
        while size > 0:
            yield memoryview(block)[: min(size, len(block))]
            size -= len(block)
            count += 1
            # No two blocks are alike, so that a block written twice or left out shows.
            block[:32] = hashlib.sha256(b"%d" % count + block[32:64]).digest()

    def _write(self, path: str, chunks: Iterable[bytes | memoryview]) -> dict[str, int | str]:
        if path not in self.known:
            digest, size = hashlib.sha256(), 0
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_name(f".{target.name}.new")
            with aside.open("wb") as stream:
                for chunk in chunks:
                    digest.update(chunk)
                    size += stream.write(chunk)
            os.replace(aside, target)
            self.known[path] = {"sha256": digest.hexdigest(), "size": size}
        return dict(self.known[path])


def manifest(rng: random.Random, lines: int) -> bytes:
    """A list of packages as ``squashfs.manifest`` holds it."""
    names = [
        rng.choice(["lib", "python3-", "linux-", "gnu", "perl-"]) + str(n) for n in range(lines)
    ]
    rows = sorted(
        f"{n}\t{rng.randrange(9)}.{rng.randrange(40)}-{rng.randrange(9)}\n" for n in names
    )
    return "".join(rows).encode()


def archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An ``archive.tar.xz`` of these members; the same members give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=0) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), 1_700_000_000, 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def replace(path: Path, content: bytes) -> None:
    """Put these bytes at path in one step: a reader sees the old or the new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(content)
    os.replace(aside, path)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a made mirror; the copy may change without changing the first."""
    shutil.copytree(source, target, symlinks=True)
