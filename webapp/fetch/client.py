# SPDX-License-Identifier: Apache-2.0
"""The fetcher of one source."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_network
from typing import Self, TypeVar

from webapp.fetch.addresses import AddressRule
from webapp.fetch.answers import Answer
from webapp.fetch.download import Download
from webapp.fetch.folders import Find, is_file_url
from webapp.fetch.http import Requester, encoding_problem
from webapp.fetch.model import Fetched, FetchProblem, Head, Limits, NotModified, Route
from webapp.fetch.problems import html_problem, short_problem, shown, status_problem
from webapp.fetch.rate import UNLIMITED, Bucket
from webapp.fetch.retry import pause_before_retry, wait
from webapp.storage.base import BlobWriter, Check

PIECE = 256 << 10  # bytes of metadata read at a time
# Room for headers (http.client takes 100 of 64 KiB) and the framing of sane chunks.
OVERHEAD = 8 << 20

_T = TypeVar("_T")


class Fetcher:
    """Fetches over one route within limits; threads may share it.

    on_wait: called before each pause between two tries (seconds, why).
    is_stopped: asked a few times a second by every request.
    deny_networks: never connected to, not even when an administrator typed it.
    allow_networks: the only ones that are connected to, and a proxy may be asked for none but
    addresses in them; empty for all others.
    is_https_only: http is refused, but for this machine.
    own_ports: our own listeners; no redirect may lead to them on this machine.
    bucket: the rate that this fetcher's downloads share with those of others.
    files: opens what ``file:`` URLs name; None refuses them.
    """

    def __init__(
        self,
        route: Route = Route(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        on_wait: Callable[[float, FetchProblem], None] | None = None,
        is_stopped: Callable[[], bool] | None = None,
        deny_networks: Iterable[str] = (),
        allow_networks: Iterable[str] = (),
        is_https_only: bool = False,
        own_ports: Collection[int] = (),
        bucket: Bucket = UNLIMITED,
        files: Find | None = None,
    ) -> None:
        self.limits = limits
        self._on_wait = on_wait or (lambda seconds, problem: None)
        self._is_stopped = is_stopped or (lambda: False)
        self._bucket = bucket
        denied, allowed = (
            tuple(ip_network(text, strict=False) for text in networks)
            for networks in (deny_networks, allow_networks)
        )
        rule = AddressRule(denied, allowed, is_https_only, frozenset(own_ports))
        self._requester = Requester(route, limits, rule, files)

    def metadata(
        self, url: str, *, etag: str = "", last_modified: str = ""
    ) -> Fetched | NotModified:
        """Fetch a whole document of at most ``limits.metadata_bytes``.

        With the validators of a known copy the answer may be NotModified.
        Raises FetchProblem.
        """
        headers = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in headers.items() if value}
        return self._tried(url, lambda until: self._metadata(url, headers, until))

    def head(self, url: str, *, total_s: float | None = None) -> Head:
        """Ask about a file; a final status is an answer unless it is temporary.

        total_s: how long it may take, ``limits.total_metadata_s`` when left out.
        """
        return self._tried(url, lambda until: self._head(url, until), total_s)

    def measure(self, url: str, *, max_bytes: int, total_s: float) -> int:
        """Bytes a second of a file's start, its connection included. Raises FetchProblem."""
        started = time.monotonic()
        with self._requester.open(
            url,
            headers={"Range": f"bytes=0-{max_bytes - 1}"},
            is_stopped=self._is_stopped,
            max_bytes=max_bytes + OVERHEAD,
            deadline=started + total_s,
        ) as answer:
            if answer.status not in (200, 206):
                raise status_problem(answer.status, answer.where, answer.headers)
            piece, received = memoryview(bytearray(PIECE)), 0
            while received < max_bytes and (count := answer.readinto(piece)):
                received += count
        return int(received / max(time.monotonic() - started, 0.001))

    def download(
        self,
        url: str,
        open_writer: Callable[[Check], BlobWriter],
        *,
        size: int,
        on_bytes: Callable[[int], None] | None = None,
        is_stopped: Callable[[], bool] | None = None,
        on_retry: Callable[[FetchProblem, float], None] | None = None,
        hurry: Callable[[], object] = lambda: None,
    ) -> None:
        """Bring one blob into a store, from where its partial stops, and commit it.

        open_writer: ``lambda check: store.writer(sha256, size, check)``; called again when
        the file has to start over, since a discarded writer is closed. A stop is heard while
        it hashes the partial, too. The writer is
        always closed at the end; its partial stays unless the bytes were wrong.
        on_bytes: gets how many bytes of the file are there (falls to 0 when the
        file starts over). on_retry: gets the reason and the seconds to wait before each
        retry. hurry: a pause ends early when what it gives changes.
        Raises FetchProblem (Stopped when asked to stop) and the store's problems.
        """
        mine = is_stopped or (lambda: False)
        Download(
            self._requester,
            url,
            open_writer,
            size=size,
            on_bytes=on_bytes or (lambda received: None),
            on_retry=on_retry or (lambda problem, seconds: None),
            hurry=hurry,
            on_wait=self._on_wait,
            is_stopped=lambda: mine() or self._is_stopped(),
            bucket=UNLIMITED if is_file_url(url) else self._bucket,
        ).run()

    def close(self) -> None:
        """Close all connections."""
        self._requester.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tried(self, url: str, attempt: Callable[[float], _T], total_s: float | None = None) -> _T:
        """Try until it works, it makes no sense, or the time is over."""
        until = time.monotonic() + (total_s or self.limits.total_metadata_s)
        failures = 0
        while True:
            try:
                return attempt(until)
            except FetchProblem as problem:
                failures += 1
                pause = pause_before_retry(problem, failures, self.limits)
                if pause is None or time.monotonic() + pause > until:
                    raise
                self._on_wait(pause, problem)
                wait(pause, self._is_stopped, shown(url))

    def _metadata(self, url: str, headers: dict[str, str], until: float) -> Fetched | NotModified:
        cap = self.limits.metadata_bytes
        with self._requester.open(
            url,
            headers=headers,
            is_stopped=self._is_stopped,
            max_bytes=2 * cap + OVERHEAD,
            deadline=until,
        ) as answer:
            if answer.status == 304 and headers:
                answer.finish()
                return NotModified(url=answer.where)
            if answer.status != 200:
                raise status_problem(answer.status, answer.where, answer.headers)
            content = _whole(answer, cap)
            if answer.is_gzipped:
                content = _unpacked(content, cap, answer.where)
            if content.lstrip()[:1] == b"<":
                # Neither JSON nor an OpenPGP block starts so.
                raise html_problem(answer.where, f"{answer.media_type} {len(content)} bytes")
            answer.finish()
            return Fetched(
                content=content,
                etag=_header(answer, "ETag"),
                last_modified=_header(answer, "Last-Modified"),
                url=answer.where,
            )

    def _head(self, url: str, until: float) -> Head:
        with self._requester.open(
            url,
            method="HEAD",
            is_stopped=self._is_stopped,
            max_bytes=OVERHEAD,
            deadline=until,
        ) as answer:
            problem = status_problem(answer.status, answer.where, answer.headers)
            if problem.is_temporary:
                raise problem
            answer.finish()
            # The length of a compressed body isn't the length of the file.
            return Head(answer.status, None if answer.is_gzipped else answer.length)


