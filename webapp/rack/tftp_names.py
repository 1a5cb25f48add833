# SPDX-License-Identifier: Apache-2.0
"""What a name means by TFTP: the same files and configurations as by HTTP, and no others."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from webapp.rack import tftp_packets as packets
from webapp.rack.boot import BootFiles
from webapp.rack.gate import Caller, Gate
from webapp.rack.parts import Events, Names, Opener, VersionUse
from webapp.rack.requests import PREFIX
from webapp.rack.tftp_packets import Refusal
from webapp.services.boot import configs
from webapp.services.images.published import Located
from webapp.services.images.serving import NamesUnread
from webapp.services.system.events import REFUSED
from webapp.storage.base import BlobReader
from webapp.storage.errors import StoreProblem

_SLASHES = re.compile(r"/+")


@dataclass(frozen=True)
class Content:
    """A file that is open. done: called with the bytes that went out, whole or not."""

    size: int
    read: Callable[[int, int], bytes]
    done: Callable[[int], None]


class TftpNames:
    """Opens what machines ask for."""

    def __init__(
        self,
        published: Names,
        boot: BootFiles,
        opener: Opener,
        use: VersionUse,
        events: Events,
        gate: Gate | None = None,
    ) -> None:
        self._published = published
        self._boot = boot
        self._opener = opener
        self._use = use
        self._events = events
        self._gate = gate or Gate()

    def open(self, name: str, actor: str, own_url: str) -> Content | Refusal:
        """The content of a name. own_url: the rack's address by HTTP, for configurations."""
        path = _SLASHES.sub("/", name).removeprefix("/")
        try:
            wanted = configs.asked(path)
            if wanted is not None:
                status, text = self._boot.configuration(wanted, own_url, Caller(actor, (actor,)))
                missing = Refusal(packets.NOT_FOUND, text)
                return _of_bytes(text.encode()) if status == 200 else missing
            file = self._boot.loader(path)
            if file is not None:
                return _of_bytes(file.content)
            prefix = PREFIX[1:]
            found = None
            if path.startswith(prefix):
                found = self._published.names().locate(path.removeprefix(prefix))
            if found is None or self._is_kept_from(actor, path.removeprefix(prefix), found):
                return Refusal(packets.NOT_FOUND, "There is nothing here.")
            return self._stored(path.removeprefix(prefix), found, actor)
        except NamesUnread as problem:
            return Refusal(packets.UNDEFINED, problem.what)

    def _is_kept_from(self, actor: str, name: str, found: Located) -> bool:
        kept = found.restriction
        why = self._gate.refusal(kept, Caller(actor, (actor,))) if kept else ""
        if why:
            image, _, file = name.rpartition("/")
            self._events.add(
                REFUSED, actor, image, version=found.version, status=404, file=file, why=why
            )
        return bool(why)

    def _stored(self, name: str, found: Located, actor: str) -> Content | Refusal:
        reader = self._opener.open(found) if found.is_ready else None
        if reader is None:
            self._opener.report(found)
            return Refusal(packets.UNDEFINED, "The file is damaged or missing here.")
        self._use.begin(found.set_id)
        begun = time.monotonic()

        def done(sent: int) -> None:
            reader.close()
            self._use.end(found.set_id)
            if not sent:
                return  # it asked for the size alone
            image, _, file = name.rpartition("/")
            self._events.add(
                "image.fetched",
                actor,
                image,
                version=found.version,
                status=200,
                size=sent,
                file=file,
                took_s=time.monotonic() - begun,
                missing=found.size - sent,
            )

        return Content(found.size, _reading(reader), done)


def _of_bytes(content: bytes) -> Content:
    return Content(len(content), lambda at, length: content[at : at + length], lambda sent: None)


def _reading(reader: BlobReader) -> Callable[[int, int], bytes]:
    handle = reader.fileno()

    def read(at: int, length: int) -> bytes:
        """As many bytes as there are. Raises StoreProblem, OSError."""
        if handle is not None:
            return os.pread(handle, length, at)
        return b"".join(reader.chunks(at, at + length))

    return read


UNREADABLE = (StoreProblem, OSError)
