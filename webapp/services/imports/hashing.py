# SPDX-License-Identifier: Apache-2.0
"""Hash stored bytes for as long as an import goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from webapp.fetch import Stopped
from webapp.storage.base import BlobReader


def until(is_stopped: Callable[[], bool]) -> Callable[[BlobReader], str]:
    """What hashes a blob, asking before each chunk. It raises Stopped."""

    def hash_of(reader: BlobReader) -> str:
        found = hashlib.sha256()
        for piece in reader.chunks():
            if is_stopped():
                raise Stopped()
            found.update(piece)
        return found.hexdigest()

    return hash_of
