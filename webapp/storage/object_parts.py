# SPDX-License-Identifier: Apache-2.0
"""One blob on its way into a bucket: a multipart upload to its own key, resumed after a kill.

Bytes are gathered to parts. After each part, the row of the claim notes the multipart
upload and the state of the hash, so another process goes on with the next byte. What was
gathered when a writer is closed lies in an object beside it. Completing the upload is what
makes the blob visible, and comes after its hash was found right.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any

from webapp.storage import hashing, object_keys
from webapp.storage.base import Check, Closing
from webapp.storage.bucket import MAX_PARTS, Bucket
from webapp.storage.bucket_problems import Refused, altered
from webapp.storage.claims import Claim
from webapp.storage.errors import (
    BlobMissing,
    StoreProblem,
    StoreUnusable,
    too_long,
    too_short,
    wrong_hash,
)
from webapp.storage.object_reading import ObjectReader, Piece
from webapp.storage.object_requests import (
    NOTHING,
    checksum,
    clear,
    discard,
    put,
    remove,
)

_ROW = "slipway-row"  # metadata of a blob: the claim that made it


class ObjectWriter(Closing):
    """Append to a claimed blob; see base.BlobWriter."""

    def __init__(self, bucket: Bucket, claim: Claim, sha256: str, size: int, check: Check) -> None:
        self.sha256 = sha256
        self.size = size
        self._bucket = bucket
        self._claim = claim
        self._key = object_keys.blob(sha256)
        self._part = max(bucket.options.part, -(-size // MAX_PARTS))
        self._upload = ""
        self._parts: list[dict[str, Any]] = []  # what the row notes of each, as 1, 2, …
        self._parts_noted = 0
        self._sent = 0  # bytes in parts
        self._tail = ""  # key of what was gathered when the last writer closed
        self._kept = claim.received  # bytes that survive a kill
        self._buffer = bytearray()
        self._hash = hashing.KeptHash()
        self._noted = {**NOTHING, "blob": self._key}
        self._is_open = True
        self._is_resumed = False
        try:
            self._resume(check)
        except BaseException:
            self._let_go()
            raise

    @property
    def offset(self) -> int:
        """Bytes in parts and in memory."""
        return self._sent + len(self._buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; each time a part is full, it's sent."""
        self._demand_open()
        view = memoryview(data).cast("B")
        if len(view) > self.size - self.offset:
            raise too_long(self.sha256, self.size, self.offset + len(view))
        self._claim.renew()
        while view:
            if len(self._buffer) >= self._part:
                self._send_part()
            piece = view[: self._part - len(self._buffer)]
            self._buffer += piece
            with memoryview(self._buffer) as gathered:  # can be hashed without a copy
                self._hash.update(gathered[-len(piece) :])
            view = view[len(piece) :]

    def flush(self) -> None:
        """Store what is gathered beside the parts."""
        self._demand_open()
        if self._kept == self.offset:
            return
        old, self._tail = self._tail, ""
        if self._buffer:
            self._tail = object_keys.new_partial(self._claim.id)
            put(self._bucket, self._tail, self._buffer, needed=self.size - self._sent)
        self._note()
        if old:
            remove(self._bucket, old)

    def commit(self) -> None:
        """Check size and hash; complete the upload, or put a small blob at once."""
        self._demand_open()
        if self.offset != self.size:
            raise too_short(self.sha256, self.size, self.offset)
        found = self._hash.hexdigest()
        if found != self.sha256:
            self.discard()
            raise wrong_hash(self.sha256, found)
        if not self._upload:
            self._put_whole()
        else:
            if self._buffer:
                self._send_part(is_last=True)
            self._complete()
            if self._is_resumed:
                self._read_back()
        self._is_open = False
        self._clear()

    def close(self) -> None:
        """Keep what is there and let others write; what can't be stored is fetched again."""
        if not self._is_open:
            return
        with suppress(StoreProblem):
            self.flush()
        if self._kept:
            self._is_open = False
            self._claim.leave()
        else:
            self.discard()

    def discard(self) -> None:
        """Abort the upload and remove what lies beside it."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            discard(self._bucket, self._claim, self._key, self._upload)
        except StoreProblem:  # the bytes are found and removed by a later check()
            self._claim.leave()

    def _demand_open(self) -> None:
        if not self._is_open:
            raise ValueError("the writer is closed")

    def _let_go(self) -> None:
        self._is_open = False
        self._claim.leave()

    def _resume(self, check: Check) -> None:
        """Go on from what the row notes; start over where that isn't all there."""
        all_notes = dict(self._claim.notes())
        notes = all_notes.pop(0, None)
        if notes is None:
            return
        if self._claim.received and self._load(notes, list(all_notes.values()), check):
            return
        clear(self._bucket, self._claim, str(notes["blob"]), str(notes["upload"]))
        self._buffer, self._kept = bytearray(), 0

    def _load(self, notes: dict[str, Any], parts: list[dict[str, Any]], check: Check) -> bool:
        state = base64.b64decode(notes["hash"])
        tail_size, upload = int(notes["tail_size"]), str(notes["upload"])
        sent = self._claim.received - tail_size
        part = int(notes["part"])
        if notes["blob"] != self._key:
            return False
        if not hashing.can_resume(state) or not sent <= self._claim.received <= self.size:
            return False
        if part * MAX_PARTS < self.size:
            return False
        try:
            if sent and not self._are_there(upload, parts, sent, check):
                return False
            check()
            if tail_size:
                tail = Piece(0, tail_size, str(notes["tail"]))
                with ObjectReader(self._bucket, self.sha256, [tail]) as reader:
                    for data in reader.chunks():
                        self._buffer += data
        except (Refused, BlobMissing):
            return False
        # The hash continues behind the tail, so these have to be the bytes that it has seen.
        if tail_size and checksum(self._buffer) != notes.get("tail_sha256"):
            return False
        self._upload, self._sent, self._tail, self._part = upload, sent, str(notes["tail"]), part
        self._hash, self._noted = hashing.KeptHash(state), notes
        self._parts, self._parts_noted = parts, len(parts)
        self._is_resumed = True
        return True

    def _are_there(self, upload: str, parts: list[dict[str, Any]], sent: int, check: Check) -> bool:
        """Whether the server still has the parts that the row notes, and they are all."""
        there = {}
        for part in self._bucket.pages("list_parts", "Parts", Key=self._key, UploadId=upload):
            check()
            there[int(part["PartNumber"])] = (part["ETag"], int(part["Size"]))
        noted = {n: (part["etag"], part["size"]) for n, part in enumerate(parts, start=1)}
        is_all = sum(part["size"] for part in parts) == sent
        return is_all and all(there.get(number) == part for number, part in noted.items())

    def _send_part(self, *, is_last: bool = False) -> None:
        needed = self.size - self._sent
        if not self._upload:
            answer = self._bucket.ask(
                "create_multipart_upload",
                needed=needed,
                Key=self._key,
                ChecksumAlgorithm="SHA256",
                Metadata={_ROW: str(self._claim.id)},
            )
            self._upload = str(answer["UploadId"])
            # A writer that is killed now leaves an upload that its row knows.
            self._noted = {**self._noted, "upload": self._upload, "part": self._part}
            self._claim.note(self._kept, {0: self._noted})
        number, body = len(self._parts) + 1, self._buffer
        proof = checksum(body)
        place: dict[str, Any] = {"Key": self._key, "UploadId": self._upload}
        try:
            answer = self._bucket.ask(
                "upload_part",
                needed=needed,
                PartNumber=number,
                Body=body,
                ChecksumSHA256=proof,
                **place,
            )
        except Refused as refusal:
            raise self._lost(refusal.code) from None
        etag = str(answer["ETag"])
        self._parts.append({"etag": etag, "size": len(body), "sha256": proof})
        self._sent += len(body)
        self._buffer = bytearray()
        if not is_last:
            old, self._tail = self._tail, ""
            self._note()
            if old:
                remove(self._bucket, old)

    def _complete(self) -> None:
        parts = [
            {"PartNumber": number, "ETag": part["etag"], "ChecksumSHA256": part["sha256"]}
            for number, part in enumerate(self._parts, start=1)
        ]
        try:
            self._bucket.ask(
                "complete_multipart_upload",
                landed=self._landed_whole,
                needed=self.size,
                Key=self._key,
                UploadId=self._upload,
                MultipartUpload={"Parts": parts},
            )
        except Refused as refusal:
            if self._landed_whole() is None:
                raise self._lost(refusal.code) from None

    def _read_back(self) -> None:
        """Hash the blob. What other processes sent, this one has only the server's word for."""
        found = self._landed_whole() or {}
        whole = Piece(0, self.size, self._key, str(found.get("ETag", "")))
        actual = hashlib.sha256()
        with ObjectReader(self._bucket, self.sha256, [whole]) as reader:
            for data in reader.chunks():
                actual.update(data)
                self._claim.renew()
        if actual.hexdigest() != self.sha256:
            remove(self._bucket, self._key)
            self.discard()
            raise altered(self._bucket.options.where)

    def _put_whole(self) -> None:
        self._bucket.ask(
            "put_object",
            landed=self._landed_whole,
            needed=self.size,
            Key=self._key,
            Body=self._buffer,
            ChecksumSHA256=base64.b64encode(bytes.fromhex(self.sha256)).decode(),
            Metadata={_ROW: str(self._claim.id)},
        )

    def _landed_whole(self) -> dict[str, Any] | None:
        """The blob, if it's there and of our making."""
        try:
            found: dict[str, Any] = self._bucket.ask("head_object", Key=self._key)
        except Refused:
            return None
        is_ours = (found.get("Metadata") or {}).get(_ROW) == str(self._claim.id)
        return found if is_ours and found["ContentLength"] == self.size else None

    def _lost(self, got: str) -> StoreProblem:
        self.discard()
        return StoreUnusable(
            "The object storage lost parts of an upload.",
            where=self._bucket.options.where,
            expected=f"{len(self._parts)} parts",
            got=got,
            next_step="Try again. If it persists, check whether a rule of the bucket removes "
            "unfinished uploads too early.",
        )

    def _note(self) -> None:
        self._noted = {
            "blob": self._key,
            "upload": self._upload,
            "part": self._part,
            "tail": self._tail,
            "tail_size": len(self._buffer),
            "tail_sha256": checksum(self._buffer) if self._buffer else "",
            "hash": base64.b64encode(self._hash.state()).decode(),
        }
        fresh = enumerate(self._parts[self._parts_noted :], start=self._parts_noted + 1)
        self._claim.note(self.offset, {0: self._noted, **dict(fresh)})
        self._kept, self._parts_noted = self.offset, len(self._parts)

    def _clear(self) -> None:
        """The blob is visible; what is left beside it can wait for a later check()."""
        with suppress(StoreProblem):
            if self._tail:
                remove(self._bucket, self._tail)
        self._claim.finish()
