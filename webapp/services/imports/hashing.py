# SPDX-License-Identifier: Apache-2.0
"""Hash stored bytes for as long as an import goes on."""

from __future__ import annotations

from collections.abc import Callable

from webapp.fetch import Stopped
from webapp.storage.base import BlobReader, Check, hash_of


def until(is_stopped: Callable[[], bool]) -> Callable[[BlobReader], str]:
    """What hashes a blob, asking before each chunk. It raises Stopped."""

    return lambda reader: hash_of(reader, check_of(is_stopped))


def check_of(is_stopped: Callable[[], bool]) -> Check:
    """What raises Stopped once the import is to leave off."""

    def check() -> None:
        if is_stopped():
            raise Stopped()

    return check
