# SPDX-License-Identifier: Apache-2.0
"""What machines boot from a rack elsewhere: the region's table, and loaders that it unpacks."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace

import structlog

from webapp.errors import Problem
from webapp.rack.boot import BootFiles
from webapp.rack.gate import Caller
from webapp.rack.tftp_names import Content, TftpNames
from webapp.rack.tftp_packets import UNDEFINED, Refusal
from webapp.remoterack.filling import Wanted
from webapp.remoterack.holding import Holding
from webapp.remoterack.names import wanted_of
from webapp.remoterack.serving import DRAINED, Opener
from webapp.remoterack.state import State
from webapp.remoterack.trees import HeldTrees
from webapp.services.boot import document, loaders
from webapp.services.boot.choosing import Table
from webapp.services.boot.configs import Asked
from webapp.services.boot.document import BootDocument, LoaderVersion
from webapp.services.boot.loaders import LoaderFile
from webapp.services.boot.serving import BootState
from webapp.services.boot.unpacking import unpack
from webapp.services.images.published import Located
from webapp.storage.base import BlobReader
from webapp.streams.racks import BOOT_PATH

log = structlog.get_logger(__name__)

WHOLE_S = 20.0  # a machine that asks by TFTP waits so long for a file to be here
NOTHING = BootDocument(Table({}, {}), ())


class HeldBoot:
    """The table of the tree in force, and the files of its loaders; threads share it.

    note: told what is wrong with them. ``refresh`` follows the tree and what has arrived.
    """

    def __init__(self, trees: HeldTrees, holding: Holding, note: Callable[[Problem], None]) -> None:
        self._trees, self._holding, self._note = trees, holding, note
        self._lock = threading.Lock()
        self._content = b""
        self._document = NOTHING
        self._state = BootState(0, NOTHING.table, {})

    @property
    def is_known(self) -> bool:
        """Whether the region tells this rack what machines boot."""
        return bool(self._content)

    def at(self, serial: int) -> BootState:
        """What is in force, whatever the serial; see rack.parts.BootStates."""
        return self._state

    def wanted(self) -> list[Wanted]:
        """The archives of the loaders; they are fetched, and kept, before all else."""
        return [wanted_of(file) for one in self._document.loaders for file in one.archives]

    def refresh(self) -> None:
        """Take over the tree's document, and unpack the loaders whose archives are here."""
        with self._lock:
            tree = self._trees.tree
            content = tree.documents.get(BOOT_PATH, b"") if tree else b""
            if content != self._content:
                try:
                    found = document.parse(content, where=BOOT_PATH) if content else NOTHING
                except Problem as problem:
                    self._note(problem)
                    return
                self._content, self._document = content, found
            self._state = self._built()

    def _built(self) -> BootState:
        """The state; a loader that isn't here yet leaves its earlier files in use."""
        before = self._state.loaders
        bytes_of = {file.sha256: file.content for file in before.values()}
        for one in self._document.loaders:
            if not set(one.files.values()) <= bytes_of.keys():
                bytes_of |= self._unpacked(one)
        files: dict[str, LoaderFile] = {}
        awaited: set[str] = set()
        for one in reversed(self._document.loaders):
            is_here = set(one.files.values()) <= bytes_of.keys()
            paths = {path for name in one.files for path in one.paths(name)}
            files |= (
                loaders.placed((one,), bytes_of)
                if is_here
                else {path: before[path] for path in paths & before.keys()}
            )
            awaited |= paths
        return BootState(0, self._document.table, files, frozenset(awaited - files.keys()))

    def _unpacked(self, one: LoaderVersion) -> dict[str, bytes]:
        """The bytes of its files by SHA-256; none until all archives are here."""
        found: dict[str, bytes] = {}
        try:
            for archive in one.archives:
                reader = self._holding.open(archive.sha256, archive.size)
                if reader is None:
                    return {}
                with reader:
                    found |= unpack(reader.chunks(), f"{one.firmware} {one.arch} {archive.path}")
        except Problem as problem:
            self._note(problem)
            return {}
        return {hashlib.sha256(content).hexdigest(): content for content in found.values()}


class RemoteBoot(BootFiles):
    """Answers for the paths that firmware and boot loaders know, where the region tells of them."""

    held: HeldBoot

    def configuration(self, wanted: Asked, own_url: str, caller: Caller) -> tuple[int, str]:
        """The status and the text; see BootFiles."""
        if not self.held.is_known:
            return 404, "This rack doesn't know what machines boot: it isn't enrolled."
        return super().configuration(wanted, own_url, caller)


class WholeFiles(Opener):
    """Gives whole files alone: what grows can't be sent by TFTP, which has no resets."""

    def open(self, found: Located) -> BlobReader | None:
        """The bytes, after a wait for those that are on their way."""
        return self.open_whole(found, WHOLE_S)


class RemoteTftpNames(TftpNames):
    """What machines get by TFTP, unless the rack is drained."""

    state: State

    def open(self, name: str, actor: str, own_url: str) -> Content | Refusal:
        """The content of a name; see TftpNames."""
        if self.state.settings.is_drained:
            return Refusal(UNDEFINED, DRAINED)
        found = super().open(name, actor, own_url)
        if isinstance(found, Refusal):
            return found
        done = found.done

        def counted(sent: int) -> None:
            self.state.counts.add(sent_bytes=sent)
            done(sent)

        return replace(found, done=counted)
