# SPDX-License-Identifier: Apache-2.0
"""Receive what users upload: whatever way it comes, one row and one token in the store.

How far an upload is, ``Upload.received`` says; bytes beyond it were never
confirmed and are taken back by the next request. When the last byte is there,
``finishing`` checks and publishes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import InvalidRequestError

from webapp.errors import Conflict, InvalidFields, NotFound, Problem
from webapp.extensions import db, settings, store
from webapp.models import (
    OPEN_UPLOADS,
    Blob,
    BlobState,
    Upload,
    UploadState,
    utcnow,
)
from webapp.services.system import events, statements
from webapp.services.system import secrets as vault
from webapp.services.system.wake import wake
from webapp.services.uploads import fields, resources, takeover
from webapp.services.uploads.fields import Declared
from webapp.storage.base import BlobReceiver
from webapp.storage.errors import BlobBusy, StoreFull

log = structlog.get_logger(__name__)

MAX_PLACE = 500  # characters of an address or path; the name of a sent file is cut to it


class UploadProblem(Problem):
    """Bytes that cannot be taken as they are sent. Codes: upload-empty, -too-much, -cut, …"""

    code = "upload"


class WrongOffset(UploadProblem):
    """The bytes don't continue where the last ones ended; that is ``received``."""

    code = "upload-offset"

    def __init__(self, received: int, got: int) -> None:
        super().__init__(
            "These bytes don't continue what was received.",
            where="offset",
            expected=str(received),
            got=str(got),
            next_step=f"Resume at byte {received}.",
        )
        self.received = received


def create(declared: Declared, actor: str) -> Upload:
    """Begin an upload; every one gets a file of its own, from byte 0.

    Raises InvalidFields for each wrong field at once, StoreFull.
    """
    values = fields.checked(declared)
    size = values["size"]
    if not size and declared.is_checked_first:
        raise InvalidFields({"size": ["The file is empty."]})
    known = _known_size(values["sha256"])
    if known is not None and known != size:
        raise InvalidFields(
            {"size": [f"The store holds these bytes with another size: {known}, not {size}."]}
        )
    free = None if known is not None else store().free_bytes()
    if free is not None and size > free:
        raise StoreFull("the store", needed=size, free=free)
    resource = resources.resource_named(values["name"], values["architecture"])
    upload = Upload(
        token=secrets.token_hex(32),
        origin=declared.origin,
        place=declared.place[:MAX_PLACE],
        address=vault.seal(declared.address),
        actor=actor,
        is_checked_first=declared.is_checked_first,
        resource_id=resource.id,
        name=values["name"].full,
        version=resources.next_version(resource),
        **{k: v for k, v in values.items() if k != "name"},
    )
    db.session.add(upload)
    events.record(
        "upload.begun", actor=actor, subject=f"{upload.name} {upload.architecture}", size=size
    )
    db.session.commit()
    return upload


def find(upload_id: int) -> Upload:
    """An upload by its id. Raises NotFound."""
    return _known(db.session.get(Upload, upload_id), f"upload {upload_id}")


def listed(*, is_open: bool | None = None, limit: int = 200) -> Sequence[Upload]:
    """Uploads, the newest first; is_open: only those under way, or only those that ended."""
    query = select(Upload).order_by(Upload.id.desc()).limit(limit)
    if is_open is not None:
        inside = Upload.state.in_(OPEN_UPLOADS)
        query = query.where(inside if is_open else ~inside)
    return db.session.scalars(query).all()


def open_of(resource_ids: Iterable[int]) -> Sequence[Upload]:
    """The uploads under way for these boot resources, the oldest first."""
    return db.session.scalars(
        select(Upload)
        .where(Upload.resource_id.in_(list(resource_ids)), Upload.state.in_(OPEN_UPLOADS))
        .order_by(Upload.id)
    ).all()


