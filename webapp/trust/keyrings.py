# SPDX-License-Identifier: Apache-2.0
"""Keyrings: the public keys that may sign one boot source."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from webapp.trust import gpg, packets, sniff
from webapp.trust.errors import KeyringProblem
from webapp.trust.files import read_bounded, shown

MAX_BYTES = 1 << 20
_SHORTEST_KEY = {"rsa": 2048, "dsa": 2048}  # bits; NIST SP 800-131A
_NAMES = {"1": "rsa", "3": "rsa", "17": "dsa"}  # RFC 4880 9.1; the others have a curve's name
TROUBLES = {
    "key-revoked": "it was revoked by its owner",
    "key-expired": "it has expired",
    "key-in-future": "it was created in the future, according to this server's clock",
    "key-invalid": "its own signatures are invalid",
    "key-weak": "it is too short to be safe",
    "key-cannot-sign": "it can't sign",
}
_EXPECTED = "one or more OpenPGP public keys, armored or binary"

_BEGIN = re.compile(rb"^[ \t]*-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t\r]*$\n?", re.MULTILINE)
_END = re.compile(rb"^[ \t]*-----END PGP PUBLIC KEY BLOCK-----", re.MULTILINE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_FIRST_OCTETS = (b"\x98", b"\x99", b"\xc6")  # of a public key packet, as all programs write it
_SECRET_OCTETS = (b"\x94", b"\x95", b"\xc5")
_PUBLIC_TAGS = {
    packets.PUBLIC_KEY,
    packets.PUBLIC_SUBKEY,
    packets.USER_ID,
    packets.USER_ATTRIBUTE,
    packets.SIGNATURE,
    packets.TRUST,
}
_SECRET_TAGS = {packets.SECRET_KEY, packets.SECRET_SUBKEY}


@dataclass(frozen=True)
class KeyInfo:
    """One public key as gpg sees it.

    ``is_valid`` is False when its own signatures are invalid, ``can_sign`` is
    about this very key, not about its subkeys; ``is_expired`` is as of loading.
    """

    fingerprint: str
    user_ids: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    is_revoked: bool
    is_expired: bool
    algorithm: str
    is_valid: bool = True
    can_sign: bool = True
    subkeys: tuple[KeyInfo, ...] = ()

    def trouble(self, now: datetime) -> str:
        """The code of why this key itself does not count at that time, or ""."""
        if self.is_revoked:
            return "key-revoked"
        if self.is_expired or (self.expires_at is not None and self.expires_at <= now):
            return "key-expired"
        if self.created_at > now:
            return "key-in-future"
        if not self.is_valid:
            return "key-invalid"
        for name, shortest in _SHORTEST_KEY.items():
            if self.algorithm.startswith(name) and int(self.algorithm[3:]) < shortest:
                return "key-weak"
        return ""

    def signing_trouble(self, now: datetime) -> str:
        """The code of why neither this key nor a subkey of it can sign at that time, or ""."""
        if own := self.trouble(now):
            return own
        signers = [key for key in (self, *self.subkeys) if key.can_sign]
        if not signers:
            return "key-cannot-sign"
        troubles = [key.trouble(now) for key in signers]
        return "" if "" in troubles else troubles[-1]


@dataclass(frozen=True)
class Keyring:
    """Public keys: as the binary file that gpgv reads, and as facts to show and to check."""

    binary: bytes
    keys: tuple[KeyInfo, ...]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The primary keys' fingerprints, in the keyring's order."""
        return tuple(key.fingerprint for key in self.keys)

    def find(self, fingerprint: str) -> tuple[KeyInfo, KeyInfo] | None:
        """The primary key and the key or subkey itself that bears a fingerprint."""
        for primary in self.keys:
            for key in (primary, *primary.subkeys):
                if key.fingerprint == fingerprint:
                    return primary, key
        return None

    def holds(self, key_id: str) -> bool:
        """Whether any key or subkey has this fingerprint or ends in this key id."""
        keys = (key for primary in self.keys for key in (primary, *primary.subkeys))
        return any(key.fingerprint.endswith(key_id) for key in keys)


