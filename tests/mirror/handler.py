# SPDX-License-Identifier: Apache-2.0
"""One connection to a mirror server: the right answer, or the fault that was asked for."""

from __future__ import annotations

import email.utils
import fcntl
import os
import re
import select
import socket
import struct
import termios
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.mirror import faults
from tests.mirror.faults import NO_FAULT, Body, Fault
from tests.mirror.record import Request

if TYPE_CHECKING:
    from tests.mirror.server import Listener, MirrorServer

SENDFILE_BYTES = 4 << 20


class Broken(Exception):
    """The connection ends here on purpose."""


class MirrorHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from a folder; ``site`` is set by the server's subclass."""

    site: MirrorServer
    server: Listener
    protocol_version = "HTTP/1.1"
    server_version = "mirror"
    sys_version = ""
    timeout = 60
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer one request and write down how."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = Request(self.command, self.path, headers, self.client_address[1])
        self.is_waited_for = True
        with self.server.record.changed:
            self.server.record.log.append(self.seen)
            self.server.record.busy += 1
        try:
            self._answer()
            self.seen.end = "whole"
        except Broken as broken:
            self.seen.end = str(broken)
            self.close_connection = True
        except (OSError, ValueError):  # ValueError: the server closed the stream to stop
            self.seen.end = "client left"
            self.close_connection = True
        finally:
            self._is_idle()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Stay off the terminal; the server keeps its own log."""

    def _answer(self) -> None:
        raw = re.sub(r"^https?://[^/]*", "", self.path)  # absolute form, as to a proxy
        raw = raw.partition("?")[0].lstrip("/")
        fault = self.site.pick(self.command, raw, dict(self.headers))
        if self.site.latency or fault.delay:
            self._pause(self.site.latency + fault.delay)
        if fault.hang is not None:
            self._pause(fault.hang)
            raise Broken("hung")
        if fault.raw is not None:
            self.wfile.write(fault.raw.encode("latin-1"))
            raise Broken("raw")
        if fault.answers:
            self._instead(fault, raw)
            return
        file = self._file(raw)
        if file is None:
            self._send(404, Body([b"not found\n"], 10), NO_FAULT)
        else:
            self._serve(file, fault)

    def _file(self, raw: str) -> Path | None:
        path = urllib.parse.unquote(raw, errors="surrogateescape")
        parts = path.split("/")
        if ".." in parts or "\0" in path:
            return None
        file = self.site.root.joinpath(*parts)
        try:
            return file if file.is_file() else None
        except OSError:  # a name that is too long for the file system
            return None

    def _instead(self, fault: Fault, raw: str) -> None:
        headers = list(fault.headers.items())
        if fault.redirect is not None:
            target = fault.redirect.replace("{canary}", self.site.canary.base)
            target = target.replace("{base}", self.server.base).replace("{path}", raw)
            body = Body([b"moved\n"], 6, [*headers, ("Location", target)])
            self._send(fault.status or 302, body, NO_FAULT)
            return
        if fault.gzip_bomb is not None:
            packed = faults.gzipped_zeros(fault.gzip_bomb)
            body = Body(packed, None, [*headers, ("Content-Encoding", "gzip")])
        elif fault.repeat is not None:
            text, total = fault.repeat
            body = Body(faults.repeated(text, total), total, headers)
        else:
            content = fault.body if fault.body is not None else b"a fault was asked for\n"
            content = content.encode() if isinstance(content, str) else content
            body = Body([content], len(content), headers)
        self._send(fault.status or 200, faults.spoil(body, fault), fault)

    # -- files

    def _serve(self, file: Path, fault: Fault) -> None:
        with file.open("rb") as stream:
            info = os.fstat(stream.fileno())
            etag = f'"{info.st_mtime_ns:x}-{info.st_size:x}"'
            modified = email.utils.formatdate(info.st_mtime, usegmt=True)
            headers = [
                ("Last-Modified", modified),
                ("Accept-Ranges", "bytes"),
                *fault.headers.items(),
            ]
            if not fault.no_etag:
                headers.append(("ETag", etag))
            if fault.is_plain and self._is_fresh(etag, info.st_mtime):
                self._head(304, headers)
                return
            wanted = None
            if not fault.ignores_range and self.headers.get("If-Range") in (None, etag, modified):
                wanted = _range(self.headers.get("Range", ""), info.st_size)
            start, stop = wanted or (0, info.st_size)
            if start >= stop and wanted:
                self._head(416, [("Content-Range", f"bytes */{info.st_size}")], length=0)
                return
            if wanted:
                headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{info.st_size}"))
            status, length = (206 if wanted else 200), stop - start
            begin = 0 if fault.shifts_range else start
            if fault.is_plain and not self.site.rate:
                self._head(status, headers, length)
                if self.command != "HEAD":
                    self._sendfile(stream, begin, length)
                return
            body = Body(_chunks(stream, begin, length), length)
            spoiled = faults.spoil(body, fault)
            spoiled.headers += headers
            self._send(status, spoiled, fault)

    def _is_fresh(self, etag: str, modified: float) -> bool:
        if known := self.headers.get("If-None-Match"):
            return known.strip() == "*" or etag in known
        since = email.utils.parsedate_tz(self.headers.get("If-Modified-Since", ""))
        return since is not None and int(modified) <= email.utils.mktime_tz(since)

    def _sendfile(self, stream: Any, start: int, length: int) -> None:
        self.wfile.flush()
        while length > 0:
            sent = self.connection.sendfile(stream, start, min(length, SENDFILE_BYTES))
            if not sent:
                raise Broken("file became shorter")
            self.seen.sent += sent
            start += sent
            length -= sent

    # -- bytes on the wire

    def _head(
        self, status: int, headers: Iterable[tuple[str, str]], length: int | None = None
    ) -> None:
        self.seen.status = status
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, status: int, body: Body, fault: Fault) -> None:
        headers = list(body.headers)
        is_chunked = body.length is None and not fault.no_length
        if is_chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        elif body.length is None:
            self.close_connection = True
        self._head(status, headers, body.length)
        if self.command == "HEAD":
            return
        for part in self._paced(body.chunks, fault):
            self._put(part, is_chunked=is_chunked)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")
        if fault.length is not None:
            raise Broken("length")

    def _paced(self, chunks: Iterable[bytes], fault: Fault) -> Iterator[bytes]:
        """The parts to send now; sleeps and breaks off between them as the fault says."""
        rate = fault.rate or self.site.rate
        size = max(1, min(faults.CHUNK, int(rate / 20))) if rate else faults.CHUNK
        if fault.drip:
            size = fault.drip[0]
        stops = [n for n in (fault.cut, fault.reset) if n is not None]
        stops += [fault.stall[0]] if fault.stall else []
        stop = min(stops, default=None)
        started, done = time.monotonic(), 0
        for part in faults.pieces(chunks, size):
            if stop is not None and done + len(part) >= stop:
                yield part[: stop - done]
                self._break_off(fault)
            yield part
            done += len(part)
            if fault.drip:
                self._pause(fault.drip[1])
            elif rate:
                self._pause(done / rate - (time.monotonic() - started), is_waited_for=True)
        if stop is not None:
            self._break_off(fault)

    def _put(self, part: bytes, *, is_chunked: bool) -> None:
        if not part:
            return
        framed = b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part
        self.wfile.write(framed)
        self.seen.sent += len(part)

    def _break_off(self, fault: Fault) -> None:
        self.wfile.flush()
        if fault.stall is not None:
            self._pause(fault.stall[1])
            raise Broken("stalled")
        if fault.reset is not None:
            self._await_arrival()
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # socketserver would send an orderly FIN first; a closed socket cannot.
            self.connection.close()
            raise Broken("reset")
        raise Broken("cut")

    def _await_arrival(self) -> None:
        """Wait until the client's side has all that was sent: a reset drops the rest."""
        until = time.monotonic() + 30
        while self._unacknowledged() and time.monotonic() < until:
            time.sleep(0.005)

    def _unacknowledged(self) -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4)))
        return int(count)

    def _pause(self, seconds: float, *, is_waited_for: bool = False) -> None:
        """Sleep, but end at once when the client leaves or the server stops."""
        if not is_waited_for:
            self._is_idle()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.server.stopping.wait(min(left, 0.05)):
                raise Broken("server stopped")
            if self._is_readable() and self._has_left():
                raise Broken("client left")

    def _is_readable(self) -> bool:
        poll = select.poll()  # select() knows the first 1,024 files only
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))

    def _has_left(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except ValueError:  # TLS cannot peek
            return False

    def _is_idle(self) -> None:
        """Tell the record that this answer is over, or hangs on purpose."""
        with self.server.record.changed:
            if self.is_waited_for:
                self.is_waited_for = False
                self.server.record.busy -= 1
                self.server.record.changed.notify_all()


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; empty when it cannot be satisfied."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if first == "":
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)


def _chunks(stream: Any, start: int, length: int) -> Iterator[bytes]:
    stream.seek(start)
    while length > 0:
        chunk = stream.read(min(faults.CHUNK, length))
        if not chunk:
            return
        length -= len(chunk)
        yield chunk