def append(
    upload: Upload,
    pieces: Iterable[bytes],
    *,
    offset: int | None = None,
    length: int | None = None,
    is_all_or_nothing: bool = True,
    check: Callable[[], None] | None = None,
    state: UploadState = UploadState.RECEIVING,
) -> bool:
    """Take one request's bytes; returns whether that was the last one.

    offset: where the client thinks it is, None when it does not say. length: bytes
    that it announced. is_all_or_nothing: a request that ends too early counts for
    nothing; else what came of it is kept. check: inspects the bytes once they are
    there and raises when they are not those that were sent. state: the one in which the
    upload waits for these bytes; it stays until the last one is there.

    Raises UploadProblem, WrongOffset, Conflict while another request is at it or
    when the upload was ended meanwhile, StoreFull; what was confirmed before is not touched.
    """
    _demand(upload, state)
    with _receiver(upload, state) as receiver:
        received, held = upload.received, (upload.id, upload.token, state)
        if offset is not None and offset != received:
            raise WrongOffset(received, offset)
        if length is not None and length > upload.size - received:
            raise UploadProblem("Too much data received.", code="upload-too-much")
        try:
            _take(receiver, pieces, upload.size)
            came = receiver.offset - received
            if not came and is_all_or_nothing and upload.size:
                raise UploadProblem("Missing data.", code="upload-empty")
            if length is not None and came < length and is_all_or_nothing:
                raise UploadProblem(
                    "The data ended early.",
                    code="upload-cut",
                    expected=f"{length} bytes",
                    got=f"{came} bytes",
                    next_step="Send the same bytes again.",
                )
            if check is not None:
                check()
        except BaseException as error:
            if is_all_or_nothing or isinstance(error, Problem):
                receiver.cut(received)
            else:
                _settle(held, receiver, upload.size)
            raise
        is_last = receiver.offset == upload.size
        _settle(held, receiver, upload.size)
    return is_last


def note_digest(upload: Upload, digest: str) -> None:
    """Note what the bytes have to be: compared at the end, or known already and not needed."""
    upload.sha256 = digest
    db.session.commit()
    if upload.state == UploadState.RECEIVING and is_known(upload):
        note_known(upload)


def is_known(upload: Upload) -> bool:
    """Whether the store holds these very bytes, so that nothing has to be sent."""
    is_right = _known_size(upload.sha256) == upload.size
    return is_right and store().stat(upload.sha256) is not None


def note_known(upload: Upload) -> None:
    """Nothing has to be sent; what came so far is dropped, and the known bytes are inspected."""
    old = upload.token
    upload.token = secrets.token_hex(32)  # a request that is under way writes to the old one
    upload.received, upload.state = upload.size, UploadState.CHECKING
    upload.touched_at = utcnow()
    db.session.commit()
    wake()
    drop_bytes(old)


def move(upload: Upload) -> None:
    """Let an upload belong to the boot resource of its new name. The caller commits."""
    resource = resources.resource_of(upload)
    upload.resource_id = resource.id
    upload.version = resources.next_version(resource)


def begin_again(upload: Upload) -> None:
    """Forget the bytes, which were wrong; the same upload can be sent once more."""
    old = upload.token
    upload.token = secrets.token_hex(32)
    upload.received = upload.checked = 0
    upload.state = UploadState.RECEIVING
    upload.touched_at = utcnow()
    db.session.commit()
    drop_bytes(old)


def drop(upload: Upload, actor: str) -> None:
    """Forget an upload with its bytes. Raises Conflict as ``demand_droppable`` does."""
    demand_droppable(upload)
    token = upload.token
    events.record("upload.dropped", actor=actor, subject=f"{upload.name} {upload.architecture}")
    db.session.delete(upload)
    db.session.commit()
    drop_bytes(token)


def drop_rejected(actor: str) -> int:
    """Drop all that were rejected; returns how many."""
    rejected = db.session.scalars(select(Upload).where(Upload.state == UploadState.REJECTED)).all()
    for upload in rejected:
        drop(upload, actor)
    return len(rejected)


def demand_droppable(upload: Upload) -> None:
    """Raise Conflict when an upload is an image already, or is being verified."""
    if upload.state == UploadState.DONE:
        raise Conflict("This upload is already an image. Delete the image instead.")
    if upload.state == UploadState.CHECKING and upload.claimed_by:
        raise Conflict("This upload is being verified.", next_step="Try again when that is done.")


