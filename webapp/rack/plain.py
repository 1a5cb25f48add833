# SPDX-License-Identifier: Apache-2.0
"""Plain requests for published files, answered at once where the answer needs no thread.

What most machines send is a GET without conditions of a file that's here. Such an answer
waits for nothing: the names are in memory, its headers don't change, and the kernel sends the
file. Everything else is left to the thread that reads the request properly.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from webapp.rack.bodies import FileBody, cut, fit_buffer
from webapp.rack.conditions import Decision
from webapp.rack.files import SMALL, Files
from webapp.rack.proofs import Proofs
from webapp.rack.requests import PREFIX, Headers, content, validators
from webapp.services.images.published import Located, PublishedNames
from webapp.services.images.serving import PublishedMap
from webapp.storage.files import open_file

LONGEST_HEAD = 2048  # bytes
MOST_KNOWN = 4096  # answers whose headers are kept

# All that a request may have; nothing here changes the answer but ``Connection``.
_PLAIN = re.compile(
    rb"(GET|HEAD) ((?:/[\w.~+:,@=-]+)+) HTTP/1\.1\r\n"
    rb"(?:(?:Host|User-Agent|Accept|Accept-Encoding|Accept-Language|Cache-Control|Pragma|Referer"
    rb"|Connection):[ ]?[\x20-\x7e]*\r\n){1,16}\r\n",
    re.ASCII | re.IGNORECASE,
)
_KEPT = re.compile(rb"\r\nconnection:[ ]?(keep-alive|close)\r\n")


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain request. is_kept: its connection stays open after the answer."""

    is_head: bool
    path: str
    is_kept: bool


def read_plain(data: bytes | bytearray) -> Plain | None:
    """Read a request that's whole, plain and alone; None for any other."""
    if len(data) > LONGEST_HEAD:
        return None
    match = _PLAIN.fullmatch(data)
    if match is None or match[1] not in (b"GET", b"HEAD"):
        return None
    lowered = data.lower()
    if lowered.count(b"\r\nhost:") > 1:
        return None
    is_kept = True
    if b"\r\nconnection:" in lowered:
        option = _KEPT.search(lowered)
        if option is None or lowered.count(b"\r\nconnection:") > 1:
            return None
        is_kept = option[1] == b"keep-alive"
    return Plain(match[1] == b"HEAD", match[2].decode("ascii"), is_kept)


class Reply:
    """An answer on its way: its head, and a file or the few bytes of one. A Transfer.

    done: told how many bytes of the body went out, once it's over.
    """

    __slots__ = ("_ahead", "_body_at", "_done", "_file", "_sock", "is_kept")

    def __init__(
        self,
        head: bytes,
        content: bytes,
        file: FileBody | None,
        done: Callable[[int], None],
        *,
        is_kept: bool,
    ) -> None:
        self.is_kept = is_kept
        self._ahead = head + content
        self._body_at = len(head)
        self._file = file
        self._done = done
        self._sock: socket.socket | None = None

    def send(self, sock: socket.socket, most: int) -> bool:
        """See server.sockets.Transfer."""
        if self._ahead:
            self._sock = sock
            sent = sock.send(self._ahead, socket.MSG_MORE if self._file else 0)
            self._body_at -= sent
            if sent < len(self._ahead):
                self._ahead = self._ahead[sent:]
                return False
            self._ahead = b""
        try:
            return self._file is None or self._file.send(sock, most)
        except BlockingIOError:
            return False

    def wait(self, wake: Callable[[], None]) -> bool:
        """See server.sockets.Transfer: all of it is here."""
        return False

    def close(self) -> None:
        """End it, whole or not."""
        if self._file is not None:
            if self._ahead:
                cut(self._sock)
            self._file.close()
        else:
            if self._ahead:
                cut(self._sock)
            self._done(max(0, -self._body_at))


