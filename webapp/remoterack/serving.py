# SPDX-License-Identifier: Apache-2.0
"""What a rack elsewhere answers machines: bytes that are here, and bytes on their way."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from webapp.errors import Problem
from webapp.rack.bodies import StreamBody
from webapp.rack.conditions import Decision
from webapp.rack.files import Files
from webapp.rack.requests import Environ, Headers, Request
from webapp.remoterack.filling import Fill, Fills, WrongBytes, became_shorter, chunks_of
from webapp.remoterack.holding import Holding
from webapp.remoterack.names import wanted_of
from webapp.remoterack.state import Counts, State
from webapp.services.images.published import Located
from webapp.storage.base import BlobReader

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

FIRST_BYTE_S = 1.5  # a machine waits this long for a file's first byte before it gets a 503
RETRY_AFTER = ("Retry-After", "5")
DRAINED = "This rack is drained. Use another one."
_SLASHES = re.compile("/{2,}")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: drop what wasn't sent, and say so


class GrowingFile:
    """A file on its way here, as a machine reads it; see BlobReader."""

    mtime_ns: int | None = None

    def __init__(self, fill: Fill, handle: int, generation: int) -> None:
        self.size = fill.wanted.size
        self.fill, self.generation = fill, generation
        self._handle = handle

    def fileno(self) -> int | None:
        """The descriptor of what is here so far."""
        return self._handle

    def address(self, seconds: int) -> None:
        """There is none."""
        return None

    def chunks(
        self, start: int = 0, stop: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[bytes]:
        """The bytes as they come. Raises WrongBytes."""
        stop = self.size if stop is None else min(stop, self.size)
        return chunks_of(self.fill, self.generation, self._handle, start, stop)

    def close(self) -> None:
        """Let go of it; harmless when closed already."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            self.fill.leave(handle)

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class GrowingBody:
    """``file[start:stop]`` for the event loop, as far as it's here; see server.sockets.Transfer."""

    def __init__(
        self,
        file: GrowingFile,
        start: int,
        stop: int,
        cut: Callable[[], None],
        done: Callable[[int], None],
    ) -> None:
        self._file = file
        self._start, self._stop, self._position = start, stop, start
        self._cut, self._done = cut, done
        self._is_reset = False

    @property
    def sent(self) -> int:
        """Bytes that went out so far."""
        return self._position - self._start

    def send(self, sock: socket.socket, most: int) -> bool:
        """Send what is here; True at the end. Raises OSError, after a reset if bytes are wrong."""
        fill, handle = self._file.fill, self._file.fileno()
        try:
            room = fill.room(self._file.generation, self._position)
        except WrongBytes:
            self._is_reset = True
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            raise
        count = min(room, self._stop - self._position, most)
        if count > 0 and handle is not None:
            sent = os.sendfile(sock.fileno(), handle, self._position, count)
            if not sent:
                raise became_shorter()
            self._position += sent
        return self._position >= self._stop

    def wait(self, wake: Callable[[], None]) -> bool:
        """Whether the next byte isn't here yet."""
        return self._file.fill.wake_at(self._position, wake)

    def close(self) -> None:
        """Called by the server when the answer ended, well or not."""
        if self._position < self._stop and not self._is_reset:
            self._cut()
        self._done(self.sent)


