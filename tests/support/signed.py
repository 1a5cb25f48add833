# SPDX-License-Identifier: Apache-2.0
"""Real OpenPGP keys and really signed documents for tests.

gpg runs in private homes, and the agents that it started there are ended, so nothing of the
user's own keys is read or written and nothing stays behind. Keys are small (ed25519) and made
once for each distinct call of ``new_key`` in a test run; signers keep their home until its end.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

USER_ID = "Slipway test mirror <mirror@example.test>"
SubkeyState = Literal["", "good", "expired", "revoked"]


@dataclass(frozen=True)
class SigningKey:
    """One key pair; ``revocation`` is the armored certificate that ends it."""

    secret: bytes
    public: bytes
    public_armored: bytes
    fingerprint: str
    revocation: bytes = b""
    subkey_fingerprint: str = ""

    @property
    def key_id(self) -> str:
        """The last 16 digits, as gpg's status lines name a key."""
        return self.fingerprint[-16:]


class Home:
    """A private gpg home; a context manager.

    The folder's path is short because gpg-agent binds a UNIX socket in it.
    """

    def __init__(self, *key_material: bytes) -> None:
        self._imports = key_material

    def __enter__(self) -> Home:
        self.path = Path(tempfile.mkdtemp(prefix="sg", dir="/tmp"))
        try:
            for material in self._imports:
                self.run("--import", data=material)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        subprocess.run(
            ["gpgconf", "--homedir", str(self.path), "--kill", "all"],
            capture_output=True,
            timeout=30,
            check=False,
        )
        shutil.rmtree(self.path, ignore_errors=True)

    def run(self, *args: str, data: bytes = b"", at: datetime | None = None) -> bytes:
        """Run gpg and return its standard output; a failure shows gpg's words."""
        command = ["gpg", "--homedir", str(self.path), "--no-options", "--batch", "--yes"]
        command += ["--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        command += ["--ignore-time-conflict", "--ignore-valid-from"]
        if at is not None:
            command += ["--faked-system-time", f"{int(at.timestamp())}!"]
        done = subprocess.run(
            [*command, *args], input=data, capture_output=True, timeout=60, check=False
        )
        if done.returncode:
            raise AssertionError(f"gpg {args}: {done.stderr.decode('utf-8', 'replace')}")
        return done.stdout

    def fingerprints(self, record: str = "pub") -> list[str]:
        """The fingerprints of the primary keys (``pub``) or subkeys (``sub``)."""
        found = []
        wanted = False
        for line in self.run("--list-keys", "--with-colons").decode().splitlines():
            fields = line.split(":")
            if fields[0] == "fpr" and wanted:
                found.append(fields[9])
            wanted = fields[0] == record
        return found

    def export(self, fingerprint: str) -> SigningKey:
        """Everything about one key of this home."""
        subkeys = self.fingerprints("sub")
        certificate = self.path / "openpgp-revocs.d" / f"{fingerprint}.rev"
        revocation = b""
        if certificate.exists():
            # gpg puts a colon before the armor so that nobody imports it by accident.
            text = certificate.read_bytes()
            revocation = text[text.index(b":-----BEGIN") + 1 :]
        return SigningKey(
            secret=self.run("--armor", "--export-secret-keys", fingerprint),
            public=self.run("--export", fingerprint),
            public_armored=self.run("--armor", "--export", fingerprint),
            fingerprint=fingerprint,
            revocation=revocation,
            subkey_fingerprint=subkeys[-1] if subkeys else "",
        )


@functools.cache
def home_of(*keys: SigningKey) -> Home:
    """A home with these secret keys, for signing only; it stays until the tests end."""
    home = Home(*(key.secret for key in keys)).__enter__()
    atexit.register(home.__exit__)
    return home


@functools.cache
def new_key(
    user_id: str = USER_ID,
    *,
    algorithm: str = "ed25519",
    expires: str = "never",
    made_at: datetime | None = None,
    subkey: SubkeyState = "",
) -> SigningKey:
    """Make a key that signs; the same arguments give the same key in one run.

    algorithm: ``ed25519``, ``rsa2048``, ``dsa1024`` ...
    expires: gpg's words, ``never``, ``2d``, ``seconds=60``; counted from made_at.
    subkey: with one, the primary only certifies and the subkey signs. ``expired``
    means it ended one day after ``made_at``, so sign with ``at`` inside that day.
    """
    with Home() as home:
        usage = "cert" if subkey else "sign"
        home.run("--quick-generate-key", user_id, algorithm, usage, expires, at=made_at)
        fingerprint = home.fingerprints()[0]
        if subkey:
            until = "1d" if subkey == "expired" else "never"
            home.run("--quick-add-key", fingerprint, algorithm, "sign", until, at=made_at)
        return home.export(fingerprint)


@functools.cache
def revoked(key: SigningKey) -> SigningKey:
    """The same key with its revocation published; it can still sign."""
    with Home(key.secret, key.revocation) as home:
        return SigningKey(
            secret=key.secret,
            public=home.run("--export", key.fingerprint),
            public_armored=home.run("--armor", "--export", key.fingerprint),
            fingerprint=key.fingerprint,
            subkey_fingerprint=key.subkey_fingerprint,
        )


@functools.cache
def with_revoked_subkey(key: SigningKey) -> SigningKey:
    """The same key after its signing subkey was revoked; it can still sign."""
    answers = b"key 1\nrevkey\ny\n0\n\ny\nsave\n"
    with Home(key.secret) as home:
        home.run("--command-fd", "0", "--edit-key", key.fingerprint, data=answers)
        return SigningKey(
            secret=key.secret,
            public=home.run("--export", key.fingerprint),
            public_armored=home.run("--armor", "--export", key.fingerprint),
            fingerprint=key.fingerprint,
            subkey_fingerprint=key.subkey_fingerprint,
        )


def keyring_of(*keys: SigningKey) -> bytes:
    """One binary keyring that holds the public halves of these keys."""
    return b"".join(key.public for key in keys)


def clearsign(
    keys: SigningKey | Sequence[SigningKey],
    text: str | bytes,
    *,
    digest: str = "SHA512",
    at: datetime | None = None,
    options: Iterable[str] = (),
) -> bytes:
    """A clear-signed document, as a boot source serves it (``.sjson``).

    Several keys sign together, in one signature block (a key roll-over).
    """
    return _sign("--clearsign", keys, text, digest, at, options)


def detach(
    keys: SigningKey | Sequence[SigningKey],
    data: str | bytes,
    *,
    digest: str = "SHA512",
    at: datetime | None = None,
    options: Iterable[str] = ("--armor",),
) -> bytes:
    """A detached signature of data, armored unless options say otherwise."""
    return _sign("--detach-sign", keys, data, digest, at, options)


def opaque(
    keys: SigningKey | Sequence[SigningKey],
    data: str | bytes,
    *,
    digest: str = "SHA512",
    at: datetime | None = None,
    options: Iterable[str] = ("--armor",),
) -> bytes:
    """A signed message whose text is packed inside it, armored by default."""
    return _sign("--sign", keys, data, digest, at, options)


def dearmor(armored: bytes) -> bytes:
    """The binary packets of an armored block."""
    with Home() as home:
        return home.run("--dearmor", data=armored)


def _sign(
    verb: str,
    keys: SigningKey | Sequence[SigningKey],
    data: str | bytes,
    digest: str,
    at: datetime | None,
    options: Iterable[str],
) -> bytes:
    signers = [keys] if isinstance(keys, SigningKey) else list(keys)
    users = [part for key in signers for part in ("--local-user", key.fingerprint)]
    payload = data.encode() if isinstance(data, str) else data
    sign = ("--digest-algo", digest, *users, *options, verb)
    return home_of(*signers).run(*sign, data=payload, at=at)
