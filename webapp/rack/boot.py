# SPDX-License-Identifier: Apache-2.0
"""Boot loaders and their configurations on the rack port, from memory."""

from __future__ import annotations

import re
from collections.abc import Iterable

from webapp.rack.gate import Caller, Gate
from webapp.rack.parts import BootStates, Events, Names
from webapp.rack.requests import Request
from webapp.services.boot import configs
from webapp.services.boot.choosing import Outcome, decide, withheld
from webapp.services.boot.configs import Asked
from webapp.services.boot.loaders import LoaderFile
from webapp.services.boot.serving import BootState
from webapp.services.images.serving import NamesUnread
from webapp.services.system.events import REFUSED

# What firmware sends as Host, and nothing that could end a line of a configuration.
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
# One name at the root, or one below bootloader/FIRMWARE/ARCH/.
_LOADER = re.compile(r"(?:bootloader/[\w-]+/\w+/)?[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)
_SLASHES = re.compile(r"/{2,}")


class BootFiles:
    """Answers for the paths that firmware and boot loaders know.

    rack_url: the address to write into configurations, "" for the one that was asked.
    events: told of machines that don't get an image.
    """

    def __init__(
        self,
        published: Names,
        boot_map: BootStates,
        events: Events,
        rack_url: str = "",
        gate: Gate | None = None,
    ) -> None:
        self._published = published
        self._map = boot_map
        self._events = events
        self._rack_url = rack_url
        self._gate = gate or Gate()

    def answer(self, request: Request, caller: Caller) -> Iterable[bytes] | None:
        """The answer, or None when the path is none of a boot loader's. Raises NamesUnread."""
        path = _SLASHES.sub("/", request.path)[1:]  # firmware asks for //grubx64.efi
        wanted = configs.asked(path)
        if wanted is not None:
            status, text = self.configuration(wanted, _own_url(request), caller)
            return request.say(status, text.rstrip("\n"))
        file = self.loader(path)
        if file is None:
            return None
        kind = "application/efi" if path.endswith(".efi") else "application/octet-stream"
        body, _, _ = request.give(file.content, file.sha256, file.modified, kind, is_fixed=False)
        return body

    def loader(self, path: str) -> LoaderFile | None:
        """A file of a boot loader. Raises NamesUnread."""
        if not _LOADER.fullmatch(path):
            return None
        state = self._state()
        if path in state.awaited:
            raise NamesUnread("The boot loader isn't here yet.", "Check the rack's upstreams.")
        return state.loaders.get(path)

    def configuration(self, wanted: Asked, own_url: str, caller: Caller) -> tuple[int, str]:
        """The status and the text. own_url: of this rack, "" if unknown. Raises NamesUnread."""
        base = self._rack_url or own_url
        if not base:
            return 400, "The request needs a valid Host header."
        if not wanted.mac and not wanted.arch:
            return 200, configs.chooser(wanted.loader, base)
        outcome = decide(self._state().table, wanted.mac, wanted.arch)
        if not wanted.arch and not outcome.has_own_entry:
            # The loader asks for the default next, by the architecture that it knows.
            return 404, f"{wanted.mac} has no entry."
        # PXELINUX without any configuration waits, and then restarts the machine.
        if outcome.entry is None and wanted.loader != "pxelinux":
            return 404, outcome.why
        return 200, configs.text(wanted.loader, self._permitted(outcome, caller), base)

    def _permitted(self, outcome: Outcome, caller: Caller) -> Outcome:
        """The outcome, with nothing to boot where the image is kept from this machine."""
        kept = outcome.image.restriction if outcome.image else None
        why = self._gate.refusal(kept, caller, outcome.machine) if kept else ""
        if not why or outcome.image is None:
            return outcome
        folder, _, version = outcome.image.folder.rpartition("/")
        self._events.add(REFUSED, caller.name, folder, version=version, status=404, why=why)
        return withheld(outcome)

    def _state(self) -> BootState:
        return self._map.at(self._published.names().serial)


def _own_url(request: Request) -> str:
    """This rack's address as the machine knows it, "" when it can't be told."""
    host = request.environ.get("HTTP_HOST", "")
    if not host and request.socket is not None:
        address, port = request.socket.getsockname()[:2]
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"http://{host}/" if _HOST.fullmatch(host) else ""
