# SPDX-License-Identifier: Apache-2.0
"""What machines fetched, in a small file until the region has it."""

from __future__ import annotations

import ipaddress
import json
import os
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import structlog

from webapp import durable

log = structlog.get_logger(__name__)

MAX_EVENTS = 20_000  # the oldest go first
BATCH = 500
FETCHED, REFUSED = "image.fetched", "image.refused"


class EventLog:
    """Fetches with numbers that rise across restarts; threads share it.

    Equal ones between two calls of ``flush`` are one: a machine may fetch a file in pieces.
    Files that a machine doesn't get are kept with why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fresh: dict[tuple[str, str, str], dict[str, object]] = {}
        self._kept: deque[dict[str, object]] = deque()
        self._next = 1
        self._lines: int | None = 0  # of the file, None when it has to be written anew
        self._read()

    def add(
        self,
        kind: str,
        actor: str,
        subject: str,
        *,
        status: int,
        version: str = "",
        size: int = 0,
        file: str = "",
        took_s: float | None = None,
        missing: int = 0,
        why: str = "",
    ) -> None:
        """Count one, if a machine fetched an image or was refused it; see rack.parts.Events."""
        is_told = kind == REFUSED or (kind == FETCHED and size > 0)
        if not is_told or subject.startswith("mirror") or not _is_ip(actor):
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        name = f"{subject}/{file}"
        with self._lock:
            event = self._fresh.setdefault(
                (kind, actor, name),
                {"id": 0, "at": at, "machine": actor, "name": name, "bytes": 0},
            )
            if kind == REFUSED:
                event["why"] = why
            event["bytes"] = int(str(event["bytes"])) + size

    def flush(self) -> None:
        """Append what's new to the file. May raise OSError."""
        with self._lock:
            fresh, self._fresh = list(self._fresh.values()), {}
            for event in fresh:
                event["id"], self._next = self._next, self._next + 1
            self._kept.extend(fresh)
            dropped = max(0, len(self._kept) - MAX_EVENTS)
            for _ in range(dropped):
                self._kept.popleft()
            if dropped:
                log.warning("events were dropped: the region is away for too long", count=dropped)
            if self._lines is None or self._lines + len(fresh) > 2 * MAX_EVENTS:
                self._rewrite()
            elif fresh:
                self._append(fresh, self._lines)

    def batch(self) -> list[dict[str, object]]:
        """The oldest that the region doesn't have."""
        with self._lock:
            return [dict(event) for event in list(self._kept)[:BATCH]]

    def confirm(self, highest: int) -> None:
        """The region has all up to this number. May raise OSError."""
        with self._lock:
            before = len(self._kept)
            while self._kept and int(str(self._kept[0]["id"])) <= highest:
                self._kept.popleft()
            self._next = max(self._next, highest + 1)
            if before and not self._kept:
                self._rewrite()

    def close(self) -> None:
        """Keep what's new."""
        self.flush()

    def _read(self) -> None:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                event = json.loads(line)
                self._next = max(self._next, int(event["id"]) + 1)
            except (ValueError, KeyError, TypeError):
                continue  # a power cut ended the last line
            if "machine" in event:
                self._kept.append(event)
        try:
            self._rewrite()
        except OSError as error:  # e.g. a full disk, and machines want their files all the same
            log.warning("events can't be kept", error=str(error))

    def _append(self, events: list[dict[str, object]], lines: int) -> None:
        self._lines = None
        with self._path.open("ab") as file:
            file.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))
            file.flush()
            os.fsync(file.fileno())
        self._lines = lines + len(events)

    def _rewrite(self) -> None:
        """Keep what's left, and the last number in any case."""
        self._lines = None
        lines = [{"id": self._next - 1}, *self._kept]
        durable.write(self._path, b"".join(json.dumps(one).encode() + b"\n" for one in lines))
        self._lines = len(lines)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
