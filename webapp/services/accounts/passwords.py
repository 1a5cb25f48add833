# SPDX-License-Identifier: Apache-2.0
"""Passwords: which ones are good enough, how they are kept, how a guess is checked."""

from __future__ import annotations

import re
import threading
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.errors import InvalidFields

SHORTEST = 8
LONGEST = 256

# OWASP's low-memory profile. The library's default would take 64 MiB and four
# threads for every sign-in; the semaphore keeps a burst of them flat as well.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_AT_ONCE = threading.BoundedSemaphore(4)

MIN_GUESSES = 10**8  # eight random characters; sign-in lets a few hundred a day through
_ESTIMATING = threading.Lock()
_YEAR = re.compile(r"20[2-9]\d")
_SIGNS = re.compile(r"[\W_]")
_LAB_WORDS = (
    *("slipway", "maas", "metal", "canonical", "ubuntu", "kubernetes", "vmware", "esxi"),
    *("administrator", "boot", "company", "datacenter", "image", "images", "lab", "netboot"),
    *("provisioning", "rack", "region", "server"),
)


def check_choice(password: str, username: str) -> None:
    """Refuse a password that is too short, too long, well known or the user's name.

    Any characters count, nothing is trimmed or changed (ASVS 5.0, 6.2.1 to 6.2.11).
    Raises InvalidFields for ``password``; its text never repeats what was typed.
    """
    reason = _why_not(password, username.casefold())
    if reason:
        raise InvalidFields({"password": [reason]})


def _why_not(password: str, name: str) -> str:
    if len(password) < SHORTEST:
        return f"Use at least {SHORTEST} characters; this one has {len(password)}."
    if len(password) > LONGEST:
        return f"Use at most {LONGEST} characters; this one has {len(password)}."
    lowered = password.casefold()
    if name and name in lowered and len(lowered) - len(name) < SHORTEST:
        return "Don't base the password on the user name."
    if is_common(password, name):
        return "This password is too common."
    return ""


def is_common(password: str, name: str = "") -> bool:
    """Whether a password falls to fewer than MIN_GUESSES, as zxcvbn counts them.

    It knows the 30,000 most common passwords, English words, names, dates, keyboard
    runs, repetitions and letters swapped for signs. name: the user's.
    """
    # 72 characters are enough, and its time grows with the cube of the length.
    text = _YEAR.sub("2015", password[:72])  # the latest years that it takes for years end in 2019
    bare = _SIGNS.sub("", text)
    signs = len(text) - len(bare)
    # It counts a separator as any character, but few separators are in use.
    return _guesses(text, name) < MIN_GUESSES or (
        bool(signs and bare) and _guesses(bare, name) * 2 * 10**signs < MIN_GUESSES
    )


def _guesses(text: str, name: str) -> int:
    # Imported late: only a new password needs its lists, which take 20 MB.
    from zxcvbn import zxcvbn

    with _ESTIMATING:  # it keeps the words of a caller in a global
        return int(zxcvbn(text, [name, *_LAB_WORDS])["guesses"])


def hash_password(password: str) -> str:
    """Make the text that is kept instead of a password (Argon2id with its parameters)."""
    with _AT_ONCE:
        return _HASHER.hash(_bytes(password))


def verify(password: str, kept: str | None) -> bool:
    """Check a guess against the kept hash; None (an unknown name) costs the same."""
    is_possible = len(password) <= LONGEST
    try:
        with _AT_ONCE:
            _HASHER.verify(kept or _unknown_user_hash(), _bytes(password) if is_possible else b"")
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None and is_possible


def needs_rehash(kept: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=1)
def _unknown_user_hash() -> str:
    return _HASHER.hash("nobody has this password")
