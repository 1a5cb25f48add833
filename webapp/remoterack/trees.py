# SPDX-License-Identifier: Apache-2.0
"""The tree in force and what it means: names for machines, documents for other racks."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from webapp.remoterack import names as meaning
from webapp.remoterack.following import SignedTree
from webapp.services.images.published import PublishedNames
from webapp.services.images.serving import NamesUnread
from webapp.services.mirror.tree import Document, Tree, has_fixed_name

PREFIX = "mirror/"


class HeldTrees:
    """The newest tree and those it replaced lately; threads share it.

    grace_s: how long the pinned names of a replaced tree work.
    """

    def __init__(self, trees: Sequence[SignedTree], grace_s: int) -> None:
        self._grace = timedelta(seconds=grace_s)
        self._lock = threading.Lock()
        self.tree: SignedTree | None = None
        self._replaced: list[tuple[datetime, SignedTree]] = []
        self._names: PublishedNames | None = None
        self._served = Tree(0, PREFIX, {})
        for tree in reversed(trees):
            self.replace(tree, datetime.now(UTC))

    def replace(self, tree: SignedTree, now: datetime) -> None:
        """Serve another tree from now on."""
        with self._lock:
            if self.tree is not None:
                self._replaced.insert(0, (now + self._grace, self.tree))
            self.tree = tree
            self._build(now)

    def names(self, *, refresh: bool = False) -> PublishedNames:
        """The names in force. Raises NamesUnread before the first tree."""
        found = self._names
        if found is None:
            raise NamesUnread()
        if found.until is not None and found.until <= datetime.now(UTC):
            with self._lock:
                self._build(datetime.now(UTC))
                found = self._names or found
        return found

    def current(self, path: str = "") -> Tree:
        """The signed documents, and those of replaced trees whose names are fixed."""
        return self._served

    def _build(self, now: datetime) -> None:
        if self.tree is None:
            return
        self._replaced = [(end, old) for end, old in self._replaced if end > now]
        serial = int(self.tree.updated.timestamp())
        replaced = [(end, old.document.sets) for end, old in self._replaced]
        self._names = meaning.build(self.tree.document, replaced, serial)
        documents: dict[str, Document] = {}
        for tree in (self.tree, *(old for _, old in self._replaced)):
            for path, content in tree.documents.items():
                is_fixed = has_fixed_name(path)
                if path not in documents and (is_fixed or tree is self.tree):
                    digest = hashlib.sha256(content).hexdigest()
                    documents[path] = Document(content, digest, tree.updated, is_fixed)
        self._served = Tree(serial, PREFIX, documents)
