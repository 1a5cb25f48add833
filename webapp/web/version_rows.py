# SPDX-License-Identifier: Apache-2.0
"""Versions of an image, and what one changes, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from webapp.numbers import counted
from webapp.services.images.differences import Change, Difference
from webapp.services.images.history import VersionLine

SHOWN = 500  # packages of one kind on a page; the API and the command have all of them


@dataclass(frozen=True)
class VersionRow:
    """A version with its words and links; action: what making it current is called."""

    line: VersionLine
    action: str
    note: str
    show_url: str
    change_url: str
    delete_url: str


def version_row(line: VersionLine, link: Mapping[str, Any], several: int = 1) -> VersionRow:
    """One version as pages show it. several: how many kernels the image has."""
    here = {**link, "version": line.version}
    note = ""
    if line.current and not line.is_current:
        note = f"Current for {', '.join(line.current)}"
    elif len(line.kernels) < several:
        note = f"Only {', '.join(line.kernels)}"
    return VersionRow(
        line=line,
        action="Make current" if line.is_newer else "Roll back",
        note=note,
        show_url=url_for("versions.show", **here),
        change_url=url_for("versions.change", **link),
        delete_url=url_for("versions.delete", **here),
    )


@dataclass(frozen=True)
class Group:
    """Packages that changed in one way; hidden: how many of them aren't shown."""

    title: str
    changes: Sequence[Change]
    hidden: int


@dataclass(frozen=True)
class DifferenceRow:
    """A difference with its packages in groups."""

    found: Difference
    groups: tuple[Group, ...]


def difference_row(found: Difference) -> DifferenceRow:
    """A difference as its page shows it."""
    groups = []
    for kind in ("changed", "added", "removed"):
        changes = [one for one in found.packages or () if one.kind == kind]
        if changes:
            title = f"{counted(len(changes), 'package')} {kind}"
            groups.append(Group(title, changes[:SHOWN], max(0, len(changes) - SHOWN)))
    return DifferenceRow(found, tuple(groups))