def expire() -> int:
    """Drop abandoned uploads, and bytes that no upload names; returns how many."""
    cutoff = utcnow() - timedelta(days=settings().upload_days)
    old = db.session.scalars(
        select(Upload).where(
            Upload.state.in_((UploadState.RECEIVING, UploadState.REJECTED, UploadState.FAILED)),
            Upload.touched_at < cutoff,
        )
    ).all()
    for upload in old:
        log.info("an old upload expires", upload=upload.id)
        drop(upload, "worker")
    left = {part.sha256 for part in store().uploads() if part.touched_at < cutoff}
    if left:
        known = set(db.session.scalars(select(Upload.token).where(Upload.state.in_(OPEN_UPLOADS))))
        db.session.commit()
        for token in left - known:
            drop_bytes(token)
    return len(old)


def expires_at(upload: Upload) -> datetime:
    """When an upload is dropped if it isn't continued."""
    return upload.touched_at + timedelta(days=settings().upload_days)


# -- bytes


def _take(receiver: BlobReceiver, pieces: Iterable[bytes], size: int) -> None:
    for piece in pieces:
        if len(piece) > size - receiver.offset:
            raise UploadProblem("Too much data received.", code="upload-too-much")
        receiver.write(piece)


def _settle(held: tuple[int, str, str], receiver: BlobReceiver, size: int) -> None:
    """Confirm what came, unless the upload was ended or restarted meanwhile.

    held: id, token and state of the upload when its bytes were locked.
    """
    values: dict[str, Any] = {"received": receiver.offset, "touched_at": utcnow()}
    if receiver.offset == size:
        values["state"] = UploadState.CHECKING
    upload_id, token, state = held
    is_ours = (Upload.id == upload_id, Upload.token == token, Upload.state == state)
    if not statements.count(update(Upload).where(*is_ours).values(**values)):
        db.session.rollback()
        raise Conflict(
            "This upload ended while these bytes were in transit.",
            code="upload-over",
            next_step="Check its current status.",
        )
    db.session.commit()
    receiver.settle()
    if receiver.offset == size:
        wake()


def _receiver(upload: Upload, state: UploadState) -> BlobReceiver:
    """The upload's bytes, locked, and not more of them than were confirmed."""
    try:
        receiver = takeover.receiver(upload)
    except BlobBusy:
        raise Conflict(
            "Another request is sending data for this upload.",
            code="upload-busy",
            next_step="Wait until it is done, then ask for the offset to resume from.",
        ) from None
    try:
        try:
            db.session.refresh(upload)  # under the lock: the request before us has committed
        except InvalidRequestError:
            raise _unknown("this upload") from None
        _demand(upload, state)
        if receiver.offset < upload.received:
            # A store that lost its last moments; the client asks and sends them again.
            upload.received = receiver.offset
            db.session.commit()
        receiver.cut(upload.received)
    except BaseException:
        receiver.close()
        raise
    return receiver


def drop_bytes(token: str) -> None:
    """Remove an upload's bytes from the store; what cannot go now expires."""
    try:
        store().drop_upload(token)
    except BlobBusy:
        log.info("an upload's bytes are still being written; they expire")
    except Problem as problem:
        log.warning("an upload's bytes stay until they expire", problem=str(problem))


def _demand(upload: Upload, state: UploadState) -> None:
    if upload.state != state:
        raise UploadProblem("Cannot upload to a complete file.", code="upload-complete")


# -- what is known already


def _known(upload: Upload | None, where: str) -> Upload:
    if upload is None:
        raise _unknown(where)
    return upload


def _unknown(where: str) -> NotFound:
    return NotFound(
        "Upload not found.",
        where=where,
        next_step="It may have expired or been discarded. Start again.",
    )


def _known_size(sha256: str) -> int | None:
    if not sha256:
        return None
    return db.session.scalar(
        select(Blob.size).where(Blob.sha256 == sha256, Blob.state == BlobState.READY)
    )