class PlainAnswers:
    """Answers of one process; for its event loop alone."""

    def __init__(self, files: Files, path_of: Callable[[str], Path]) -> None:
        if not isinstance(files.published, PublishedMap) or not isinstance(files.proofs, Proofs):
            raise TypeError("only a rack beside its region's database can answer at once")
        self._files = files
        self._published = files.published
        self._proofs = files.proofs
        self._path_of = path_of
        self._names: PublishedNames | None = None
        self._known: dict[str, tuple[Located, Path, bytes]] = {}
        self._second, self._date = 0, b""

    def answer(
        self, data: bytes | bytearray, peer: str, sock: socket.socket, *, may_keep: bool
    ) -> Reply | None:
        """The answer to the bytes of one request; None when a thread has to look at it.

        may_keep: whether the connection may stay open.
        """
        request = read_plain(data)
        if request is None or not request.path.startswith(PREFIX):
            return None
        known = self._find(request.path[len(PREFIX) :])
        if known is None:
            return None
        found, path, fixed = known
        try:
            handle = open_file(path, os.O_RDONLY)
        except OSError:
            return None
        is_used = False
        try:
            state = os.fstat(handle)
            if state.st_size != found.size or not self._proofs.is_same(found, state.st_mtime_ns):
                return None
            is_kept = request.is_kept and may_keep
            head = self._opening(is_kept) + fixed
            if request.is_head:
                return Reply(head, b"", None, _nothing, is_kept=is_kept)
            if found.size > SMALL:
                is_used = True
                return self._file(head, handle, request, found, peer, sock, is_kept=is_kept)
            held = os.pread(handle, found.size, 0)
            if len(held) != found.size:
                return None
        except OSError:
            return None
        finally:
            if not is_used:
                os.close(handle)
        self._files.fetches.begin(found.set_id)
        return Reply(head, held, None, self._done(request, found, peer), is_kept=is_kept)

    def _file(
        self,
        head: bytes,
        handle: int,
        request: Plain,
        found: Located,
        peer: str,
        sock: socket.socket,
        *,
        is_kept: bool,
    ) -> Reply:
        """An answer of a file, which it closes."""
        count = self._done(request, found, peer)

        def done(sent: int) -> None:
            os.close(handle)
            count(sent)

        fit_buffer(sock)
        self._files.fetches.begin(found.set_id)
        body = FileBody(handle, 0, found.size, lambda: cut(sock), done)
        return Reply(head, b"", body, _nothing, is_kept=is_kept)

    def _find(self, name: str) -> tuple[Located, Path, bytes] | None:
        """What a name means just now, where its file is, and the headers of its answer."""
        names = self._published.names_at_once()
        if names is None:
            return None
        if names is not self._names:
            self._names = names
            self._known.clear()
        known = self._known.get(name)
        if known is None:
            found = names.locate(name)
            if found is None or not found.is_ready or len(self._known) >= MOST_KNOWN:
                return None
            if found.restriction is not None:
                return None  # the thread decides who gets it
            headers = validators(found, f'"{found.sha256}"')
            headers += content(name, found, Decision(200, 0, found.size))
            known = (found, self._path_of(found.sha256), _as_bytes(headers))
            self._known[name] = known
        return known

    def _opening(self, is_kept: bool) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        option = b"keep-alive" if is_kept else b"close"
        return b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: %b\r\nConnection: %b\r\n" % (
            self._date,
            option,
        )

    def _done(self, request: Plain, found: Located, peer: str) -> Callable[[int], None]:
        begun = time.monotonic()

        def done(sent: int) -> None:
            self._files.fetches.end(found.set_id)
            took_s = time.monotonic() - begun
            self._files.note_whole(peer, request.path[len(PREFIX) :], found, sent, took_s)

        return done


def _as_bytes(headers: Headers) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    return ("".join(lines) + "\r\n").encode("latin-1")


def _nothing(sent: int) -> None:
    """No body was to be counted."""
