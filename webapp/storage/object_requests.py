# SPDX-License-Identifier: Apache-2.0
"""Store and remove single objects, and all that an unfinished row has in the bucket."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any

from webapp.storage import object_keys
from webapp.storage.bucket import Bucket
from webapp.storage.bucket_problems import Refused
from webapp.storage.claims import Claim

# What a row notes of a blob before its first part.
NOTHING: dict[str, Any] = {
    "blob": "",
    "upload": "",
    "part": 0,
    "tail": "",
    "tail_size": 0,
    "tail_sha256": "",
    "hash": "",
}


def checksum(body: bytes | bytearray) -> str:
    """What the server compares the bytes with that it got."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def put(bucket: Bucket, key: str, data: bytes | bytearray, *, needed: int) -> str:
    """Store an object under a key that was never used; returns its ETag."""

    def landed() -> Any:
        found = bucket.ask("head_object", Key=key)
        return found if found["ContentLength"] == len(data) else None

    answer = bucket.ask(
        "put_object",
        landed=landed,
        needed=needed,
        Key=key,
        Body=data,
        ChecksumSHA256=checksum(data),
    )
    return str(answer.get("ETag", ""))


def remove(bucket: Bucket, key: str) -> None:
    """Remove an object; harmless when it isn't there."""
    with suppress(Refused):
        bucket.ask("delete_object", Key=key)


def abort(bucket: Bucket, key: str, upload: str) -> None:
    """Abort a multipart upload; harmless when it isn't there."""
    with suppress(Refused):
        bucket.ask("abort_multipart_upload", Key=key, UploadId=upload)


def clear(bucket: Bucket, claim: Claim, key: str, upload: str) -> None:
    """Forget what was received, then remove it; the claim stays."""
    claim.note(0, {0: {**NOTHING, "blob": key, "upload": upload}})
    if upload:
        abort(bucket, key, upload)
    folder = object_keys.folder_of(claim.id)
    for found in list(bucket.pages("list_objects_v2", "Contents", Prefix=folder)):
        remove(bucket, folder + str(found["Key"]).rpartition("/")[2])
    claim.note(0, {}, drop_from=0)


def discard(bucket: Bucket, claim: Claim, key: str, upload: str) -> None:
    """Remove what was received, and the row."""
    if claim.received or upload:
        clear(bucket, claim, key, upload)
    claim.finish()
