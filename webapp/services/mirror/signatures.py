# SPDX-License-Identifier: Apache-2.0
"""Signatures of files for iPXE, as they are given out; ``codesigning`` makes them."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.extensions import db
from webapp.models import Blob, CodeCertificate, CodeSignature, Setting
from webapp.services.mirror import keys

log = structlog.get_logger(__name__)

PROBLEM = "imgverify_problem"
MAX_KNOWN = 1000  # signatures in memory, some 3 kB each
_BEGIN = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Certificate:
    """The one that signs. chain: it and those above it, in PEM. Both are empty if there's none."""

    fingerprint: str = ""
    chain: bytes = b""

    @property
    def root(self) -> bytes:
        """The last of the chain, which iPXE has to trust."""
        return self.chain[self.chain.rfind(_BEGIN) :] if self.chain else b""


def certificate() -> Certificate:
    """The certificate that signs now."""
    row = db.session.scalar(
        select(CodeCertificate).order_by(CodeCertificate.created_at.desc()).limit(1)
    )
    return Certificate() if row is None else Certificate(row.fingerprint, row.chain)


def problem() -> dict[str, str]:
    """Why the last attempt to sign failed; empty if it didn't."""
    return dict(db.session.scalar(select(Setting.value).where(Setting.key == PROBLEM)) or {})


def secrets() -> dict[str, bytes]:
    """Fingerprint -> secret half of Slipway's own key, for a backup."""
    rows = db.session.scalars(select(CodeCertificate).where(CodeCertificate.is_own))
    paths = {row.fingerprint: keys.path_of(row.fingerprint) for row in rows}
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


@dataclass(frozen=True)
class Signature:
    """A detached signature, in DER. serial: of the publication that it was read for."""

    content: bytes
    sha256: str
    serial: int


class KnownSignatures(ABC):
    """Gives out signatures; what was given out before also when no one answers.

    A signature is replaced together with the publication's serial, so it's read once for each.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, Signature] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, sha256: str, serial: int) -> Signature | None:
        """The signature of the file with this digest; None if there's none yet."""
        known = self._known.get(sha256)
        if known is not None and known.serial == serial:
            return known
        content = self._read(sha256)
        if content is None:
            return known
        found = Signature(content, hashlib.sha256(content).hexdigest(), serial)
        with self._lock:
            self._known[sha256] = found
            self._known.move_to_end(sha256)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found

    @abstractmethod
    def _read(self, sha256: str) -> bytes | None:
        """The signature in DER; None if there's none, or no one answers."""


class CodeSignatures(KnownSignatures):
    """Those that the worker of this region made."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def _read(self, sha256: str) -> bytes | None:
        query = (
            select(CodeSignature.content)
            .join(Blob, Blob.id == CodeSignature.blob_id)
            .where(Blob.sha256 == sha256)
        )
        try:
            with self._engine.connect() as connection:
                content: bytes | None = connection.scalar(query)
                return content
        except SQLAlchemyError as error:
            log.warning("a signature could not be read", error=str(error))
            return None
