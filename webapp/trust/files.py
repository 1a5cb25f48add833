# SPDX-License-Identifier: Apache-2.0
"""Read a whole file that a person named, with a limit and without ever waiting on it."""

from __future__ import annotations

import os
import stat

from webapp.errors import Problem


def read_bounded(path: str, *, max_bytes: int, what: str, problem: type[Problem]) -> bytes:
    """Return the bytes of a regular file of at most max_bytes.

    what: the words for it in an error. Raises ``problem`` with a code made of
    these words, for ``keyring``: keyring-missing, keyring-unreadable,
    keyring-not-regular, keyring-too-large.
    """
    code = what.replace(" ", "-")
    where = shown(path)
    try:
        # Without O_NONBLOCK the opening of a FIFO would wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise problem(
            f"The {what} doesn't exist.",
            code=f"{code}-missing",
            where=where,
            next_step="Check the path, or put the file there.",
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(what, where, error, problem) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise problem(
                f"The {what} isn't a regular file.",
                code=f"{code}-not-regular",
                where=where,
                expected="a regular file",
                got="a folder, device, pipe or socket",
                next_step="Save it as a file first, and use that file.",
            )
        data = _read_at_most(descriptor, max_bytes + 1)
    except OSError as error:
        raise _unreadable(what, where, error, problem) from None
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise problem(
            f"The {what} is too large.",
            code=f"{code}-too-large",
            where=where,
            expected=f"at most {max_bytes} bytes",
            got="more",
            next_step="Check that this is the right file.",
        )
    return data


def shown(path: str) -> str:
    """A path as text that can always be printed."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _read_at_most(descriptor: int, limit: int) -> bytes:
    pieces = []
    while limit > 0 and (piece := os.read(descriptor, min(limit, 1 << 20))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def _unreadable(
    what: str, where: str, error: OSError | ValueError, problem: type[Problem]
) -> Problem:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return problem(
        f"The {what} can't be read.",
        code=f"{what.replace(' ', '-')}-unreadable",
        where=where,
        expected="a readable file",
        got=reason or type(error).__name__,
        next_step="Check the path, and that the user Slipway runs as can read it.",
    )
