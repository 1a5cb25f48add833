# SPDX-License-Identifier: Apache-2.0
"""The document that racks elsewhere follow: every name that machines may ask for.

It's signed like an index, and no index lists it, so other readers of the stream never see
it. It names the other documents of the same state by digest, among them the keys that may
sign the next one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from webapp.streams import checks, strictjson
from webapp.streams.errors import DocumentProblem
from webapp.streams.restrictions import Restriction, checked

FORMAT = "slipway-rack:1"
RACK_PATH = "streams/v1/rack.sjson"
BOOT_PATH = "streams/v1/boot.json"  # what machines boot
RESTRICTED_PATH = "streams/v1/restricted.json"  # the images that aren't for everyone
FOR_RACKS = frozenset((BOOT_PATH, RESTRICTED_PATH))  # enrolled racks alone get these
RESTRICTED_FORMAT = "slipway-restricted:1"
MAX_SETS, MAX_NAMES = 20_000, 5_000
MAX_SIZE = 1 << 44
_DIGEST = re.compile(r"[0-9a-f]{64}")
_QUOTED = re.compile(r"[\w/:@!$&'()*+,;=~.%-]+", re.ASCII)
_PATH = re.compile(r"(?:[\w.-]+/)*[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class RackFile:
    """A file of a version. path: its pinned name below ``/images/``, quoted."""

    sha256: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class RackSet:
    """One version of an image.

    current: the folders below ``/images/`` that mean it now. pinned: those that always do.
    files: by every name they have in those folders. completed: Unix time. restriction: to whom
    the image is kept, None for everyone.
    """

    version: str
    completed: int
    current: tuple[str, ...]
    pinned: tuple[str, ...]
    files: Mapping[str, RackFile]
    restriction: Restriction | None = None

    @property
    def image(self) -> str:
        """``os/release/arch``, as settings name images; "" for what has no such name."""
        parts = self.pinned[0].split("/")
        return "/".join((parts[0], parts[3], parts[1])) if len(parts) == 6 else ""


Restrictions = Mapping[str, Restriction]  # by image, as RackSet has it; stored or not


@dataclass(frozen=True)
class RackDocument:
    """One state of a region. documents: path -> sha256 of the rest of its signed tree.

    restrictions: of all images that have one; None where there are some, and this rack may not
    know them. Their sets aren't in the list itself (``with_restricted``).
    """

    updated: datetime
    documents: Mapping[str, str]
    sets: tuple[RackSet, ...]
    restrictions: Restrictions | None = field(default_factory=dict)


def write(document: RackDocument) -> bytes:
    """The text to sign. One value a line: gpg cuts signed lines at 20,000 characters."""
    tree = {
        "format": FORMAT,
        "updated": format_datetime(document.updated.astimezone(UTC)),
        "documents": dict(document.documents),
        "sets": [write_set(one) for one in document.sets],
    }
    return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()


def write_set(one: RackSet) -> dict[str, Any]:
    """A version as JSON has it."""
    return {
        "version": one.version,
        "completed": one.completed,
        "current": list(one.current),
        "pinned": list(one.pinned),
        "files": {
            name: {"sha256": file.sha256, "size": file.size, "path": file.path}
            for name, file in one.files.items()
        },
    }


def write_restricted(restrictions: Restrictions, sets: Iterable[RackSet]) -> bytes:
    """The images that aren't for everyone; the signed list has this document's digest."""
    tree = {
        "format": RESTRICTED_FORMAT,
        "images": {
            image: {"networks": list(one.networks), "macs": list(one.macs)}
            for image, one in restrictions.items()
        },
        "sets": [
            {**write_set(one), "image": one.image} for one in sets if one.image in restrictions
        ],
    }
    return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()


def parse(payload: bytes, *, where: str) -> RackDocument:
    """Read what was signed. Raises DocumentProblem, whatever is wrong with it."""
    try:
        tree = _tree(payload, FORMAT, where)
        documents = {_path(path): _digest(found) for path, found in tree["documents"].items()}
        if len(documents) > MAX_NAMES:
            raise ValueError("too many entries")
        return RackDocument(
            updated=checks.parse_time(tree["updated"]),
            documents=documents,
            sets=tuple(map(_set, _few(tree["sets"]))),
            restrictions=None if RESTRICTED_PATH in documents else {},
        )
    except _WRONG as error:
        raise _unreadable(
            "The region's list for racks can't be read.", FORMAT, where, error
        ) from error


def with_restricted(document: RackDocument, payload: bytes, *, where: str) -> RackDocument:
    """The list with the images that aren't for everyone. Raises DocumentProblem."""
    try:
        tree = _tree(payload, RESTRICTED_FORMAT, where)
        found = {
            image: checked(_texts(one["networks"]), _texts(one["macs"]))
            for image, one in tree["images"].items()
        }
        sets = (replace(_set(one), restriction=found[one["image"]]) for one in _few(tree["sets"]))
        return replace(document, sets=(*document.sets, *sets), restrictions=found)
    except _WRONG as error:
        raise _unreadable("of restricted images", RESTRICTED_FORMAT, where, error) from error


_WRONG = (LookupError, TypeError, AttributeError, ValueError)


def _tree(payload: bytes, format: str, where: str) -> dict[str, Any]:
    tree = checks.mapping(strictjson.loads(payload, what=where), "document", ())
    if tree.get("format") != format:
        raise ValueError(f"format {str(tree.get('format'))[:40]!r}")
    return tree


def _few(sets: Any) -> Any:
    if len(sets) > MAX_SETS:
        raise ValueError("too many entries")
    return sets


def _unreadable(which: str, expected: str, where: str, error: Exception) -> DocumentProblem:
    return DocumentProblem(
        f"The region's list {which} can't be read.",
        where=where,
        expected=expected,
        got=f"{type(error).__name__}: {error}"[:200],
        next_step="Run the same version of Slipway on the region and on its racks.",
    )


def _set(tree: Any) -> RackSet:
    current, pinned = _texts(tree["current"]), _texts(tree["pinned"])
    if not pinned:
        raise ValueError("a version without a folder")
    if len(tree["files"]) > MAX_NAMES:
        raise ValueError("too many files")
    files = {name: _file(one) for name, one in tree["files"].items() if "/" not in name}
    return RackSet(str(tree["version"]), _whole(tree["completed"]), current, pinned, files)


def _file(tree: Any) -> RackFile:
    size, path = _whole(tree["size"]), tree["path"]
    if not isinstance(path, str) or not _QUOTED.fullmatch(path) or _leads_away(path):
        raise ValueError("a path that isn't quoted")
    return RackFile(_digest(tree["sha256"]), size, path)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise ValueError("a number out of range")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("no SHA-256")
    return value


def _path(value: str) -> str:
    if not _PATH.fullmatch(value) or _leads_away(value):
        raise ValueError("a document's path")
    return value


def _leads_away(path: str) -> bool:
    return not {".", ".."}.isdisjoint(path.split("/"))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("no list of texts")
    return tuple(value)