def read_keyring(path: str) -> Keyring:
    """Load the keyring in a file; raises KeyringProblem with the path in it."""
    data = read_bounded(path, max_bytes=2 * MAX_BYTES, what="keyring", problem=KeyringProblem)
    try:
        return load_keyring(data)
    except KeyringProblem as problem:
        problem.where = shown(path)
        raise


def load_keyring(data: bytes, *, now: datetime | None = None) -> Keyring:
    """Load armored or binary public keys of which at least one can sign at ``now``.

    Text around armored blocks is ignored, as users often paste it too; base64 text of
    either is a key as well. Raises
    KeyringProblem: keyring-too-large, keyring-empty, keyring-private,
    keyring-not-a-key, keyring-damaged, keyring-not-understood, and for the reason why no key counts
    key-expired, key-revoked, key-in-future, key-weak, key-invalid or key-cannot-sign;
    GpgProblem when gpg itself fails.
    """
    now = now or datetime.now(UTC)
    binary = _public_packets(decoded(data))
    keys = _inspect(binary)
    troubles = [key.signing_trouble(now) for key in keys]
    if not keys:
        raise KeyringProblem(
            "gpg on this server doesn't support any key in the keyring.",
            code="keyring-not-understood",
            expected="OpenPGP keys of version 4",
            got="keys of another version",
            next_step="Ask the publisher for a key of version 4, or install a newer gpg.",
        )
    if "" not in troubles:
        raise _unusable(keys[-1], troubles[-1])
    return Keyring(binary=binary, keys=keys)


def decoded(data: bytes) -> bytes:
    """The key itself where ``data`` is one as base64 text, as MAAS's API shows it; else ``data``.

    The text may be broken into lines, and is at most twice as long as a keyring.
    """
    text = b"".join(data.split()) if len(data) <= 2 * MAX_BYTES else b""
    if len(text) < 16 or not _BASE64.fullmatch(text):
        return data
    try:
        key = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=None, validate=True)
    except ValueError:
        return data
    is_key = key.startswith((*_FIRST_OCTETS, *_SECRET_OCTETS)) or b"-----BEGIN PGP P" in key
    return key if is_key else data


def _public_packets(data: bytes) -> bytes:
    """The keys as binary packets, of which each is of a kind that belongs in a keyring."""
    if len(data) > MAX_BYTES:
        raise KeyringProblem(
            "The keyring is too large.",
            code="keyring-too-large",
            expected=f"at most {MAX_BYTES} bytes",
            got=f"{len(data)} bytes",
            next_step="Export only the keys that sign this boot source: gpg --export FINGERPRINT",
        )
    if not data.strip():
        raise KeyringProblem(
            "The keyring is empty.",
            code="keyring-empty",
            expected=_EXPECTED,
            got=sniff.EMPTY,
            next_step="Paste the complete key, with its BEGIN and END lines, or choose its file.",
        )
    kind = sniff.describe(data)
    if kind == sniff.PRIVATE_KEY or b"PRIVATE KEY BLOCK-----" in data:
        raise _private()
    is_armored = _BEGIN.search(data) is not None
    try:
        binary = _dearmor_all(data) if is_armored else data
        tags = packets.tags(binary)
    except ValueError as error:
        if is_armored or data.startswith(_FIRST_OCTETS):
            raise _damaged(str(error)) from None
        raise _not_a_key(kind) from None
    if not _SECRET_TAGS.isdisjoint(tags):
        raise _private()
    if tags[:1] != [packets.PUBLIC_KEY] or not _PUBLIC_TAGS.issuperset(tags):
        raise _not_a_key("OpenPGP data that isn't a public key")
    return binary


def _dearmor_all(data: bytes) -> bytes:
    """Join the armored blocks in data. Raises ValueError."""
    binary = []
    at = 0
    while begin := _BEGIN.search(data, at):
        end = _END.search(data, begin.end())
        if end is None:
            raise ValueError("the END line is missing")
        # Pasting often indents every line; white space means nothing inside a block.
        lines = [line.strip() for line in data[begin.end() : end.start()].split(b"\n")]
        binary.append(packets.dearmor(b"\n".join(lines)))
        at = end.end()
    return b"".join(binary)


