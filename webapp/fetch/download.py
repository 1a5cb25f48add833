# SPDX-License-Identifier: Apache-2.0
"""Download a file into a store, whatever the server does (rules: bad-mirrors, flapping-mirrors).

The writer hashes; here we only care for getting exactly ``size`` bytes there:
resumed with Range and If-Range, tried again with back-off, never one byte more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from webapp.fetch.answers import Answer
from webapp.fetch.http import Requester, encoding_problem
from webapp.fetch.model import FetchProblem, Stopped
from webapp.fetch.problems import html_problem, short_problem, shown, status_problem
from webapp.fetch.rate import PAUSE_S, Bucket
from webapp.fetch.retry import pause_before_retry, wait
from webapp.storage.base import BlobWriter, Check
from webapp.storage.errors import BlobMismatch

MIN_PIECE = 64 << 10
MAX_PIECE = 1 << 20
OVERHEAD = 8 << 20  # bytes of headers and chunk framing


class Download:
    """The state of one download; use it once."""

    def __init__(
        self,
        requester: Requester,
        url: str,
        open_writer: Callable[[Check], BlobWriter],
        *,
        size: int,
        on_bytes: Callable[[int], None],
        on_retry: Callable[[FetchProblem, float], None],
        hurry: Callable[[], object],
        on_wait: Callable[[float, FetchProblem], None],
        is_stopped: Callable[[], bool],
        bucket: Bucket,
    ) -> None:
        self._requester = requester
        self._url = url
        self._where = shown(url)
        self._open_writer = open_writer
        self._size = size
        self._on_bytes = on_bytes
        self._on_retry = on_retry
        self._hurry = hurry
        self._on_wait = on_wait
        self._is_stopped = is_stopped
        self._bucket = bucket
        self._etag = ""
        self._last_modified = ""
        self._may_resume = True
        self._is_past_caches = False  # what a cache between us and the mirror holds isn't wanted

    def run(self) -> None:
        """Fetch, check and commit; see ``Fetcher.download``."""
        self._writer = self._open_writer(self._check)
        try:
            self._fill()
            problem = self._commit()
            if problem is not None:
                # The damage may be in the part that was there before, or in a cache on the
                # way (rule: wrong-digest-once-more): once more, from zero.
                self._is_past_caches = True
                self._on_retry(problem, 0.0)
                self._start_over()
                self._fill()
                problem = self._commit()
            if problem is not None:
                raise problem
        finally:
            self._writer.close()

    def _commit(self) -> FetchProblem | None:
        try:
            self._writer.commit()
        except BlobMismatch as mismatch:
            return FetchProblem(
                "The mirror's file doesn't match the signed stream.",
                code="hash-mismatch",
                where=self._where,
                expected=mismatch.expected,
                got=mismatch.got,
                next_step="The mirror is corrupt or being updated. "
                "Try later or use another mirror.",
            )
        return None

    def _fill(self) -> None:
        """Try until all bytes are there or trying makes no sense."""
        # A try that brings less counts as a failure, so that a server which gives
        # one byte for each request cannot keep us for ever.
        enough = max(self._size // 64, MIN_PIECE)
        failures = 0
        while self._writer.offset < self._size:
            before = self._writer.offset
            try:
                self._attempt()
            except FetchProblem as problem:
                failures = 1 if self._writer.offset - before >= enough else failures + 1
                pause = pause_before_retry(problem, failures, self._requester.limits)
                if pause is None:
                    raise
                self._on_retry(problem, pause)
                self._on_wait(pause, problem)
                wait(pause, self._is_stopped, self._where, self._hurry)

    def _attempt(self) -> None:
        if self._writer.offset and not self._may_resume:
            self._start_over()
        headers = {"Cache-Control": "no-cache"} if self._is_past_caches else {}
        if self._writer.offset:
            headers["Range"] = f"bytes={self._writer.offset}-"
            if self._etag or self._last_modified:
                headers["If-Range"] = self._etag or self._last_modified
        with self._requester.open(
            self._url,
            headers=headers,
            is_stopped=self._is_stopped,
            max_bytes=2 * self._size + OVERHEAD,
        ) as answer:
            self._accept(answer)
            try:
                self._receive(answer)
            except FetchProblem as problem:
                # Compressed on the way, it is another body than the file.
                if answer.is_gzipped and answer.length is None and problem.code == "http-short":
                    raise encoding_problem(answer.where) from problem
                raise
            answer.finish()

    def _accept(self, answer: Answer) -> None:
        """Decide whether the answer's body is what we want next. Raises FetchProblem.

        Keeps the bytes that are there until the answer is plausible as the file.
        """
        offset = self._writer.offset
        rest = self._size - offset
        if answer.status == 206 and offset:
            self._check_range(answer, offset)
        elif answer.status == 416 and offset:
            self._check_end(answer)
        elif answer.status == 200:
            rest = self._size
        else:
            raise status_problem(answer.status, answer.where, answer.headers)
        if answer.length != rest:
            if answer.is_gzipped and answer.length is not None:
                raise encoding_problem(answer.where)
            is_page = answer.media_type in ("text/html", "application/xhtml+xml")
            if is_page:
                raise html_problem(answer.where, f"{answer.media_type}, {answer.length} bytes")
            if answer.status == 206 and answer.length is not None:
                raise self._no_resume(answer, f"{rest} more bytes", f"{answer.length} bytes")
            if answer.length is not None:
                raise self._wrong_size(answer.where, self._size - rest + answer.length)
        if answer.status == 200 and offset:
            self._start_over()
        etag = answer.headers.get("ETag", "").strip()
        # Only a strong validator may go into If-Range (RFC 9110 13.1.5).
        self._etag = etag if re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag) else ""
        self._last_modified = answer.headers.get("Last-Modified", "").strip()

    def _check_range(self, answer: Answer, offset: int) -> None:
        """Refuse a part that does not continue exactly where we are, or of another file."""
        text = answer.headers.get("Content-Range", "").strip()
        asked = f"bytes {offset}-{self._size - 1}/"
        if text not in (f"{asked}{self._size}", f"{asked}*"):
            raise self._no_resume(answer, f"{asked}{self._size}", _sane(text))
        etag = answer.headers.get("ETag", "").strip()
        if self._etag and etag and etag != self._etag:
            raise self._no_resume(answer, "the same ETag as before", "another one")

    def _check_end(self, answer: Answer) -> None:
        """The server reports that our offset is beyond the file's end."""
        text = answer.headers.get("Content-Range", "").strip()
        match = re.fullmatch(r"bytes \*/([0-9]{1,18})", text)
        if match and int(match[1]) != self._size:
            raise self._wrong_size(answer.where, int(match[1]))
        raise self._no_resume(answer, "HTTP status 206", "416")

    def _no_resume(self, answer: Answer, expected: str, got: str) -> FetchProblem:
        self._may_resume = False
        return FetchProblem(
            "The mirror can't resume this file correctly. It is downloaded from the start.",
            code="http-range",
            where=answer.where,
            expected=expected,
            got=got or "nothing",
            next_step="Ask the mirror's operator about range requests.",
            is_temporary=True,
        )

    def _wrong_size(self, where: str, got: int) -> FetchProblem:
        return FetchProblem(
            "The mirror's file doesn't have the size in the signed stream.",
            code="size-mismatch",
            where=where,
            expected=f"{self._size} bytes",
            got=f"{got} bytes",
            next_step="The mirror is corrupt or being updated. Try later or use another mirror.",
        )

    def _receive(self, answer: Answer) -> None:
        """Write the body; what came before a break is kept."""
        largest = min(max(self._size // 32, MIN_PIECE), MAX_PIECE)
        view = memoryview(bytearray(largest))
        piece = MIN_PIECE
        while rest := self._size - self._writer.offset:
            wanted = self._admit(min(piece, rest))
            started = time.monotonic()
            count = answer.readinto(view[:wanted])
            if count:
                self._writer.write(view[:count])
                self._on_bytes(self._writer.offset)
            if count < wanted:
                raise short_problem(answer.where, self._size, self._writer.offset)
            # Large pieces are quick, small ones lose little and show progress on a slow line.
            seconds = time.monotonic() - started
            piece = min(piece * 2, largest) if seconds < 0.1 else max(piece // 2, MIN_PIECE)
        if answer.length is None and answer.readinto(view[:1]):
            self._writer.discard()
            raise FetchProblem(
                "The mirror's file is longer than the signed stream declares.",
                code="size-mismatch",
                where=answer.where,
                expected=f"{self._size} bytes",
                got="more",
                next_step="The mirror is corrupt or being updated. "
                "Try later or use another mirror.",
            )

    def _admit(self, wanted: int) -> int:
        """How many of these bytes to read now, once the shared rate allows some. Raises Stopped."""
        while not (count := self._bucket.take(wanted)):
            self._check()
            time.sleep(PAUSE_S)
        return count

    def _check(self) -> None:
        if self._is_stopped():
            raise Stopped(self._where)

    def _start_over(self) -> None:
        self._writer.discard()
        self._writer = self._open_writer(self._check)
        self._etag = self._last_modified = ""
        self._on_bytes(self._writer.offset)


def _sane(text: str) -> str:
    """A header value to show: printable and short."""
    return "".join(c for c in text[:80] if c.isascii() and c.isprintable())
