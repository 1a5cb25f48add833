# SPDX-License-Identifier: Apache-2.0
"""Bodies that are taken as they come, or let go by; both APIs do it alike.

A client that's still sending doesn't read the answer, so a refused body is read
first (rule: rest-read-the-body).
"""

from __future__ import annotations

from collections.abc import Iterator

from flask import Request
from werkzeug.exceptions import ClientDisconnected

MOST_DRAINED = 64 << 20  # who sends more than this is cut off
PIECE = 256 << 10  # bytes of an upload in memory at a time
MOST_INCOMING = 1 << 44  # what an upload may still take is checked as it comes
_CHUNK = 64 << 10


class Incoming:
    """A body that is taken as it comes, never whole in memory.

    length: bytes that the client announced; None when it sends in chunks of HTTP.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.length = request.content_length

    def pieces(self) -> Iterator[bytes]:
        """The bytes, some at a time; they end early when the client goes away."""
        try:
            if self.length is None:
                yield from self._chunked()
                return
            left = self.length
            stream = self._request.environ["wsgi.input"]  # werkzeug's would copy each byte again
            while left > 0 and (piece := stream.read(min(PIECE, left))):
                left -= len(piece)
                yield piece
        except OSError:
            return

    def _chunked(self) -> Iterator[bytes]:
        # Werkzeug gives nothing at all where the server does not say that the stream ends.
        self._request.max_content_length = MOST_INCOMING
        try:
            while piece := self._request.stream.read(PIECE):
                yield piece
        except ClientDisconnected:
            return


def drain(request: Request) -> None:
    """Read and forget what the client sends, up to MOST_DRAINED bytes."""
    stream = request.environ["wsgi.input"]
    left = MOST_DRAINED
    if request.content_length is not None:
        left = min(left, request.content_length)
    elif not request.environ.get("wsgi.input_terminated"):
        return  # a stream without an end would be waited for
    try:
        while left > 0:
            got = stream.read(min(left, _CHUNK))
            if not got:
                return
            left -= len(got)
    except OSError:
        return  # the client went away; so does its answer
