# SPDX-License-Identifier: Apache-2.0
"""The published names as links that another server can serve without asking us.

    <root>/
      now,OS,ARCH,SUBARCH,RELEASE,LABEL   a link to the set that machines get
      pinned,OS,ARCH,SUBARCH,RELEASE,LABEL,VERSION
      set,<key>/<file>                    a link to facts; a set never changes its meaning
      <digest>,<Last-Modified>,<version>  an empty file: the facts of a blob by its name

Resolving a name tells the values of its headers. Flat, since each folder of a path is looked at.

A name is replaced by a rename, so that all files of a set change at one instant. Nothing here
is worth keeping: each start makes it anew from the database.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from webapp.services.images.published import Located, PublishedNames

NOW_PARTS, PINNED_PARTS = 5, 6  # segments of a folder that a name is in
LONGEST_NAME = 255  # bytes of a name in a folder
Files = Mapping[str, Located]


class LinkedNames:
    """Keeps the tree of links the same as the published names.

    is_proved: whether a blob is still the file that was verified; one that isn't has no link.
    """

    def __init__(self, root: Path, is_proved: Callable[[Located], bool]) -> None:
        self._root = root
        self._is_proved = is_proved
        self._names: dict[str, str]  # place -> key of its set
        self._sets: dict[str, Files]  # key -> files that have a link as long as they're proved
        self._targets: set[str]
        self.clear()

    def clear(self) -> None:
        """Remove every link: the rack answers by itself."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._names, self._sets, self._targets = {}, {}, set()

    def follow(self, names: PublishedNames) -> None:
        """Make the tree mean what these names mean. Raises OSError; then clear it."""
        keys: dict[int, str] = {}  # folders of several names have the same files
        wanted: dict[str, str] = {}
        for folder, files in names.folders.items():
            place = _place(folder, files)
            if place is not None:
                if id(files) not in keys:
                    keys[id(files)] = self._add_set(files)
                wanted[place] = keys[id(files)]
        for place, key in wanted.items():
            if self._names.get(place) != key:
                self._point(place, key)
        for place in self._names.keys() - wanted.keys():
            (self._root / place).unlink(missing_ok=True)
        self._names = wanted

    def recheck(self) -> None:
        """Remove sets without a name, and links to files that changed on the disk.

        A file that's right again gets its link back. Sets stay until here, since a reader may
        be on its way to one while its name is replaced. Raises OSError; then clear it.
        """
        for key in self._sets.keys() - self._names.values():
            del self._sets[key]
            shutil.rmtree(self._set(key), ignore_errors=True)
        used = {_target(found) for files in self._sets.values() for found in files.values()}
        for target in self._targets - used:
            (self._root / target).unlink(missing_ok=True)
        self._targets &= used
        for key in self._sets:
            self._link(key)

    def _add_set(self, files: Files) -> str:
        ready = {
            name: found
            for name, found in sorted(files.items())
            if found.is_ready and _is_plain(name) and _is_plain(_target(found))
        }
        facts = [(name, _target(one), one.size, one.mtime_ns) for name, one in ready.items()]
        key = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        if key in self._sets:
            return key
        self._set(key).mkdir(parents=True)
        self._sets[key] = ready
        self._link(key)
        return key

    def _link(self, key: str) -> None:
        """Give those files of a set a link that are as they were verified, and no others."""
        for name, found in self._sets[key].items():
            link = self._set(key) / _in_folder(name)
            if not self._is_proved(found):
                link.unlink(missing_ok=True)
            elif not link.is_symlink():
                target = _target(found)
                (self._root / target).touch()
                self._targets.add(target)
                os.symlink(f"../{target}", link)

    def _point(self, place: str, key: str) -> None:
        fresh = self._root / "next"
        with suppress(FileNotFoundError):
            fresh.unlink()
        os.symlink(self._set(key).name, fresh)
        os.replace(fresh, self._root / place)

    def _set(self, key: str) -> Path:
        return self._root / f"set,{key}"


def _place(folder: str, files: Files) -> str | None:
    """Where a folder's link is; None where only the rack itself answers."""
    parts = folder.split("/")
    is_pinned = any(found.is_pinned for found in files.values())
    place = ",".join(("pinned" if is_pinned else "now", *parts))
    is_open = all(found.restriction is None for found in files.values())
    is_whole = is_open and len(parts) == (PINNED_PARTS if is_pinned else NOW_PARTS)
    is_plain = is_whole and "," not in folder and all(map(_is_plain, (*parts, place)))
    return _in_folder(place) if is_plain else None


def _target(found: Located) -> str:
    return f"{found.sha256},{found.last_modified},{quote(found.version)}"


def _is_plain(part: str) -> bool:
    is_odd = part in ("", ".", "..") or "/" in part or "\0" in part
    return not is_odd and len(part) <= LONGEST_NAME


def _in_folder(name: str) -> str:
    """A name of the file system, from one that is UTF-8 read as Latin-1."""
    return os.fsdecode(name.encode("latin-1"))
