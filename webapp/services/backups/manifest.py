# SPDX-License-Identifier: Apache-2.0
"""What a backup holds: one JSON document, written last, which names every member.

The manifest carries the SHA-256 of its own content and is accepted only in the exact
form that ``render`` writes, so that a changed byte anywhere in it is noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from webapp.errors import Problem

NAME = "manifest.json"
MAX_BYTES = 256 << 20  # a million members
FORMAT = 1

DATABASE = "database"
KEY = "secret.key"
SETTINGS = "settings.json"
BLOBS = "blobs.json"
KEYRINGS = "keyrings/"
AUTHORITIES = "authorities/"
SIGNING = "signing/"
BYTES = "blobs/"

_MEMBER = re.compile(
    r"database|secret\.key|settings\.json|blobs\.json|"
    r"(?:keyrings|authorities)/[0-9]{1,18}|signing/[0-9A-F]{40,64}|blobs/[0-9a-f]{64}"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NEEDED = {DATABASE, KEY, SETTINGS, BLOBS}


class BackupDamaged(Problem):
    """A backup isn't complete, or not as it was written."""

    code = "backup-damaged"

    def __init__(self, what: str, *, where: str, expected: str = "", got: str = "") -> None:
        next_step = "Use another backup, or copy this one again from where it was made."
        super().__init__(what, where=where, expected=expected, got=got, next_step=next_step)


@dataclass(frozen=True)
class Member:
    """One file of a backup. size: in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One backup.

    created_at: ISO 8601, UTC. version: of the Slipway that made it. revision: of its
    database. engine: ``sqlite`` or ``postgresql``. with_bytes: ``none``, ``uploads`` or
    ``all``. left_out: digests of wanted bytes that were damaged, or deleted meanwhile.
    """

    created_at: str
    version: str
    revision: str
    engine: str
    with_bytes: str
    left_out: tuple[str, ...]
    members: tuple[Member, ...]

    def member(self, name: str) -> Member:
        """The member of that name, which must be there."""
        return next(member for member in self.members if member.name == name)

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(member.size for member in self.members)


def render(manifest: Manifest) -> bytes:
    """The document."""
    content = {"format": FORMAT, **asdict(manifest)}
    whole = {"manifest": content, "sha256": _digest(content)}
    return (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()


def parse(data: bytes, where: str) -> Manifest:
    """Read a document that ``render`` wrote. Raises BackupDamaged."""
    try:
        whole = json.loads(data)
        content = dict(whole["manifest"])
        found = content.pop("format")
        if found != FORMAT:
            raise _unknown_format(where, found)
        manifest = _manifest(content)
        if render(manifest) == data:
            return manifest
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise BackupDamaged(
        "The manifest of the backup is damaged.",
        where=f"{where}, {NAME}",
        expected="the document that Slipway wrote",
        got="other content",
    )


def _manifest(content: Mapping[str, Any]) -> Manifest:
    rows = [Member(**row) for row in content["members"]]
    for row in rows:
        is_named = _MEMBER.fullmatch(row.name) and _DIGEST.fullmatch(row.sha256)
        is_right = not row.name.startswith(BYTES) or row.name == BYTES + row.sha256
        if not is_named or not is_right or type(row.size) is not int or row.size < 0:
            raise ValueError(row.name)
    names = {row.name for row in rows}
    if len(names) != len(rows) or not names >= _NEEDED:
        raise ValueError("members")
    texts = {"created_at", "version", "revision", "engine", "with_bytes"}
    if any(type(content[name]) is not str for name in texts):
        raise ValueError("texts")
    left_out = tuple(content["left_out"])
    return Manifest(
        **{name: content[name] for name in texts}, left_out=left_out, members=tuple(rows)
    )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unknown_format(where: str, found: object) -> Problem:
    return Problem(
        "This version of Slipway can't read the backup.",
        code="backup",
        where=where,
        expected=f"format {FORMAT}",
        got=f"format {str(found)[:20]}",
        next_step="Install the version of Slipway that made it, or a newer one.",
    )
