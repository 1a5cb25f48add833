# SPDX-License-Identifier: Apache-2.0
"""Keeps a rack behind nginx from being ahead of the links that nginx serves from.

The rack reads the names at once, and the links follow a moment later. A machine that gets a
kernel of a new set from the rack must not get the initrd of the old set by a link after it.
"""

from __future__ import annotations

import mmap
import time

from webapp.rack.parts import Names
from webapp.services.images.published import PublishedNames
from webapp.services.images.serving import NamesUnread

WAIT_S = 5.0  # for links that follow within a moment
LOOK_S = 0.005
WIDTH = 8  # bytes of a serial
ALL = (1 << 63) - 1  # later than any serial


class LinksMark:
    """The serial whose names the links mean, in memory that forked processes share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, WIDTH)

    def set(self, serial: int = ALL) -> None:
        """Note that the links follow these names; without a serial: there are no links."""
        self._memory[:WIDTH] = serial.to_bytes(WIDTH, "little")

    def value(self) -> int:
        """The serial; 0 before the first one."""
        return int.from_bytes(self._memory[:WIDTH], "little")


class NamesInStep:
    """The published names, as soon as the links mean them too."""

    def __init__(self, published: Names, mark: LinksMark) -> None:
        self._published = published
        self._mark = mark

    def names(self, *, refresh: bool = False) -> PublishedNames:
        """The names in force. Raises NamesUnread if the links don't follow in WAIT_S."""
        names = self._published.names(refresh=refresh)
        until = time.monotonic() + WAIT_S
        while self._mark.value() < names.serial:
            if time.monotonic() > until:
                raise NamesUnread(
                    "The links for nginx don't follow the list of published images.",
                    "Check that this server isn't overloaded.",
                )
            time.sleep(LOOK_S)
        return names
