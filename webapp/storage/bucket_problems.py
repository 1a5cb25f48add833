# SPDX-License-Identifier: Apache-2.0
"""What the answers of an S3 server mean to a person, in words that hold no credentials."""

from __future__ import annotations

import re

from webapp.storage.errors import StoreFull, StoreProblem, StoreUnusable

GONE = {"NoSuchKey", "NotFound", "404", "NoSuchUpload"}
CHANGED = {"PreconditionFailed", "412", "InvalidRange", "416"}
LOST = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
SKEWED = "RequestTimeTooSkewed"
_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "401"}
_FULL = {"QuotaExceeded", "InsufficientStorage", "507", "XMinioStorageFull"}
_ELSEWHERE = {"PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed"}
_BUSY = {"SlowDown", "ServiceUnavailable", "TooManyRequests"}
_PASSING = {"BadDigest", "RequestTimeout", "InternalError", "OperationAborted"}
# What is asked for may be gone or have changed; the caller knows what that means.
_EXPECTING = {
    "abort_multipart_upload",
    "complete_multipart_upload",
    "delete_object",
    "get_object",
    "head_object",
    "list_parts",
    "upload_part",
}


class Refused(Exception):
    """The server answered with an error. code: S3's word for it, or the HTTP status."""

    def __init__(self, code: str, status: int) -> None:
        # The code is text of the server: it could be anything, and of any length.
        self.code = code if re.fullmatch(r"[A-Za-z0-9._ -]{1,64}", code) else str(status)
        self.status = status
        super().__init__(self.code)

    @property
    def is_full(self) -> bool:
        """Whether there is no room."""
        return self.code in _FULL or self.status == 507

    @property
    def is_busy(self) -> bool:
        """Whether the server asks to be left alone for a while."""
        return self.code in _BUSY or self.status in (429, 503)

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later."""
        is_passing = self.code in _PASSING or (self.status >= 500 and self.status != 501)
        return not self.is_full and (is_passing or self.is_busy)

    def is_expected(self, operation: str) -> bool:
        """Whether it says that something is gone or has changed, to who knows what that means."""
        is_about = self.code in GONE | CHANGED | LOST or self.status in (404, 412, 416)
        return is_about and operation in _EXPECTING


class Unanswered(Exception):
    """No answer came, or one that asks to try again: it may have been done all the same."""

    def __init__(self, got: str, *, is_busy: bool = False) -> None:
        super().__init__(got)
        self.is_busy = is_busy


def unreachable(where: str, unanswered: Unanswered) -> StoreUnusable:
    """It didn't answer, however often it was asked."""
    if unanswered.is_busy:
        return StoreUnusable(
            "The object storage is too busy.",
            code="store-unreachable",
            where=where,
            expected="answers from an S3 server",
            got=str(unanswered),
            next_step="Check its load and its limits. What was interrupted resumes.",
        )
    return StoreUnusable(
        "The object storage doesn't answer.",
        code="store-unreachable",
        where=where,
        expected="answers from an S3 server",
        got=str(unanswered),
        next_step="Check that it's running, SLIPWAY_S3_ENDPOINT and the network. "
        "What was interrupted resumes.",
    )


def refused(where: str, refusal: Refused, needed: int) -> StoreProblem:
    """It answered with an error that no caller expects. needed: bytes still to be written."""
    if refusal.is_full:
        return StoreFull(where, needed=needed, free=None)
    if refusal.code == "NoSuchBucket" or refusal.status == 404:
        return missing(where, "no such bucket")
    if refusal.code in (SKEWED, "RequestExpired"):
        return StoreUnusable(
            "The clock of this machine and that of the object storage differ too much.",
            where=where,
            expected="at most 15 minutes apart",
            got=refusal.code,
            next_step="Set both clocks by NTP.",
        )
    if refusal.code in _ELSEWHERE or 300 <= refusal.status < 400:
        return StoreUnusable(
            "The bucket is somewhere else.",
            where=where,
            expected="the bucket at this endpoint and in SLIPWAY_S3_REGION",
            got=refusal.code,
            next_step="Set SLIPWAY_S3_ENDPOINT and SLIPWAY_S3_REGION to where the bucket is: "
            "Slipway follows no redirect.",
        )
    if refusal.code in _DENIED or refusal.status in (401, 403):
        return StoreUnusable(
            "The object storage refuses access.",
            code="store-denied",
            where=where,
            expected="the right to list, read, write and delete in the bucket",
            got=refusal.code,
            next_step="Check SLIPWAY_S3_ACCESS_KEY, SLIPWAY_S3_SECRET_KEY and the policy "
            "of the bucket.",
        )
    return StoreUnusable(
        "The object storage refused a request.",
        where=where,
        expected="success",
        got=refusal.code,
        next_step="Look at the log of the object storage.",
    )


def missing(where: str, got: str) -> StoreUnusable:
    """The store isn't where the settings say."""
    return StoreUnusable(
        "The object storage has no store of Slipway there.",
        code="store-missing",
        where=where,
        expected="a bucket with an object SLIPWAY-STORE below the prefix",
        got=got,
        next_step="Check SLIPWAY_S3_BUCKET and SLIPWAY_S3_PREFIX. If its images are lost, put "
        "an empty object SLIPWAY-STORE there: the next import downloads them again.",
    )


def altered(where: str) -> StoreUnusable:
    """The server can't be trusted with bytes, or someone else writes to the bucket."""
    return StoreUnusable(
        "The object storage gave back other bytes than it got.",
        where=where,
        expected="what was stored",
        got="other bytes",
        next_step="Check the object storage, and who else may write to the bucket. Then try again.",
    )


def endless(where: str, operation: str) -> StoreUnusable:
    """A listing says that more follows, and not where."""
    return StoreUnusable(
        "The object storage gave half of a listing.",
        where=where,
        expected=f"the rest of {operation}",
        got="the same page, or none",
        next_step="Look at the log of the object storage.",
    )


def unranged(where: str, expected: str, got: str) -> StoreUnusable:
    """An answer holds other bytes of an object than were asked for."""
    return StoreUnusable(
        "The object storage gave other bytes than were asked for.",
        where=where,
        expected=expected,
        got=got[:80],
        next_step="Check that it and what stands before it support ranges.",
    )
