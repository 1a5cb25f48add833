# SPDX-License-Identifier: Apache-2.0
"""``FILE.sig`` for iPXE: the worker signs what is published, others only give it out.

The secret half is a file of the data folder, as that of the stream's key is.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import Problem
from webapp.extensions import db, settings
from webapp.models import (
    Blob,
    BlobState,
    CodeCertificate,
    CodeSignature,
    ResourceFile,
    ResourceSet,
    Setting,
    utcnow,
)
from webapp.services.images import publishing
from webapp.services.mirror import keys, served, signatures
from webapp.services.system import events, statements
from webapp.services.system.wake import wake
from webapp.trust import codesigning
from webapp.trust.codesigning import Chain, Signer
from webapp.trust.errors import SigningProblem
from webapp.trust.files import read_bounded

log = structlog.get_logger(__name__)

_BATCH = 100
_REQUEST = "imgverify_rotation"


def reconcile() -> int:
    """Sign published files that aren't signed by the present key; how many. Raises nothing."""
    try:
        pem, where, is_own = _pem()
        chain = codesigning.read_chain(pem, where=where)
        count = 0
        if signatures.certificate().fingerprint != chain.fingerprint or _unsigned(chain):
            key = codesigning.read_key(pem, where=where)  # slow: it checks the primes
            _use(chain, is_own=is_own)
            count = _sign(Signer(key), chain)
        _note({})
        return count
    except (Problem, OSError, SQLAlchemyError) as error:
        db.session.rollback()
        problem = served.as_problem(
            error,
            "Files can't be signed for iPXE.",
            "Check the database and free disk space. It's tried again each minute.",
        )
        log.error("files could not be signed for iPXE", **problem.as_dict())
        try:
            _note(problem.as_dict())
        except SQLAlchemyError:
            db.session.rollback()
        return 0


def request_key(actor: str) -> None:
    """Have the worker create another key. Raises SigningProblem when it's not Slipway's."""
    if settings().imgverify_key:
        raise SigningProblem(
            "The key of SLIPWAY_IMGVERIFY_KEY isn't Slipway's.",
            code="conflict",
            next_step="Replace that file, or unset the setting to use Slipway's own key.",
        )
    db.session.merge(Setting(key=_REQUEST, value={"actor": actor}))
    db.session.commit()
    wake()


def _pem() -> tuple[bytes, str, bool]:
    """The key and its certificates, where the key is, and whether it's Slipway's own.

    Made where there is none, or another one was requested. Raises SigningProblem.
    """
    path = settings().imgverify_key
    if path:
        pem = read_bounded(
            path, max_bytes=codesigning.MAX_BYTES, what="signing key", problem=SigningProblem
        )
        return pem, path, False
    own = select(CodeCertificate).where(CodeCertificate.is_own)
    row = db.session.scalar(own.order_by(CodeCertificate.created_at.desc()).limit(1))
    if row is None or db.session.get(Setting, _REQUEST) is not None:
        key = codesigning.new_key(f"Slipway on {socket.gethostname()[:40]}")
        fingerprint, secret, chain = key.chain.fingerprint, key.secret, key.chain.pem
        keys.keep_secret(settings().data_dir, fingerprint, secret)
        statements.execute(delete(Setting).where(Setting.key == _REQUEST))
        _use(key.chain, is_own=True)
    else:
        fingerprint, chain = row.fingerprint, row.chain
        secret = _read_secret(fingerprint)
    return secret + chain, str(keys.path_of(fingerprint)), True


def _read_secret(fingerprint: str) -> bytes:
    """The secret half of Slipway's own key. Raises SigningProblem if it's lost."""
    try:
        return keys.path_of(fingerprint).read_bytes()
    except OSError as error:
        # Not replaced by itself: each iPXE that trusts the old certificate would stop booting.
        raise SigningProblem(
            "The key that signs files for iPXE can't be read, so new files aren't signed.",
            code="signing-key-unreadable",
            where=str(keys.path_of(fingerprint)),
            got=error.strerror or type(error).__name__,
            next_step="Restore it from a backup. Or create another one, whose certificate each "
            "iPXE then needs: slipway mirror key --imgverify --rotate",
        ) from error


def _use(chain: Chain, *, is_own: bool) -> None:
    """Note whose certificate signs now, unless it's known already. Commits."""
    if signatures.certificate().fingerprint == chain.fingerprint:
        return
    statements.execute(
        delete(CodeCertificate).where(CodeCertificate.fingerprint == chain.fingerprint)
    )
    statements.execute(
        statements.insert_new(CodeCertificate).values(
            fingerprint=chain.fingerprint, chain=chain.pem, is_own=is_own, created_at=utcnow()
        )
    )
    events.record("mirror.certificate-used", actor="worker", subject=chain.fingerprint)
    db.session.commit()


def _unsigned(chain: Chain) -> dict[int, str]:
    """Digests of some published files that this certificate hasn't signed, by blob."""
    query = (
        select(Blob.id, Blob.sha256)
        .outerjoin(CodeSignature, CodeSignature.blob_id == Blob.id)
        .where(
            Blob.state == BlobState.READY,
            CodeSignature.fingerprint.is_distinct_from(chain.fingerprint),
            Blob.id.in_(
                select(ResourceFile.blob_id)
                .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
                .where(ResourceSet.completed_at.is_not(None))
            ),
        )
        .order_by(Blob.id)
        .limit(_BATCH)
    )
    return {row.id: row.sha256 for row in db.session.execute(query)}


def _sign(signer: Signer, chain: Chain) -> int:
    count = 0
    while blobs := _unsigned(chain):
        db.session.rollback()  # signing takes a while, and holds nothing
        count += _keep({id: signer.sign(blobs[id]) for id in blobs}, chain.fingerprint)
    return count


def _keep(signed: Mapping[int, bytes], fingerprint: str) -> int:
    """Store signatures of the blobs that weren't deleted in the meantime; how many. Commits."""
    blobs = select(Blob.id).where(Blob.id.in_(signed)).order_by(Blob.id)
    db.session.execute(blobs.with_for_update(read=True, key_share=True))
    if statements.count(delete(CodeSignature).where(CodeSignature.blob_id.in_(signed))):
        publishing.bump()  # processes that answer remember what they gave out
    ids = db.session.scalars(blobs).all()  # SQLite locks nothing before the first write
    values = [{"blob_id": id, "fingerprint": fingerprint, "content": signed[id]} for id in ids]
    if values:
        statements.execute(statements.insert_new(CodeSignature).values(values))
    db.session.commit()
    return len(ids)


def _note(problem: dict[str, str]) -> None:
    """Keep why signing fails, with an event when it's another reason than before."""
    if problem == signatures.problem():
        db.session.rollback()
        return
    db.session.merge(Setting(key=signatures.PROBLEM, value=problem))
    if problem:
        events.record("mirror.failed", actor="worker", subject="imgverify", **problem)
    db.session.commit()
