# SPDX-License-Identifier: Apache-2.0
"""Where things lie in the bucket, below the prefix: no other module builds these keys.

    SLIPWAY-STORE            marker: this prefix is ours; without it we touch nothing
    sha256/<ab>/<digest>     a whole blob, verified before it got this key
    partial/<row>/<random>   bytes of a blob or an upload that isn't whole yet
    partial/probe-<random>   written and removed by check()

The parts of a blob that isn't whole are in a multipart upload to the blob's own key, which
nobody can read. <row> is the number of a row in the region's database, 16 hex digits.
"""

from __future__ import annotations

import re
import secrets

from webapp.storage.base import checked_digest

MARKER = "SLIPWAY-STORE"
BLOBS = "sha256/"
PARTIALS = "partial/"

_BLOB = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_PARTIAL = re.compile(r"partial/([0-9a-f]{16})/[0-9a-f]{16}")


def blob(sha256: str) -> str:
    """The key of a whole blob."""
    return f"{BLOBS}{checked_digest(sha256)[:2]}/{sha256}"


def digest_of(key: str) -> str | None:
    """The digest of a blob's key, None for a foreign one."""
    match = _BLOB.fullmatch(key)
    return match[2] if match else None


def folder_of(row: int) -> str:
    """Where the bytes of an unfinished row lie."""
    return f"{PARTIALS}{row:016x}/"


def new_partial(row: int) -> str:
    """A key that was never used: what was sent late to an older one does no harm."""
    return f"{folder_of(row)}{secrets.token_hex(8)}"


def row_of(key: str) -> int | None:
    """The row of a partial's key, None for a foreign one."""
    match = _PARTIAL.fullmatch(key)
    return int(match[1], 16) if match else None


def is_probe(key: str) -> bool:
    """Whether a key is that of a test."""
    return key.startswith(f"{PARTIALS}probe-")


def new_probe() -> str:
    """A key for a test whether the bucket can be written."""
    return f"{PARTIALS}probe-{secrets.token_hex(8)}"
