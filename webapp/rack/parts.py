# SPDX-License-Identifier: Apache-2.0
"""What answers to machines are made of, whether the region's database is here or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from webapp.services.boot.serving import BootState
from webapp.services.images.published import Located, PublishedNames
from webapp.services.mirror.signatures import Signature
from webapp.services.mirror.tree import Tree
from webapp.storage.base import BlobReader


class Names(Protocol):
    """Gives the names in force."""

    def names(self, *, refresh: bool = False) -> PublishedNames:
        """The names; ``refresh`` looks for others in any case. Raises NamesUnread."""
        ...


class BootStates(Protocol):
    """Gives what machines boot."""

    def at(self, serial: int) -> BootState:
        """The state of this serial, or a later one. Raises NamesUnread before the first."""
        ...


class Opener(Protocol):
    """Opens the bytes of names, once it's sure of them."""

    def open(self, found: Located) -> BlobReader | None:
        """The bytes; None when they aren't here as they were verified."""
        ...

    def is_proved(self, found: Located) -> bool:
        """Whether the file can be handed over by its path without being opened here."""
        ...

    def report(self, found: Located) -> None:
        """Find out why a published file can't be served, and have it replaced."""
        ...

    def watched(self, pieces: Iterator[bytes], found: Located) -> Iterator[bytes]:
        """The pieces; what can't be read on the way is reported."""
        ...


class VersionUse(Protocol):
    """Hears which versions are being fetched."""

    def begin(self, set_id: int) -> None:
        """A machine fetches a file of this version."""
        ...

    def end(self, set_id: int) -> None:
        """It has the file, or gave up."""
        ...

    def close(self) -> None:
        """Keep what was heard."""
        ...


class Documents(Protocol):
    """Gives the signed documents."""

    def current(self, path: str = "") -> Tree:
        """Those in force; newer ones if only they may have the document at this path."""
        ...


class Signatures(Protocol):
    """Gives signatures of files."""

    def of(self, sha256: str, serial: int) -> Signature | None:
        """The signature of the file with this digest; None if there's none yet."""
        ...


class Events(Protocol):
    """Hears what machines fetched."""

    def add(
        self,
        kind: str,
        actor: str,
        subject: str,
        *,
        status: int,
        version: str = "",
        size: int = 0,
        file: str = "",
        took_s: float | None = None,
        missing: int = 0,
        why: str = "",
    ) -> None:
        """Count one. took_s: None if it isn't known. missing: bytes asked for and not taken.

        why: it was refused.
        """
        ...

    def close(self) -> None:
        """Keep what was heard."""
        ...
