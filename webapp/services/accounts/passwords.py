# SPDX-License-Identifier: Apache-2.0
"""Passwords: which ones are good enough, how they are kept, how a guess is checked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.errors import InvalidFields

SHORTEST = 8
LONGEST = 256

# OWASP's low-memory profile. The library's default would take 64 MiB and four
# threads for every sign-in; the semaphore keeps a burst of them flat as well.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_AT_ONCE = threading.BoundedSemaphore(4)

_WORDS_FILE = Path(__file__).with_name("common_passwords.txt")
_LOOKALIKES = str.maketrans("013457@$!|", "oieastasii")
_YEAR_AT_END = re.compile(r"(19|20)\d\d[\W_]{0,3}$")
_DATE = re.compile(r"(19|20)\d\d[-./]?\d\d[-./]?\d\d|\d\d[-./]?\d\d[-./]?(19|20)\d\d")
_RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "!@#$%^&*()_+",
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
    if is_common(password):
        return "This password is too common."
    return ""


def is_common(password: str) -> bool:
    """Whether a password is well known: a listed word, a keyboard run, a repetition.

    A listed word stays well known with up to four digits or signs around it and
    with letters swapped for the usual signs, as in ``P@ssw0rd2024!``.
    """
    lowered = password.casefold()
    words = _words()
    if lowered in words or _is_repetition(lowered) or _is_run(lowered):
        return True
    if _DATE.fullmatch(lowered):
        return True
    return any(
        core in words or core.translate(_LOOKALIKES) in words or _is_run(core)
        for core in _cores(lowered)
    )


def _cores(text: str) -> Iterator[str]:
    """The text without up to four digits or signs at either end, and without a year."""
    yield _YEAR_AT_END.sub("", text)
    for head in range(_signs(text) + 1):
        for tail in range(_signs(text[::-1]) + 1):
            yield text[head : len(text) - tail]


def _signs(text: str) -> int:
    """How many characters at the start are no letters, counted up to four."""
    return next((n for n, character in enumerate(text[:4]) if character.isalpha()), len(text[:4]))


def hash_password(password: str) -> str:
    """Make the text that is kept instead of a password (Argon2id with its parameters)."""
    with _AT_ONCE:
        return _HASHER.hash(_bytes(password))


def verify(password: str, kept: str | None) -> bool:
    """Check a guess against the kept hash; None (nobody has that name) costs the same."""
    is_possible = len(password) <= LONGEST
    try:
        with _AT_ONCE:
            _HASHER.verify(kept or _nobody(), _bytes(password) if is_possible else b"")
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None and is_possible


def needs_rehash(kept: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=1)
def _nobody() -> str:
    return _HASHER.hash("nobody has this password")


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    lines = _WORDS_FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _is_repetition(text: str) -> bool:
    """The whole text is one short piece over and over, such as ``abcabcabc``."""
    for length in range(1, min(4, len(text) // 2) + 1):
        piece = text[:length]
        if (piece * (len(text) // length + 1))[: len(text)] == text:
            return True
    return False


def _is_run(text: str) -> bool:
    """The whole text is made of neighbours on the keyboard or in the alphabet.

    Up to three runs of at least three keys each, such as ``qwerty123456``.
    """
    pieces = 0
    while text and pieces < 3:
        length = max((_run_length(text, run) for run in _directions()), default=0)
        if length < 3:
            return False
        text = text[length:]
        pieces += 1
    return not text and pieces > 0


@lru_cache(maxsize=1)
def _directions() -> tuple[str, ...]:
    return _RUNS + tuple(run[::-1] for run in _RUNS)


def _run_length(text: str, run: str) -> int:
    """How many first characters of the text stand side by side in the run."""
    best = 0
    start = run.find(text[0])
    while start >= 0:
        length = 0
        while (
            length < len(text) and start + length < len(run) and text[length] == run[start + length]
        ):
            length += 1
        best = max(best, length)
        start = run.find(text[0], start + 1)
    return best
