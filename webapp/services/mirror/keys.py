# SPDX-License-Identifier: Apache-2.0
"""The keys that sign what the region publishes.

A secret half is a file of the data folder that only this user can read; the database
knows the public halves. So processes that serve the stream never hold a secret.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, select, update

from webapp import durable
from webapp.extensions import db, settings
from webapp.models import PublishedStream, Setting, SigningKey, utcnow
from webapp.services.mirror import served
from webapp.services.system import events, statements
from webapp.services.system.wake import wake
from webapp.trust import signing
from webapp.trust.errors import SigningProblem
from webapp.trust.keyrings import Keyring, load_keyring, read_keyring
from webapp.trust.signing import KeyPair, Signed

FOLDER = "signing"  # in the data folder
_REQUEST = "mirror_rotation"
OVERLAP = timedelta(days=14)


@dataclass(frozen=True)
class Signer:
    """Who signs at present. public: every key that readers should know, armored."""

    fingerprint: str
    public: bytes

    def sign(self, texts: Sequence[bytes]) -> list[Signed]:
        """Sign each text; slow. Raises SigningProblem, KeyringProblem or GpgProblem."""
        known = settings()
        if known.sign_command:
            return signing.sign_with_command(texts, known.sign_command, _keyring())
        row = db.session.get_one(SigningKey, self.fingerprint)
        ring = load_keyring(row.public)
        secret = _read_secret(self.fingerprint)
        return signing.sign_with_key(texts, secret, ring, known.sign_passphrase)


def signer() -> Signer | None:
    """Who signs now; None before the first start. Raises KeyringProblem for a command's key."""
    if settings().sign_command:
        ring = _keyring()
        public = Path(settings().sign_key).read_bytes()
        return Signer(ring.fingerprints[0], public)
    rows = all_keys()
    now = utcnow()
    active = [row for row in rows if row.signs_from <= now] or rows[:1]
    if not active:
        return None
    return Signer(active[-1].fingerprint, b"".join(row.public for row in known_to_readers()))


def all_keys() -> Sequence[SigningKey]:
    """The region's own keys, in the order in which they sign."""
    order = (SigningKey.signs_from, SigningKey.fingerprint)
    return db.session.scalars(select(SigningKey).order_by(*order)).all()


def known_to_readers() -> Sequence[SigningKey]:
    """Keys that are given out: those that sign or will, and replaced ones for the overlap."""
    rows, now = all_keys(), utcnow()
    ends = [following.signs_from + OVERLAP for following in rows[1:]]
    return [row for row, end in zip(rows[:-1], ends, strict=True) if end > now] + list(rows[-1:])


def ensure() -> Signer:
    """Who signs now, after a key was made where there is none. Commits."""
    found = signer()
    return found if found is not None else _first()


def _first() -> Signer:
    made = _new_pair()
    served.row()
    # Takes the row's lock, so that of two workers only one adds a key.
    statements.execute(
        update(PublishedStream)
        .where(PublishedStream.id == 1)
        .values(revision=PublishedStream.revision)
    )
    if not all_keys():
        db.session.add(SigningKey(fingerprint=made.fingerprint, public=made.public))
        events.record("mirror.key-created", actor="worker", subject=made.fingerprint)
    db.session.commit()
    found = signer()
    if found is None:
        raise LookupError("no signing key after one was added")
    return found


def request_rotation(actor: str, *, now: bool = False) -> None:
    """Have the worker make the next key, or let the one that waits sign at once.

    Raises SigningProblem when a command signs, or the next key waits already.
    """
    if settings().sign_command:
        raise SigningProblem(
            "The keys of SLIPWAY_SIGN_COMMAND aren't Slipway's.",
            code="conflict",
            next_step="Change the key where the command keeps it, and SLIPWAY_SIGN_KEY.",
        )
    waiting = _waiting()
    if waiting is not None and not now:
        raise SigningProblem(
            "The next key is published already.",
            code="conflict",
            where=waiting.fingerprint,
            got=f"it signs from {waiting.signs_from:%Y-%m-%d %H:%M} UTC",
            next_step="Wait until then, or let it sign now: slipway mirror key --rotate --now",
        )
    db.session.merge(Setting(key=_REQUEST, value={"actor": actor, "now": now}))
    db.session.commit()
    wake()


def rotate_if_asked() -> None:
    """Do what was requested. Commits. Raises SigningProblem; then the request stays."""
    asked = db.session.get(Setting, _REQUEST)
    if asked is None:
        return
    actor, now = str(asked.value["actor"]), bool(asked.value["now"])
    made = _new_pair() if _waiting() is None else None
    # Of two workers only the one that takes the request away carries it out.
    if not statements.count(delete(Setting).where(Setting.key == _REQUEST)):
        db.session.rollback()
        return
    starts = utcnow() if now or not all_keys() else utcnow() + OVERLAP
    waiting = _waiting()
    if waiting is None and made is not None:
        waiting = SigningKey(fingerprint=made.fingerprint, public=made.public)
        db.session.add(waiting)
    if waiting is not None:
        waiting.signs_from = starts
        events.record(
            "mirror.key-rotated",
            actor=actor,
            subject=waiting.fingerprint,
            signs_from=starts.isoformat(timespec="seconds"),
        )
    db.session.commit()


def _waiting() -> SigningKey | None:
    """The next key, if there is one that doesn't sign yet."""
    rows = all_keys()
    return rows[-1] if rows and rows[-1].signs_from > utcnow() else None


def _keyring() -> Keyring:
    return read_keyring(settings().sign_key)


def _new_pair() -> KeyPair:
    made = signing.new_key(f"Slipway on {socket.gethostname()[:64]}", settings().sign_passphrase)
    keep_secret(settings().data_dir, made.fingerprint, made.secret)
    return made


# -- the secret halves


def secrets() -> dict[str, bytes]:
    """Fingerprint -> secret half of every key whose file is here, for a backup."""
    names = [row.fingerprint for row in all_keys()]
    return {name: path_of(name).read_bytes() for name in names if path_of(name).is_file()}


def path_of(fingerprint: str) -> Path:
    """Where the secret half of a key is."""
    return _path_in(settings().data_dir, fingerprint)


def _path_in(data_dir: Path, fingerprint: str) -> Path:
    return data_dir / FOLDER / f"{fingerprint}.asc"


def _read_secret(fingerprint: str) -> bytes:
    try:
        return path_of(fingerprint).read_bytes()
    except OSError as error:
        raise SigningProblem(
            "The secret half of the signing key can't be read.",
            where=str(path_of(fingerprint)),
            got=error.strerror or type(error).__name__,
            next_step="Restore it from a backup, or create another key: "
            "slipway mirror key --rotate --now",
        ) from error


def keep_secret(data_dir: Path, fingerprint: str, secret: bytes) -> None:
    """Write the file, all of it or none. Raises SigningProblem."""
    path = _path_in(data_dir, fingerprint)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        durable.write(path, secret, mode=0o600)
    except OSError as error:
        raise SigningProblem(
            "The signing key can't be stored.",
            where=str(path.parent),
            got=error.strerror or type(error).__name__,
            next_step="Free some space, or check who owns the data folder.",
        ) from error
