# SPDX-License-Identifier: Apache-2.0
"""From the last byte to the image: check the digest, keep the bytes, publish. Safe to repeat.

1. the digest is written to the upload's row, and a row reserves the bytes;
2. the store adopts them under that digest;
3. one transaction makes them a version, the one that machines get.

Whoever dies between two of these leaves a ``checking`` row, and ``finish`` begins again.
"""

from __future__ import annotations

from sqlalchemy import select

from webapp.errors import Conflict, Problem
from webapp.extensions import db, store
from webapp.models import (
    BootResource,
    ResourceFile,
    ResourceSet,
    ResourceType,
    Upload,
    UploadState,
    utcnow,
)
from webapp.services.blobs import reserving
from webapp.services.images import expiring, publishing
from webapp.services.system import events
from webapp.services.uploads import names, resources, takeover, uploads
from webapp.storage.base import BlobReceiver
from webapp.storage.errors import BlobBusy

LABEL = "uploaded"  # of every uploaded version (rule: upload-versions)


class WrongDigest(uploads.UploadProblem):
    """The bytes are not those that were declared."""

    code = "upload-wrong-hash"


def finish(upload: Upload) -> None:
    """Make an image of an upload whose bytes are all there, or known to the store.

    Raises WrongDigest: the bytes are dropped and the same upload can be sent again.
    StoreFull, StoreUnusable: nothing is lost, ask again.
    """
    if uploads.is_known(upload):
        digest, token = upload.sha256, upload.token
        blob_id = reserving.reserve_one(digest, upload.size)
        _publish(upload, blob_id)
        uploads.drop_bytes(token)
        return
    digest = verify(upload)
    blob_id = reserving.reserve_one(digest, upload.size)
    _adopt(upload, digest)
    _publish(upload, blob_id)


def verify(upload: Upload) -> str:
    """Write the digest of the bytes to the row, and return it.

    Raises WrongDigest: the bytes are dropped and the same upload can be sent again.
    """
    digest = _digest(upload)
    if upload.sha256 and upload.sha256 != digest:
        expected = upload.sha256
        uploads.begin_again(upload)
        raise WrongDigest(
            "Saved content does not match given SHA256 value.",
            where=upload.name,
            expected=f"sha256 {expected}",
            got=f"sha256 {digest}",
            next_step="Send the file again, from its first byte.",
        )
    upload.sha256, upload.state = digest, UploadState.CHECKING
    db.session.commit()
    return digest


def _digest(upload: Upload) -> str:
    """The sha256 of what came; of the blob where a process died after step 2."""
    if upload.sha256 and store().stat(upload.sha256) is not None and not _has_bytes(upload):
        return upload.sha256
    with _receiver(upload) as receiver:
        return receiver.digest()


def _has_bytes(upload: Upload) -> bool:
    try:
        store().open_upload(upload.token).close()
    except Problem as problem:
        if problem.code == "blob-missing":
            return False
        raise
    return True


def _receiver(upload: Upload) -> BlobReceiver:
    """The bytes, locked. The request that confirmed the last of them lets go just after that."""
    try:
        return takeover.wait_for(upload.token, upload.size)
    except BlobBusy:
        raise Conflict(
            "This upload is being finished.", code="upload-busy", next_step="Wait until it is done."
        ) from None


def _adopt(upload: Upload, digest: str) -> None:
    if store().stat(digest) is not None and not _has_bytes(upload):
        return
    with _receiver(upload) as receiver:
        receiver.adopt(digest)


def _publish(upload: Upload, blob_id: int) -> None:
    """Step 3: from here on machines get it. Whoever comes second finds it done."""
    now = utcnow()
    locked = db.session.scalar(
        select(Upload)
        .where(Upload.id == upload.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if locked is None:
        raise Conflict("This upload was discarded while it was being finished.")
    if locked.state == UploadState.DONE:
        db.session.rollback()
        return
    upload.received = upload.size
    reserving.set_ready(upload.sha256)
    resource = _locked_resource(upload)
    is_taken = select(ResourceSet.id).where(
        ResourceSet.resource_id == resource.id, ResourceSet.version == upload.version
    )
    if db.session.scalar(is_taken) is not None:  # two that were begun at the same moment
        upload.version = resources.next_version(resource)
    made = ResourceSet(
        resource_id=resource.id,
        version=upload.version,
        label=LABEL,
        completed_at=now,
        files=[
            ResourceFile(
                filename=names.FILENAMES[upload.ftype], ftype=upload.ftype, blob_id=blob_id
            )
        ],
    )
    db.session.add(made)
    db.session.flush()
    if resource.current_set_id is None:
        publishing.revive(resource)
    resource.current_set_id = made.id
    resource.title = upload.title or resource.title
    resource.base_image = upload.base_image or resource.base_image
    resource.gone_since = None
    db.session.flush()
    expiring.retire_surplus([resource.id])
    upload.state, upload.finished_at, upload.problem = UploadState.DONE, now, {}
    upload.resource_id, upload.claimed_by = resource.id, ""
    publishing.bump()
    events.record(
        "image.published",
        actor=upload.actor,
        subject=f"{resource.name} {resource.architecture}",
        version=upload.version,
        why="uploaded",
    )
    db.session.commit()


def _locked_resource(upload: Upload) -> BootResource:
    found = db.session.scalar(
        select(BootResource)
        .where(
            BootResource.name == upload.name,
            BootResource.architecture == upload.architecture,
            BootResource.rtype == ResourceType.UPLOADED,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is not None:
        return found
    return resources.resource_of(upload)