class Opener:
    """Gives the bytes of a name: those that are here, or those that are being fetched."""

    def __init__(self, holding: Holding, fills: Fills, counts: Counts) -> None:
        self._holding = holding
        self._fills = fills
        self._counts = counts

    def open(self, found: Located) -> BlobReader | None:
        """The bytes; None when no upstream gives them soon."""
        held = self._holding.open(found.sha256, found.size)
        self._counts.add(hits=held is not None, misses=held is None)
        if held is not None:
            return held
        fill = self._fills.get(wanted_of(found))
        if isinstance(fill, Problem):
            return None
        # From its start, so that an upstream that hangs doesn't hold a thread for each machine.
        fill.wait_ready(max(0.0, fill.began + FIRST_BYTE_S - time.monotonic()))
        following = fill.follow() if fill.is_flowing else None
        if following is not None:
            return GrowingFile(fill, *following)
        return self._holding.open(found.sha256, found.size) if fill.is_complete else None

    def open_whole(self, found: Located, seconds: float) -> BlobReader | None:
        """The bytes once all are here; None when they don't come in time."""
        held = self._holding.open(found.sha256, found.size)
        self._counts.add(hits=held is not None, misses=held is None)
        if held is not None:
            return held
        fill = self._fills.get(wanted_of(found))
        if isinstance(fill, Problem) or not fill.wait_over(seconds):
            return None
        return self._holding.open(found.sha256, found.size) if fill.is_complete else None

    def is_proved(self, found: Located) -> bool:
        """Nothing is handed over by its path."""
        return False

    def report(self, found: Located) -> None:
        """What is missing is fetched when it's asked for again."""

    def watched(self, pieces: Iterator[bytes], found: Located) -> Iterator[bytes]:
        """The pieces."""
        return pieces


class NoUse:
    """A rack has no versions to keep: the region's list says what is wanted."""

    def begin(self, set_id: int) -> None:
        """Nothing to note."""

    def end(self, set_id: int) -> None:
        """Nothing to note."""

    def close(self) -> None:
        """Nothing to keep."""


class RemoteFiles(Files):
    """Answers machines; knows which of them are being served."""

    state: State
    serving: dict[int, tuple[Request, GrowingBody, int]]

    def watch(self, state: State) -> None:
        """Obey this state; called once, before the first request."""
        self.state = state
        self.serving = {}
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        if "//" in path:
            environ["PATH_INFO"] = _SLASHES.sub("/", path)
        if self.state.settings.is_drained:
            request = Request(environ, start_response, self._actor(environ))
            return request.say(503, DRAINED, [RETRY_AFTER])
        return super().__call__(environ, start_response)

    def _answer_again(self, request: Request, found: Located) -> Iterable[bytes]:
        """Say that the bytes aren't here and don't come just now."""
        self._record("image.unavailable", request, found.version, 503, 0)
        line = "This rack doesn't have the file yet, and no upstream can send it now."
        return request.say(503, line, [RETRY_AFTER])

    def _send(
        self,
        request: Request,
        found: Located,
        decision: Decision,
        headers: Headers,
        reader: BlobReader,
    ) -> Iterable[bytes] | None:
        hand_over = request.environ.get("slipway.hand_over")
        if hand_over is not None:

            def watched(body: GrowingBody) -> None:
                size = decision.stop - decision.start
                with self._lock:
                    self.serving[id(request)] = (request, body, size)
                hand_over(body)

            request.environ["slipway.hand_over"] = watched
        if not isinstance(reader, GrowingFile):
            return super()._send(request, found, decision, headers, reader)

        def done(sent: int) -> None:
            reader.close()
            self._delivered(request, found, decision, sent)

        request.start(decision.status, headers)
        start, stop = decision.start, decision.stop
        if hand_over is not None:
            request.environ["slipway.hand_over"](
                GrowingBody(reader, start, stop, request.cut, done)
            )
            return ()
        return StreamBody(reader.chunks(start, stop), stop - start, request.cut, done)

    def _delivered(
        self, request: Request, found: Located, decision: Decision, sent: int, **spent: Any
    ) -> None:
        with self._lock:
            self.serving.pop(id(request), None)
        self.state.counts.add(sent_bytes=sent)
        super()._delivered(request, found, decision, sent, **spent)

    def served(self) -> list[dict[str, object]]:
        """Who is being served, as a report tells it."""
        with self._lock:
            current = list(self.serving.values())
        return [
            {"machine": one.actor, "name": one.name, "sent": body.sent, "size": size}
            for one, body, size in current
        ]
