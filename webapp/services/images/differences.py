# SPDX-License-Identifier: Apache-2.0
"""What one version of an image changes against another: packages, kernel, files, bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_PACKAGES = 50_000


@dataclass(frozen=True, slots=True)
class File:
    """A file of a version."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version holds: its files and kernels by name; packages None if not known."""

    version: str
    files: Mapping[str, File]
    kernels: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Its distinct bytes."""
        return {file.sha256: file.size for file in self.files.values()}


@dataclass(frozen=True, slots=True)
class Change:
    """Something with a name that differs; "" on the side that lacks it."""

    name: str
    before: str
    after: str

    @property
    def kind(self) -> str:
        """added, removed or changed."""
        if not self.before:
            return "added"
        return "changed" if self.after else "removed"


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs. before, after: the versions. new_bytes: of files that before lacks.

    packages: None when one side's are not known; unknown names those versions.
    """

    before: str
    after: str
    packages: tuple[Change, ...] | None
    unknown: tuple[str, ...]
    kernels: tuple[Change, ...]
    files: tuple[Change, ...]
    size_before: int
    size_after: int
    new_bytes: int

    def count(self, kind: str) -> int:
        """How many packages were added, removed or changed."""
        return sum(change.kind == kind for change in self.packages or ())


def compare(before: Contents, after: Contents) -> Difference:
    """What changes from one version to the other."""
    old, new = before.sizes, after.sizes
    packages = None
    if before.packages is not None and after.packages is not None:
        packages = _changes(before.packages, after.packages)
    return Difference(
        before=before.version,
        after=after.version,
        packages=packages,
        unknown=tuple(one.version for one in (before, after) if one.packages is None),
        kernels=_changes(before.kernels, after.kernels),
        files=_changes(
            {name: file.sha256 for name, file in before.files.items()},
            {name: file.sha256 for name, file in after.files.items()},
        ),
        size_before=sum(old.values()),
        size_after=sum(new.values()),
        new_bytes=sum(size for sha256, size in new.items() if sha256 not in old),
    )


def parse_packages(text: str) -> dict[str, str]:
    """A list of packages: a name and a version on each line; other lines mean nothing."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and len(found) < MAX_PACKAGES:
            found[words[0]] = words[1]
    return found


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    names = sorted(before.keys() | after.keys())
    changes = (Change(name, before.get(name, ""), after.get(name, "")) for name in names)
    return tuple(change for change in changes if change.before != change.after)
