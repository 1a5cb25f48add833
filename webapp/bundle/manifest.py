# SPDX-License-Identifier: Apache-2.0
"""The signed list of a bundle's files and pieces: dataclasses in, bytes out, and back.

The bytes of all files, one after the other, are cut into pieces of equal size. The
manifest gives the order, so no name in a bundle is ever used as a path of the disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from webapp.errors import Problem
from webapp.streams import strictjson
from webapp.streams.errors import DocumentProblem
from webapp.streams.urls import check_path
from webapp.trust.files import read_bounded

FORMAT = "slipway-bundle:1"
HELD_FORMAT = "slipway-held:1"
NAME = "bundle.sjson"
KEY = "gpg.key"
MAX_BYTES = 64 << 20  # of a manifest, and of a statement of what is held
MAX_PIECES = 9999
MAX_FILE = 1 << 44
DOCUMENTS = "streams/v1/"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CLEAR = re.compile(rb"-----BEGIN PGP SIGNED MESSAGE-----\n.*?\n\n(.*)\n-----BEGIN PGP SIGN", re.S)


class BundleProblem(Problem):
    """A bundle can't be made, or isn't what its publisher signed.

    Codes: bundle-invalid, bundle-missing, bundle-damaged, bundle-incomplete, bundle-folder,
    bundle-full, bundle-exists, bundle-busy, bundle-empty, bundle-untrusted.
    """

    code = "bundle"


@dataclass(frozen=True)
class Member:
    """A file of the stream. paths: its names below the root, at least one.

    is_here: whether the pieces have its bytes; the other side has those that they don't.
    """

    sha256: str
    size: int
    paths: tuple[str, ...]
    is_here: bool = True


@dataclass(frozen=True)
class Piece:
    """A numbered piece."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A whole bundle. images: how many it lists. split: size of every piece but the last one."""

    made_at: datetime
    images: int
    split: int
    members: tuple[Member, ...]
    pieces: tuple[Piece, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all pieces together."""
        return sum(member.size for member in self.members if member.is_here)

    @property
    def sizes(self) -> list[int]:
        """The size of each piece, in order."""
        whole, rest = divmod(self.size, self.split)
        return [self.split] * whole + ([rest] if rest else [])

    def placed(self) -> Iterator[tuple[Member, int]]:
        """The files whose bytes are here, each with where it starts."""
        start = 0
        for member in self.members:
            if member.is_here:
                yield member, start
                start += member.size


def piece_name(number: int) -> str:
    """The file name of a piece, counted from 0."""
    return f"piece-{number + 1:04}"


def write(manifest: Manifest) -> bytes:
    """The bytes of a manifest, a value a line: gpg cuts signed lines at 20,000 characters."""
    tree = {
        "format": FORMAT,
        "made_at": manifest.made_at.isoformat(),
        "images": manifest.images,
        "split": manifest.split,
        "files": [
            {"sha256": m.sha256, "size": m.size, "paths": list(m.paths), "is_here": m.is_here}
            for m in manifest.members
        ],
        "pieces": [{"size": piece.size, "sha256": piece.sha256} for piece in manifest.pieces],
    }
    return (json.dumps(tree, indent=0) + "\n").encode()


def parse(payload: bytes, *, where: str, is_whole: bool = True) -> Manifest:
    """Read a manifest. is_whole: it has every piece. Raises BundleProblem (bundle-invalid)."""
    try:
        tree = strictjson.loads(payload, what=where)
        manifest = _manifest(tree, where)
    except DocumentProblem as problem:
        raise _invalid(where, f"{problem.what} {problem.got}".strip()) from problem
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(where, str(error)[:200] or type(error).__name__) from error
    sizes = [piece.size for piece in manifest.pieces]
    if sizes != manifest.sizes[: None if is_whole else len(sizes)]:
        raise _invalid(where, "pieces of other sizes than the files have")
    return manifest


def held_at(path: Path) -> frozenset[str]:
    """The digests that the other side has: of an earlier bundle, or as it stated itself.

    path: of the bundle's folder, or of a file. The signature of a bundle isn't checked: what is
    left out by mistake is missed when the bundle is loaded, before anything changes. Raises
    BundleProblem.
    """
    path = path / NAME if path.is_dir() else path
    where = str(path)
    raw = read_bounded(where, max_bytes=MAX_BYTES, what="bundle", problem=BundleProblem)
    clear = _CLEAR.match(raw.replace(b"\r\n", b"\n"))
    if clear:
        return frozenset(member.sha256 for member in parse(clear[1], where=where).members)
    try:
        tree = strictjson.loads(raw, what=where)
        if tree["format"] != HELD_FORMAT:
            raise ValueError(f"format {tree['format']!r}")
        return frozenset(_digest(value) for value in tree["sha256"])
    except DocumentProblem as problem:
        raise _no_statement(where, problem.what) from problem
    except (KeyError, TypeError, ValueError) as error:
        raise _no_statement(where, str(error)[:200]) from error


def _manifest(tree: Any, where: str) -> Manifest:
    if tree["format"] != FORMAT:
        raise ValueError(f"format {ascii(tree['format'])[:60]}")
    members = tuple(_member(entry, where) for entry in _list(tree["files"]))
    paths = [path for member in members for path in member.paths]
    digests = [member.sha256 for member in members]
    if len(set(paths)) != len(paths) or len(set(digests)) != len(digests):
        raise ValueError("a file twice")
    pieces = tuple(
        Piece(_size(entry["size"]), _digest(entry["sha256"])) for entry in _list(tree["pieces"])
    )
    if len(pieces) > MAX_PIECES:
        raise ValueError(f"more than {MAX_PIECES} pieces")
    split = _size(tree["split"])
    if not split:
        raise ValueError("pieces of 0 bytes")
    made_at = datetime.fromisoformat(tree["made_at"])
    if made_at.tzinfo is None:
        raise ValueError("a time without a zone")
    return Manifest(made_at, _size(tree["images"]), split, members, pieces)


def _member(entry: Any, where: str) -> Member:
    sha256, paths, is_here = _digest(entry["sha256"]), _list(entry["paths"]), entry["is_here"]
    if not paths or not isinstance(is_here, bool):
        raise ValueError("a file without a name")
    for path in paths:
        if not isinstance(path, str):
            raise ValueError("a name that isn't text")
        check_path(path, where=where)
        if not path.startswith((DOCUMENTS, f"sha256/{sha256}/")):
            raise ValueError(f"the name {path[:100]!a}")
    return Member(sha256, _size(entry["size"]), tuple(paths), is_here)


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError("something else than a list")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("something else than a SHA-256")
    return value


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_FILE:
        raise ValueError("something else than a size")
    return value


def _invalid(where: str, got: str) -> BundleProblem:
    return BundleProblem(
        "This isn't the manifest of a bundle that this Slipway can read.",
        code="bundle-invalid",
        where=where,
        expected=f"{FORMAT}, with plain names and matching sizes",
        got=got,
        next_step="Copy the bundle again, or create another one.",
    )


def _no_statement(where: str, got: str) -> BundleProblem:
    return BundleProblem(
        "This says nothing about what the other side has.",
        code="bundle-invalid",
        where=where,
        expected="an earlier bundle, or the output of `slipway mirror held` there",
        got=got,
        next_step="Correct --since.",
    )