def _whole(answer: Answer, cap: int) -> bytes:
    """Read a body of at most ``cap`` bytes. Raises FetchProblem."""
    if answer.length is not None and answer.length > cap:
        raise _too_large(answer.where, cap, f"{answer.length} bytes declared")
    content = bytearray()
    piece = memoryview(bytearray(PIECE))
    while count := answer.readinto(piece):
        content += piece[:count]
        if len(content) > cap:
            raise _too_large(answer.where, cap, "more")
    if answer.length is not None and len(content) < answer.length:
        raise short_problem(answer.where, answer.length, len(content))
    return bytes(content)


def _unpacked(content: bytes, cap: int, where: str) -> bytes:
    """A gzipped document, at most ``cap`` bytes of it; one that only claims to be is as it is.

    Raises FetchProblem.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = unpacker.decompress(content, cap + 1)
    except zlib.error as error:
        raise encoding_problem(where) from error
    if len(plain) > cap:
        raise _too_large(where, cap, "more when it's unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise encoding_problem(where)
    return plain


def _too_large(where: str, cap: int, got: str) -> FetchProblem:
    return FetchProblem(
        "The document is too large.",
        code="http-too-large",
        where=where,
        expected=f"at most {cap} bytes",
        got=got,
        next_step="Check the URL. If the document is right, raise the limit in the settings.",
    )


def _header(answer: Answer, name: str) -> str:
    """A validator to be sent back later; "" when it is too odd to keep."""
    value = answer.headers.get(name, "").strip()
    return value if len(value) <= 200 and value.isascii() and value.isprintable() else ""
