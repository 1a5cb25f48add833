# SPDX-License-Identifier: Apache-2.0
"""The signed documents in the memory of a process that serves them."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.models import PublishedDocument, PublishedStream, Rack, Setting
from webapp.services.mirror import options
from webapp.streams.racks import FOR_RACKS

log = structlog.get_logger(__name__)

CHECK_S = 1.0  # between checks of the database


def has_fixed_name(path: str) -> bool:
    """Whether the name of a document never means other bytes."""
    return path.startswith("streams/v1/images-")


@dataclass(frozen=True)
class Document:
    """A document as it was signed. is_fixed: its name never means other bytes.

    is_for_racks: only enrolled racks may read it.
    """

    content: bytes
    sha256: str
    published_at: datetime
    is_fixed: bool
    is_for_racks: bool = False


@dataclass(frozen=True)
class Tree:
    """The documents of one revision by their path below the prefix; none while it's off.

    racks: SHA-256 of the credentials of enrolled racks. is_hidden: they alone may read it.
    """

    revision: int = -1
    prefix: str = "mirror/"
    documents: Mapping[str, Document] | None = None
    racks: frozenset[str] = frozenset()
    is_hidden: bool = False

    @property
    def is_on(self) -> bool:
        """Whether anything is published."""
        return bool(self.documents)

    def may_read(self, authorization: str, document: Document | None = None) -> bool:
        """Whether whoever sends this ``Authorization`` may read it, or one of its documents."""
        if not self.is_hidden and not (document and document.is_for_racks):
            return True
        return self.is_rack(authorization)

    def is_rack(self, authorization: str) -> bool:
        """Whether an enrolled rack sends this ``Authorization``."""
        kind, _, credential = authorization.partition(" ")
        digest = hashlib.sha256(credential.encode("latin-1", "replace")).hexdigest()
        return kind == "Bearer" and digest in self.racks


class SignedTree:
    """Gives the documents; whichever request comes first after CHECK_S checks for others.

    When the database doesn't answer, the last ones stay in force.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tree = Tree()
        self._began_at = self._checked_at = -math.inf  # the last check
        self._checking = threading.Lock()

    def current(self, path: str = "") -> Tree:
        """The documents, not more than about CHECK_S old.

        An index that another process gave out may name a document at a path that they don't
        have: then they are read again.
        """
        tree = self._recent()
        if has_fixed_name(path) and path not in (tree.documents or ()):
            return self._latest()
        return tree

    def _recent(self) -> Tree:
        if time.monotonic() - self._checked_at < CHECK_S:
            return self._tree
        # The first ones wait; later, others use what there is.
        if self._checking.acquire(blocking=self._tree.revision < 0):
            try:
                if time.monotonic() - self._checked_at >= CHECK_S:
                    self._check()
            finally:
                self._checking.release()
        return self._tree

    def _latest(self) -> Tree:
        asked_at = time.monotonic()
        with self._checking:
            if self._began_at < asked_at:
                self._check()
        return self._tree

    def _check(self) -> None:
        self._began_at = time.monotonic()
        try:
            with self._engine.connect() as connection:
                self._tree = _read(connection, self._tree)
        except SQLAlchemyError as error:
            log.warning("the local mirror could not be read", error=str(error))
        self._checked_at = time.monotonic()


def _read(connection: Connection, known: Tree) -> Tree:
    """The documents of the database's revision: those in memory, if they are still right."""
    revision, prefix = _state(connection)
    while known.revision != revision:
        rows = connection.execute(
            select(
                PublishedDocument.path,
                PublishedDocument.content,
                PublishedDocument.sha256,
                PublishedDocument.published_at,
            )
        )
        documents = {
            row.path: Document(
                row.content,
                row.sha256,
                row.published_at,
                has_fixed_name(row.path),
                row.path in FOR_RACKS,
            )
            for row in rows
        }
        known = Tree(revision, prefix, documents)
        revision, prefix = _state(connection)  # raised in the meantime: they may be of either
    chosen = connection.scalar(select(Setting.value).where(Setting.key == options.KEY)) or {}
    racks = frozenset(connection.scalars(select(Rack.credential_hash)))
    return replace(known, racks=racks, is_hidden=not chosen.get("is_on", True))


def _state(connection: Connection) -> tuple[int, str]:
    found = connection.execute(select(PublishedStream.revision, PublishedStream.prefix)).first()
    return (0, Tree.prefix) if found is None else (found.revision, found.prefix)
