# SPDX-License-Identifier: Apache-2.0
"""A SHA-256 whose state can be kept, so that another process continues it.

Parts of an unfinished multipart upload can't be read back, so they can't be hashed again.
hashlib can't save a state. The libcrypto that hashlib itself runs on can: its SHA256_CTX
is 112 bytes, the same in OpenSSL 1.1 and 3. Without libcrypto ``state`` is empty, and a
partial that was left starts over.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import platform
from functools import cache

_CONTEXT = 112  # bytes of a SHA256_CTX
_KNOWN = hashlib.sha256(b"a state that is continued").hexdigest()


class KeptHash:
    """sha256 of bytes, from the start or from an earlier ``state``."""

    def __init__(self, state: bytes = b"") -> None:
        self._library = _library()
        if self._library is None:
            self._hash = hashlib.sha256()
            return
        self._context = ctypes.create_string_buffer(_CONTEXT)
        prefix = _prefix()
        if state.startswith(prefix) and len(state) == len(prefix) + _CONTEXT:
            self._context.raw = state.removeprefix(prefix)
        else:
            self._library.SHA256_Init(self._context)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Hash more bytes, without a copy where the buffer allows it."""
        if self._library is None:
            self._hash.update(data)
            return
        view = memoryview(data).cast("B")
        if not view:
            return
        if view.readonly:
            self._library.SHA256_Update(self._context, view.tobytes(), len(view))
        else:
            pointer = (ctypes.c_char * len(view)).from_buffer(view)
            self._library.SHA256_Update(self._context, pointer, len(view))

    def state(self) -> bytes:
        """What ``KeptHash(state)`` continues from, on a machine of the same kind; b"": nothing."""
        return b"" if self._library is None else _prefix() + self._context.raw

    def hexdigest(self) -> str:
        """The sha256 so far; more bytes may follow."""
        if self._library is None:
            return self._hash.hexdigest()
        copy = ctypes.create_string_buffer(self._context.raw, _CONTEXT)
        found = ctypes.create_string_buffer(32)
        self._library.SHA256_Final(found, copy)
        return found.raw.hex()


def can_resume(state: bytes) -> bool:
    """Whether a kept state can be continued here."""
    return _library() is not None and state.startswith(_prefix()) and len(state) > _CONTEXT


def _prefix() -> bytes:
    return f"libcrypto {platform.machine()} ".encode()


@cache
def _library() -> ctypes.CDLL | None:
    """libcrypto, if it's there and continues a state rightly."""
    for name in ("libcrypto.so.3", "libcrypto.so.1.1", ctypes.util.find_library("crypto")):
        if not name:
            continue
        try:
            library = ctypes.CDLL(name)
            library.SHA256_Init.argtypes = [ctypes.c_void_p]
            library.SHA256_Update.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
            library.SHA256_Final.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        except (OSError, AttributeError):
            continue
        if _continues(library):
            return library
    return None


def _continues(library: ctypes.CDLL) -> bool:
    first = ctypes.create_string_buffer(_CONTEXT)
    library.SHA256_Init(first)
    library.SHA256_Update(first, b"a state ", 8)
    second = ctypes.create_string_buffer(first.raw, _CONTEXT)
    library.SHA256_Update(second, b"that is continued", 17)
    found = ctypes.create_string_buffer(32)
    library.SHA256_Final(found, second)
    return found.raw.hex() == _KNOWN
