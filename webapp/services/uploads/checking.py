# SPDX-License-Identifier: Apache-2.0
"""Inspect uploads: the first megabyte at once, the whole file in the worker."""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import update

from webapp.errors import Conflict, Problem
from webapp.extensions import db, settings, store
from webapp.inspection import HEAD, Declared, Report, inspect, inspect_head, kinds
from webapp.models import Upload, UploadState, utcnow
from webapp.services.system import events, statements
from webapp.services.system.wake import wake
from webapp.services.uploads import converting, fields, uploads
from webapp.severity import Severity
from webapp.storage.base import BlobReader
from webapp.storage.errors import BlobMissing

_HEAD_PIECES = 8  # of a request's body, each 256 KiB: more than HEAD
_SAVE_S = 1.0  # how often progress is saved

log = structlog.get_logger(__name__)


class InspectionBusy(Problem):
    """A user's last inspection isn't finished."""

    code = "inspection-busy"


class Interrupted(Exception):
    """The worker is stopping; the next one inspects the upload again."""


def of_head(
    pieces: Iterator[bytes],
    name: str,
    architecture: str,
    filetype: str,
    *,
    size: int | None,
    user: str,
) -> Report:
    """What a file is by its first HEAD bytes; nothing is saved. pieces: of a request's body.

    Raises InspectionBusy while another one of this user's is under way.
    """
    head = b"".join(islice(pieces, _HEAD_PIECES))[:HEAD]
    with _only_one_of(user):
        report = inspect_head(head, Declared.of(name, architecture, filetype), size)
    return converting.announce(report, filetype)


@contextmanager
def _only_one_of(user: str) -> Iterator[None]:
    """Hold the user's turn, in all processes of this machine; the kernel ends it with ours."""
    folder = settings().data_dir / "inspecting"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / hashlib.sha256(user.encode()).hexdigest()[:16]).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InspectionBusy(
                "Another file of yours is being inspected.",
                next_step="Wait a few seconds, then try again.",
            ) from None
        yield


def inspect_early(upload: Upload) -> None:
    """Save a first report, once, as soon as the first megabyte has arrived."""
    if upload.report or upload.received < min(HEAD, upload.size) or not upload.size:
        return
    try:
        with _reader(upload) as reader:
            head = b"".join(reader.chunks(0, HEAD))
        report = inspect_head(head, _declared(upload), upload.size)
        if upload.is_checked_first:  # others are images before they are inspected
            report = converting.announce(report, upload.ftype)
    except Exception as error:
        # An early report is a convenience; it never blocks the upload.
        db.session.rollback()
        log.warning("the start of an upload could not be inspected", error=type(error).__name__)
        return
    # Once the worker has claimed the upload, its full report counts.
    statements.execute(
        update(Upload)
        .where(Upload.id == upload.id, Upload.claimed_by == "", Upload.checked == 0)
        .values(report=report.as_dict())
    )
    db.session.commit()


def is_convertible(upload: Upload) -> bool:
    """Whether the bytes begin, or end, like something that has to be converted."""
    with _reader(upload) as reader:
        head = b"".join(reader.chunks(0, HEAD))
        end = b"".join(reader.chunks(max(0, upload.size - kinds.VHD_FOOTER)))
    report = inspect_head(head, _declared(upload), upload.size)
    if not report.compression and kinds.archive_or_virtual_disk(end) == "vhd":
        report.container = "vhd"
    return bool(converting.kind_of(report, upload.ftype))


def inspect_fully(upload: Upload, owner: str, is_leaving: Callable[[], bool]) -> Report:
    """Inspect every byte, save progress in the row and renew the lease meanwhile.

    Raises Interrupted when the worker is stopping, Conflict when another one has the upload.
    """
    upload_id, declared = upload.id, _declared(upload)
    saved_at = time.monotonic()

    def on_progress(done: int) -> None:
        nonlocal saved_at
        if is_leaving():
            raise Interrupted
        if time.monotonic() - saved_at >= _SAVE_S:
            saved_at = time.monotonic()
            _renew_lease(upload_id, owner, checked=done)

    with _reader(upload) as reader:
        db.session.commit()  # no transaction is open while bytes are read
        report = inspect(_pieces(reader), declared, on_progress)
        report = converting.announce(report, declared.filetype)
    _renew_lease(upload_id, owner, checked=upload.size)
    return report


