# SPDX-License-Identifier: Apache-2.0
"""Request bodies: read whole, read as they arrive, or discarded.

A client that's still sending doesn't read the answer, so a refused body is read
first (rule: rest-read-the-body).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from webapp.errors import BodyTooLarge

MAX_BODY_BYTES = 2 << 20  # of a body that's read whole; a keyring is the largest
MAX_DRAINED_BYTES = 64 << 20  # the connection of a client that sends more is closed
MAX_INCOMING_BYTES = 1 << 44  # the upload checks its own size as bytes arrive
PIECE = 256 << 10  # bytes of an upload in memory at a time
_CHUNK = 64 << 10


class Incoming:
    """A body read as it arrives, never whole in memory.

    length: Content-Length; None for a chunked body.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.length = request.content_length

    def pieces(self, watch: Callable[[], Callable[[], bool]] | None = None) -> Iterator[bytes]:
        """The bytes in pieces; they end early if the client disconnects.

        watch: called before the first piece. What it returns is asked each second in which
        nothing comes; True ends them, too.
        """
        unreader = self._request.environ.get("slipway.unreader")
        if unreader is None:
            yield from self._pieces()
            return
        unreader.on_idle = watch() if watch else None
        try:
            yield from self._pieces()
        finally:
            unreader.on_idle = None

    def _pieces(self) -> Iterator[bytes]:
        try:
            if self.length is None:
                yield from self._chunked()
                return
            left = self.length
            stream = self._request.environ["wsgi.input"]  # werkzeug's stream copies each byte again
            while left > 0 and (piece := stream.read(min(PIECE, left))):
                left -= len(piece)
                yield piece
        except OSError:
            return

    def _chunked(self) -> Iterator[bytes]:
        # Without a maximum werkzeug gives nothing, unless the server states that the stream ends.
        self._request.max_content_length = MAX_INCOMING_BYTES
        try:
            while piece := self._request.stream.read(PIECE):
                yield piece
        except ClientDisconnected:
            return


def read(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The whole body. Raises BodyTooLarge."""
    request.max_content_length = max_bytes
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise BodyTooLarge(f"Send at most {max_bytes >> 20} MiB.") from None


def drain(request: Request) -> None:
    """Discard the body, up to MAX_DRAINED_BYTES."""
    stream = request.environ["wsgi.input"]
    left = MAX_DRAINED_BYTES
    if request.content_length is not None:
        left = min(left, request.content_length)
    elif not request.environ.get("wsgi.input_terminated"):
        return  # its end can't be seen
    try:
        while left > 0:
            got = stream.read(min(left, _CHUNK))
            if not got:
                return
            left -= len(got)
    except OSError:
        return  # the client disconnected
