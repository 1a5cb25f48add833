# SPDX-License-Identifier: Apache-2.0
"""Boot configurations of the rack port: made for each request, from memory."""

from __future__ import annotations

import re
from collections.abc import Iterable

from webapp.rack.parts import Names
from webapp.rack.requests import Request
from webapp.services.boot import configs
from webapp.services.boot.choosing import decide
from webapp.services.boot.serving import BootMap

# What firmware sends as Host, and nothing that could end a line of a configuration.
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_SLASHES = re.compile(r"/{2,}")


class BootFiles:
    """Answers for the paths of boot loaders. rack_url: the address to write, "" for the Host."""

    def __init__(self, published: Names, table: BootMap, rack_url: str = "") -> None:
        self._published = published
        self._table = table
        self._rack_url = rack_url

    def answer(self, request: Request) -> Iterable[bytes] | None:
        """The answer, or None when the path is none of a boot loader's. Raises NamesUnread."""
        path = _SLASHES.sub("/", request.path)[1:]  # firmware asks for //grubx64.efi
        wanted = configs.asked(path)
        if wanted is None:
            return None
        base = self._rack_url or _own_url(request)
        if not base:
            return request.say(400, "The request has no Host that can be used.")
        if not wanted.mac and not wanted.arch:
            return request.say(200, configs.chooser(wanted.loader, base).rstrip("\n"))
        outcome = decide(self._table.at(self._published.names().serial), wanted.mac, wanted.arch)
        if wanted.mac and not outcome.has_own_entry:
            # The loader asks for the default next, by the architecture that it knows.
            return request.say(404, f"{wanted.mac} has no entry.")
        if outcome.entry is None:
            return request.say(404, outcome.why)
        return request.say(200, configs.text(wanted.loader, outcome, base).rstrip("\n"))


def _own_url(request: Request) -> str:
    """This rack's address as the machine knows it, "" when it can't be told."""
    host = request.environ.get("HTTP_HOST", "")
    if not host and request.socket is not None:
        address, port = request.socket.getsockname()[:2]
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"http://{host}/" if _HOST.fullmatch(host) else ""
