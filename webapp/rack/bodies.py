# SPDX-License-Identifier: Apache-2.0
"""Bodies that know how many of their bytes went out."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator

NEAR_US = 500  # round trip up to which a machine counts as near
NEAR_BUFFER = 208 << 10  # bytes; every Linux allows this much, and doubles it
_ROUND_TRIP = struct.Struct("=68xI")  # tcpi_rtt in struct tcp_info


def fit_buffer(sock: socket.socket) -> None:
    """Send no further ahead of a near machine than the CPU's cache reaches.

    The kernel lets the buffers of a fast connection grow to megabytes, and so
    each byte is out of the cache when it is copied to the network or the
    reader. To far machines that much is needed, and their buffers are left alone.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROUND_TRIP.size)
        if _ROUND_TRIP.unpack(info)[0] <= NEAR_US:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NEAR_BUFFER)
    except (OSError, struct.error):
        pass  # not TCP, or gone: nothing to tune


def cut(sock: socket.socket | None) -> None:
    """Break a connection, so that a short body is never taken for a whole one."""
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the client is gone already


class StreamBody:
    """Chunks in bounded memory, for stores without files."""

    def __init__(
        self,
        chunks: Iterator[bytes],
        length: int,
        cut: Callable[[], None],
        done: Callable[[int], None],
    ) -> None:
        self._chunks = chunks
        self._length = length
        self._cut = cut
        self._done = done
        self._sent = 0
        self._handed_out = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        # Whoever asks for the next chunk has sent the one before.
        self._sent, self._handed_out = self._sent + self._handed_out, 0
        chunk = next(self._chunks)
        self._handed_out = len(chunk)
        return chunk

    def close(self) -> None:
        """Called by the server when the answer ended, well or not."""
        if self._sent < self._length:
            self._cut()
        self._done(self._sent)


class FileBody:
    """``file[start:stop]`` as ``wsgi.file_wrapper`` takes it: sent by the kernel.

    gunicorn sends from the descriptor's position; ``socket.sendfile`` then
    seeks to where it stopped, which shows how much went out even when the
    client left. ``read`` is for a server that cannot send files.
    """

    def __init__(
        self,
        handle: int,
        start: int,
        stop: int,
        cut: Callable[[], None],
        done: Callable[[int], None],
    ) -> None:
        self._handle = handle
        self._start = start
        self._stop = stop
        self._cut = cut
        self._done = done
        self._position = os.lseek(handle, start, os.SEEK_SET)

    @property
    def sent(self) -> int:
        """Bytes that went out so far."""
        return self._position - self._start

    def wait(self, wake: Callable[[], None]) -> bool:
        """See server.sockets.Transfer: all of the file is here."""
        return False

    def fileno(self) -> int:
        return self._handle

    def send(self, sock: socket.socket, most: int) -> bool:
        """Send at most ``most`` bytes without waiting; True at the end. Raises OSError.

        BlockingIOError means that not even one was taken: who takes some isn't gone.
        """
        before = self._position
        while most > 0 and self._position < self._stop:
            count = min(most, self._stop - self._position)
            try:
                sent = os.sendfile(sock.fileno(), self._handle, self._position, count)
            except BlockingIOError:
                if self._position > before:
                    return False
                raise
            if not sent:
                raise OSError(errno.EIO, "the file became shorter while it was sent")
            self._position += sent
            most -= sent
        return self._position >= self._stop

    def read(self, size: int) -> bytes:
        data = os.read(self._handle, min(size, self._stop - self._position))
        self._position += len(data)
        return data

    def seek(self, position: int) -> None:
        self._position = os.lseek(self._handle, position, os.SEEK_SET)

    def close(self) -> None:
        """Called by the server when the answer ended, well or not."""
        if self._position < self._stop:
            self._cut()
        self._done(self.sent)