def convert(upload: Upload, owner: str, is_leaving: Callable[[], bool]) -> bool:
    """Replace it with an image; the lease is renewed meanwhile.

    Raises as ``inspect_fully`` does, and what ``converting.convert`` raises.
    """
    upload_id = upload.id
    renew = converting.every_second(lambda: _renew_lease(upload_id, owner))

    def keep_alive() -> None:
        if is_leaving():
            raise Interrupted
        renew()

    with _reader(upload) as reader:
        db.session.commit()
        return converting.convert(upload, reader, keep_alive)


def inspect_afterwards(upload: Upload, is_leaving: Callable[[], bool]) -> None:
    """Inspect every byte of an upload that is an image already, and save the report.

    Raises Interrupted when the worker is stopping.
    """

    def on_progress(_done: int) -> None:
        if is_leaving():
            raise Interrupted

    declared = _declared(upload)
    try:
        with _reader(upload) as reader:
            db.session.commit()
            report = inspect(_pieces(reader), declared, on_progress)
        upload.report, upload.checked = report.as_dict(), upload.size
        if converting.kind_of(report, declared.filetype):  # only its last bytes show it
            upload.state, upload.is_checked_first = UploadState.CHECKING, True
    except Problem as problem:
        upload.report = {"verdict": "unknown", "words": problem.what, "reasons": []}
        upload.checked = upload.size
    db.session.commit()


def release(upload_id: int, owner: str) -> None:
    """Let another worker continue at once."""
    statements.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.claimed_by == owner)
        .values(claimed_by="", claimed_at=None)
    )
    db.session.commit()


def reject(upload_id: int, report: Report) -> None:
    """Record that a file is not what was declared; correcting the declaration may help."""
    reason = next(reason for reason in report.reasons if reason.severity is Severity.ERROR)
    problem = Problem(reason.message, code=f"upload-{reason.code}", next_step=reason.next_step)
    reject_for(upload_id, problem, reason.code, report=report.as_dict())


def reject_for(upload_id: int, problem: Problem, why: str, **more: Any) -> None:
    """Record that a file can't become an image. more: columns to change as well."""
    statements.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.state == UploadState.CHECKING)
        .values(
            state=UploadState.REJECTED,
            problem=problem.as_dict(),
            claimed_by="",
            touched_at=utcnow(),
            **more,
        )
    )
    upload = uploads.find(upload_id)
    events.record(
        "upload.rejected",
        actor=upload.actor,
        subject=f"{upload.name} {upload.architecture}",
        why=why,
    )
    db.session.commit()


def declare(upload: Upload, changes: dict[str, str], actor: str) -> Upload:
    """Correct name, architecture, filetype or title of an upload, and inspect it again.

    Raises InvalidFields, and Conflict when it is an image already or is being inspected.
    """
    if not upload.is_open or (upload.state == UploadState.CHECKING and upload.claimed_by):
        raise Conflict(
            "The details of this upload can't be corrected now.",
            got=upload.state,
            next_step="Wait until it is verified. To change a published image, upload it again.",
        )
    values = fields.checked(
        fields.Declared(
            name=changes.get("name", upload.name),
            architecture=changes.get("architecture", upload.architecture),
            filetype=changes.get("filetype", upload.ftype),
            title=changes.get("title", upload.title),
            size=upload.size,
            sha256=upload.sha256,
            base_image=upload.base_image,
        )
    )
    is_other = (values["name"].full, values["architecture"]) != (upload.name, upload.architecture)
    upload.name, upload.architecture = values["name"].full, values["architecture"]
    upload.ftype, upload.title = values["ftype"], values["title"]
    if is_other:
        uploads.move(upload)
    upload.problem, upload.report, upload.checked = {}, {}, 0
    if upload.received == upload.size and upload.state == UploadState.REJECTED:
        upload.state = UploadState.CHECKING
    upload.touched_at = utcnow()
    events.record("upload.declared", actor=actor, subject=f"{upload.name} {upload.architecture}")
    db.session.commit()
    wake()
    inspect_early(upload)
    return upload


def _reader(upload: Upload) -> BlobReader:
    """Open the bytes: still an upload, or a blob already."""
    try:
        return store().open_upload(upload.token)
    except BlobMissing:
        if not upload.sha256:
            raise
        return store().open(upload.sha256)


def _pieces(reader: BlobReader) -> Iterator[bytes]:
    yield from reader.chunks()


def _declared(upload: Upload) -> Declared:
    return Declared.of(upload.name, upload.architecture, upload.ftype)


def _renew_lease(upload_id: int, owner: str, **values: Any) -> None:
    held = statements.count(
        update(Upload)
        .where(Upload.id == upload_id, Upload.claimed_by == owner)
        .values(claimed_at=utcnow(), **values)
    )
    db.session.commit()
    if not held:
        raise Conflict("Another worker has taken over this upload.")
