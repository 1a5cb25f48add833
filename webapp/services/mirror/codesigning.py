# SPDX-License-Identifier: Apache-2.0
"""``FILE.sig`` for iPXE: the worker signs what is published, others only give it out.

The secret half is a file of the data folder, as that of the stream's key is.
"""

from __future__ import annotations

import socket

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
from webapp.services.mirror import keys, signatures
from webapp.services.system import events, statements
from webapp.trust import codesigning
from webapp.trust.codesigning import CodeKey, Signer
from webapp.trust.errors import SigningProblem
from webapp.trust.files import read_bounded

log = structlog.get_logger(__name__)

_BATCH = 100


def reconcile() -> int:
    """Sign published files that aren't signed by the present key; how many. Raises nothing."""
    try:
        key = _key()
        count = _sign(Signer(key), key.fingerprint)
        _note({})
        return count
    except (Problem, OSError, SQLAlchemyError) as error:
        db.session.rollback()
        problem = error if isinstance(error, Problem) else _as_problem(error)
        log.error("files could not be signed for iPXE", **problem.as_dict())
        try:
            _note(problem.as_dict())
        except SQLAlchemyError:
            db.session.rollback()
        return 0


def _key() -> CodeKey:
    """The key that signs; made where there is none. Commits."""
    path = settings().imgverify_key
    if path:
        pem = read_bounded(
            path, max_bytes=codesigning.MAX_BYTES, what="signing key", problem=SigningProblem
        )
        key = codesigning.read_key(pem, where=path)
        _use(key, is_own=False)
        return key
    own = select(CodeCertificate).where(CodeCertificate.is_own)
    row = db.session.scalar(own.order_by(CodeCertificate.created_at.desc()).limit(1))
    if row is not None and keys.path_of(row.fingerprint).is_file():
        pem = keys.path_of(row.fingerprint).read_bytes() + row.chain
        key = codesigning.read_key(pem, where=str(keys.path_of(row.fingerprint)))
    else:
        key = codesigning.new_key(f"Slipway on {socket.gethostname()[:40]}")
        keys.keep_secret(settings().data_dir, key.fingerprint, key.secret)
    _use(key, is_own=True)
    return key


def _use(key: CodeKey, *, is_own: bool) -> None:
    """Note whose certificate signs now, unless it's known already. Commits."""
    if signatures.certificate()[0] == key.fingerprint:
        return
    statements.execute(
        delete(CodeCertificate).where(CodeCertificate.fingerprint == key.fingerprint)
    )
    statements.execute(
        statements.insert_new(CodeCertificate).values(
            fingerprint=key.fingerprint,
            chain=key.certificates,
            is_own=is_own,
            created_at=utcnow(),
        )
    )
    events.record("mirror.certificate-used", actor="worker", subject=key.fingerprint)
    db.session.commit()


def _sign(signer: Signer, fingerprint: str) -> int:
    unsigned = (
        select(Blob.id, Blob.sha256)
        .outerjoin(CodeSignature, CodeSignature.blob_id == Blob.id)
        .where(
            Blob.state == BlobState.READY,
            CodeSignature.fingerprint.is_distinct_from(fingerprint),
            Blob.id.in_(
                select(ResourceFile.blob_id)
                .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
                .where(ResourceSet.completed_at.is_not(None))
            ),
        )
        .order_by(Blob.id)
        .limit(_BATCH)
    )
    count = 0
    while rows := db.session.execute(unsigned).all():
        db.session.rollback()  # signing takes a while, and holds nothing
        made = [
            {"blob_id": row.id, "fingerprint": fingerprint, "content": signer.sign(row.sha256)}
            for row in rows
        ]
        ids = [row.id for row in rows]
        statements.execute(delete(CodeSignature).where(CodeSignature.blob_id.in_(ids)))
        statements.execute(statements.insert_new(CodeSignature).values(made))
        db.session.commit()
        count += len(made)
    return count


def _note(problem: dict[str, str]) -> None:
    """Keep why signing fails, with an event when it's another reason than before."""
    if problem == signatures.problem():
        db.session.rollback()
        return
    db.session.merge(Setting(key=signatures.PROBLEM, value=problem))
    if problem:
        events.record("mirror.failed", actor="worker", subject="imgverify", **problem)
    db.session.commit()


def _as_problem(error: Exception) -> Problem:
    words = getattr(error, "strerror", None) or str(getattr(error, "orig", error))
    return Problem(
        "Files can't be signed for iPXE.",
        code="mirror",
        got=words[:300],
        next_step="Check the database and free disk space. It's tried again each minute.",
    )
