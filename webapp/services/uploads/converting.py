# SPDX-License-Identifier: Apache-2.0
"""Make an image of an upload that machines can't boot: a raw disk, or a root tarball in gzip.

The upload itself stays as it is until the image is complete in the store; then one
transaction puts the image in its place. Whoever dies before that leaves only a folder of
temporary files, which the next attempt removes.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import update

from webapp import conversion
from webapp.conversion import Failed, Step
from webapp.errors import Problem
from webapp.extensions import db, settings, store
from webapp.inspection import MAX_DISK, Declared, Report, inspect
from webapp.inspection.convertible import PACK
from webapp.inspection.convertible import announce as announce_conversion
from webapp.inspection.convertible import conversion as conversion_of
from webapp.inspection.report import human
from webapp.models import Upload, UploadState, utcnow
from webapp.services.system import events, statements
from webapp.services.uploads import names, uploads
from webapp.severity import Severity
from webapp.storage.base import BlobReader
from webapp.storage.errors import StoreFull

_PIECE = 1 << 20
_MAX_STEPS = 5
_RENEW_S = 1.0
_ROOM = 64 << 20  # bytes that stay free

_CONVERT_YOURSELF = "Convert it yourself and upload the raw disk, or copy the file again."
_NEXT_STEPS = {
    "encrypted": "Decrypt it first, e.g. with qemu-img convert, and upload that.",
    "window": "Compress it again without --long, or with gzip or xz.",
    "unsafe": "Merge it into one file: qemu-img convert -O qcow2 FILE disk.qcow2.",
}

KeepAlive = Callable[[], None]


class NotConverted(Problem):
    """The file can't be made into an image, and trying again wouldn't help."""

    code = "upload-not-converted"


def kind_of(report: Report, ftype: str = "") -> str:
    """What has to be done next to become an image; "" when nothing can be done here."""
    return conversion_of(report, Declared(ftype).word, has_qemu=conversion.has_qemu())


def announce(report: Report, ftype: str = "") -> Report:
    """Report that a file will be converted instead of rejected."""
    return announce_conversion(report, Declared(ftype).word, has_qemu=conversion.has_qemu())


def convert(upload: Upload, reader: BlobReader, keep_alive: KeepAlive) -> bool:
    """Replace the uploaded file with the image. keep_alive: called often; may raise.

    Returns False, and leaves the file alone, when its bytes aren't the declared ones.

    Raises NotConverted, StoreFull and what the store and ``keep_alive`` raise.
    """
    upload_id, ftype = upload.id, upload.ftype
    folder = settings().data_dir / "conversions" / str(upload_id)
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
    folder.mkdir(parents=True)
    try:
        source = folder / "source"
        digest = _copy(reader, source, keep_alive)
        if upload.sha256 and upload.sha256 != digest:
            return False  # finishing refuses them
        made, report, kinds = _image(source, ftype, keep_alive)
        original = {"sha256": digest, "size": reader.size, "kinds": kinds}
        _keep(upload_id, made, report, original, keep_alive)
        return True
    except OSError as error:
        if error.errno != 28:
            raise
        raise _full(folder, 0) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _image(source: Path, ftype: str, keep_alive: KeepAlive) -> tuple[Path, Report, list[str]]:
    kinds: list[str] = []
    for number in range(_MAX_STEPS + 1):
        report = _inspect(source, keep_alive)
        kind = kind_of(report, ftype)
        if not kind and report.disk_in_tar and not report.compression:
            kind = "tar"
        if not kind or number == _MAX_STEPS:
            break
        if report.forecast > MAX_DISK:
            raise NotConverted(
                f"It becomes a disk of {human(report.forecast)}; the maximum is {human(MAX_DISK)}.",
                next_step="Build a smaller one: it grows on the machine.",
            )
        _demand_room(source.parent, report.forecast)
        target = source.with_name(f"step-{number}")
        try:
            conversion.run(Step(kind, source, target, MAX_DISK), keep_alive)
        except Failed as failed:
            if failed.code == "full":
                raise _full(source.parent, report.forecast) from failed
            raise NotConverted(
                f"This {kind} file can't be converted: {failed}.",
                expected="a complete disk image or root tarball",
                got=failed.code,
                next_step=_NEXT_STEPS.get(failed.code, _CONVERT_YOURSELF),
            ) from failed
        source.unlink()
        source = target
        kinds.append("tar" if kind == PACK else kind)
    if report.verdict == "reject" or "filetype" not in report.suggested:
        found = report.words.removeprefix("not compressed, ")
        reason = next((r for r in report.reasons if r.severity is Severity.ERROR), None)
        raise NotConverted(
            f"There is no image inside this {' '.join(kinds)} file: it holds {found}.",
            got=reason.message if reason is not None else found,
            next_step=reason.next_step if reason is not None else "Choose the file that was built.",
        )
    return source, report, kinds


def _keep(
    upload_id: int, made: Path, report: Report, original: dict[str, Any], keep_alive: KeepAlive
) -> None:
    """Store the image under a token of its own, then let the upload have it."""
    size, token = made.stat().st_size, secrets.token_hex(32)
    free = store().free_bytes()
    if free is not None and size > free:
        raise StoreFull("the store", needed=size, free=free)
    try:
        with store().receiver(token, size) as receiver:
            for piece in _pieces(made):
                receiver.write(piece)
                keep_alive()
            receiver.settle()
            digest = receiver.digest()
        upload = uploads.find(upload_id)
        old = upload.token
        taken = statements.count(
            update(Upload)
            .where(
                Upload.id == upload_id,
                Upload.token == old,
                Upload.state == UploadState.CHECKING,
                Upload.claimed_by == upload.claimed_by,
            )
            .values(
                token=token,
                size=size,
                received=size,
                checked=0,
                sha256=digest,
                ftype=names.FILETYPES[report.suggested["filetype"]][0],
                original=original,
                report=report.as_dict(),
                touched_at=utcnow(),
            )
        )
        if taken:
            events.record(
                "upload.converted",
                actor=upload.actor,
                subject=f"{upload.name} {upload.architecture}",
                why=" ".join(original["kinds"]),
                size=size,
            )
        db.session.commit()
    except BaseException:
        db.session.rollback()
        uploads.drop_bytes(token)
        raise
    uploads.drop_bytes(old if taken else token)


def _copy(reader: BlobReader, target: Path, keep_alive: KeepAlive) -> str:
    _demand_room(target.parent, reader.size)
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for piece in reader.chunks():
            file.write(piece)
            digest.update(piece)
            keep_alive()
    return digest.hexdigest()


def _inspect(path: Path, keep_alive: KeepAlive) -> Report:
    return inspect(_pieces(path), Declared(), lambda done: keep_alive())


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _demand_room(folder: Path, needed: int) -> None:
    if needed and shutil.disk_usage(folder).free < needed + _ROOM:
        raise _full(folder, needed)


def _full(folder: Path, needed: int) -> StoreFull:
    return StoreFull(
        "the data directory", needed=needed, free=shutil.disk_usage(folder.parent).free
    )


def every_second(do: Callable[[], None]) -> KeepAlive:
    """Wrap a function so that it runs at most once a second."""
    last = time.monotonic()

    def maybe() -> None:
        nonlocal last
        if time.monotonic() - last >= _RENEW_S:
            last = time.monotonic()
            do()

    return maybe
