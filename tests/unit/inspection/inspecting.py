# SPDX-License-Identifier: Apache-2.0
"""Files to inspect, and what a report found in them."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterator

from webapp.inspection import Declared, Report, inspect


def pieces(data: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def whole(data: bytes, filetype: str = "", **said: str) -> Report:
    return inspect(pieces(data), Declared(filetype, **said))


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


def codes(report: Report, severity: str = "error") -> list[str]:
    return [reason.code for reason in report.reasons if reason.severity == severity]


def with_bytes(data: bytes, place: int, other: bytes) -> bytes:
    return data[:place] + other + data[place + len(other) :]