def _inspect(binary: bytes) -> tuple[KeyInfo, ...]:
    """Ask gpg what these keys are; it checks each key's own signatures on the way."""
    with gpg.private_home() as home:
        outcome = gpg.run("gpg", "--with-colons", "--show-keys", home=home, stdin=binary)
    keys: list[KeyInfo] = []
    for records in _groups(outcome.output):
        info = _key(records)
        if records[0][0] == "pub":
            keys.append(info)
        elif keys:
            keys[-1] = replace(keys[-1], subkeys=(*keys[-1].subkeys, info))
    return tuple(keys)


def _groups(colons: bytes) -> list[list[list[str]]]:
    """Cut gpg's colon records (its doc/DETAILS) at each key and subkey."""
    groups: list[list[list[str]]] = []
    for line in colons.decode("utf-8", "replace").split("\n"):
        fields = line.split(":")
        if fields[0] in ("pub", "sub"):
            groups.append([fields])
        elif fields[0] in ("fpr", "uid") and groups:
            groups[-1].append(fields)
    return groups


def _key(records: list[list[str]]) -> KeyInfo:
    fields = records[0]
    validity, length, algorithm, created, expires = (fields[n] for n in (1, 2, 3, 5, 6))
    return KeyInfo(
        fingerprint=next((record[9] for record in records if record[0] == "fpr"), ""),
        user_ids=tuple(_readable(record[9]) for record in records if record[0] == "uid"),
        created_at=datetime.fromtimestamp(int(created), UTC),
        expires_at=datetime.fromtimestamp(int(expires), UTC) if expires else None,
        is_revoked=validity == "r",
        is_expired=validity == "e",
        algorithm=_NAMES[algorithm] + length if algorithm in _NAMES else fields[16],
        is_valid=validity not in ("i", "d", "n"),
        can_sign="s" in fields[11],
    )


def _readable(user_id: str) -> str:
    """A user id without gpg's escape for a colon, and without what could play with a screen."""
    text = user_id.replace("\\x3a", ":")[:200]
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _private() -> KeyringProblem:
    return KeyringProblem(
        "This is a private key. It wasn't saved. A keyring holds public keys only.",
        code="keyring-private",
        expected=_EXPECTED,
        got=sniff.PRIVATE_KEY,
        next_step=(
            "Export the public half with: gpg --armor --export FINGERPRINT. A private key that "
            "was pasted somewhere should be replaced."
        ),
    )


def _not_a_key(kind: str) -> KeyringProblem:
    step = "Paste or choose the publisher's public key, as gpg --export writes it."
    if kind == sniff.KEYBOX:
        step = "Export its keys: gpg --no-default-keyring --keyring FILE --export FINGERPRINT"
    if kind == sniff.FINGERPRINT:
        step = "Get the key itself and compare it with this fingerprint."
    return KeyringProblem(
        "The keyring doesn't contain an OpenPGP public key.",
        code="keyring-not-a-key",
        expected=_EXPECTED,
        got=kind,
        next_step=step,
    )


def _damaged(reason: str) -> KeyringProblem:
    return KeyringProblem(
        "The public key is damaged.",
        code="keyring-damaged",
        expected=_EXPECTED,
        got=reason,
        next_step="Copy the complete key again, with its BEGIN and END lines, or upload its file.",
    )


def _unusable(key: KeyInfo, code: str) -> KeyringProblem:
    return KeyringProblem(
        f"No key in the keyring is usable: {TROUBLES[code]}.",
        code=code,
        expected="a key that can sign now",
        got=describe_key(key),
        next_step=step_for(code),
    )


def step_for(code: str) -> str:
    """What to do about a key's trouble."""
    if code == "key-in-future":
        return "Check this server's clock. If it's right, contact the publisher."
    return "Get the publisher's current key from a place you trust, and use that."


def describe_key(key: KeyInfo) -> str:
    """One key in words: fingerprint, algorithm, until when it counts, and who signs for it."""
    words = [key.fingerprint, key.algorithm]
    if key.expires_at is not None:
        words.append(f"expires {key.expires_at:%Y-%m-%d}")
    if key.is_revoked:
        words.append("revoked")
    signers = [] if key.can_sign else [subkey for subkey in key.subkeys if subkey.can_sign]
    words += [f"signing subkey {describe_key(subkey)}" for subkey in signers]
    return ", ".join(words)
