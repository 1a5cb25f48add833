# SPDX-License-Identifier: Apache-2.0
"""A bucket of an S3 server: where it is, one client for each process, requests with a bounded
number of tries, and errors in words that hold no credentials.

boto3 is imported with the first request: commands that touch no bucket don't wait for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webapp.storage.errors import StoreFull, StoreProblem, StoreUnusable

TRIES = 4
PAUSE_S = 0.2  # before the second try; doubled before each further one
CONNECT_S = 10
READ_S = 60  # without a byte of an answer
MIN_PART = 5 << 20  # bytes; S3 takes no smaller part but the last
MAX_PARTS = 10_000

GONE = {"NoSuchKey", "NotFound", "404", "NoSuchUpload"}
CHANGED = {"PreconditionFailed", "412", "InvalidRange", "416"}
_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "401"}
_FULL = {"QuotaExceeded", "InsufficientStorage", "507", "XMinioStorageFull"}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
_PASSING = {"BadDigest", "RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable"}


@dataclass(frozen=True)
class BucketOptions:
    """Where blobs go. part: bytes sent in one request. style: ``path`` or ``virtual``.

    ca: a PEM file to check the server's certificate with; "": the system's.
    redirects: whether the rack sends machines to presigned addresses.
    """

    endpoint: str
    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    ca: str = ""
    style: str = "path"
    part: int = 16 << 20
    redirects: bool = False

    @property
    def where(self) -> str:
        """What problems name: endpoint, bucket and prefix."""
        return f"{self.endpoint}/{self.bucket}/{self.prefix}".rstrip("/")


class _Clients:
    """The clients of this process; making one takes a while, so equal ones are shared."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop all, with the lock: its holder may be a thread of the parent."""
        self.lock = threading.Lock()
        self.made: dict[BucketOptions, Any] = {}


_clients = _Clients()
os.register_at_fork(after_in_child=_clients.forget)


class Refused(Exception):
    """The server answered with an error. code: S3's word for it, or the HTTP status."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class Unanswered(Exception):
    """No answer came, or one that asks to try again: it may have been done all the same."""


class Bucket:
    """Makes requests. Threads share its client; a forked process makes one of its own."""

    def __init__(self, options: BucketOptions) -> None:
        self.options = options

    def key(self, name: str) -> str:
        """The full key of a name below the prefix."""
        prefix = self.options.prefix.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def ask(
        self,
        operation: str,
        *,
        landed: Callable[[], Any] | None = None,
        needed: int = 0,
        **parameters: Any,
    ) -> Any:
        """The answer to a request, tried again when it stays away.

        landed: asked before another try, gives the answer if the server has done it in
        spite of all. Raises Refused for what the caller may expect (a missing key, a
        precondition), StoreProblem for everything else.
        """
        for number in range(1, TRIES + 1):
            try:
                return self._once(operation, parameters)
            except Unanswered as problem:
                if landed is not None and number < TRIES:
                    done = self._looked(landed)
                    if done is not None:
                        return done
                if number == TRIES:
                    raise self._unreachable(str(problem)) from None
                time.sleep(PAUSE_S * 2 ** (number - 1))
            except Refused as refusal:
                if refusal.code == "NoSuchBucket":
                    raise self.missing("no such bucket") from None
                if refusal.code in GONE | CHANGED or refusal.status in (404, 412, 416):
                    raise
                raise self._problem(refusal, needed) from None
        raise AssertionError("unreachable")

    def pages(self, operation: str, items: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The items of a listing, page by page."""
        following = {
            "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
            "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
            "list_multipart_uploads": {
                "KeyMarker": "NextKeyMarker",
                "UploadIdMarker": "NextUploadIdMarker",
            },
        }[operation]
        while True:
            answer = self.ask(operation, **parameters)
            yield from answer.get(items) or ()
            if not answer.get("IsTruncated"):
                return
            parameters |= {
                name: answer[source] for name, source in following.items() if answer.get(source)
            }

    def presigned(self, name: str, seconds: int) -> str:
        """An address that reads one object for so long, without credentials. Never log it."""
        parameters = {"Bucket": self.options.bucket, "Key": self.key(name)}
        client = self._connected()
        found = client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
        return str(found)

    def _looked(self, landed: Callable[[], Any]) -> Any:
        try:
            return landed()
        except (Refused, StoreProblem):
            return None

    def _once(self, operation: str, parameters: dict[str, Any]) -> Any:
        from botocore import exceptions, parsers

        client = self._connected()
        names = dict(parameters)
        if "Key" in names:
            names["Key"] = self.key(names["Key"])
        if "Prefix" in names:
            names["Prefix"] = self.key(names["Prefix"])
        try:
            return getattr(client, operation)(Bucket=self.options.bucket, **names)
        except exceptions.ClientError as error:
            found = error.response
            status = int(found.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code = str(found.get("Error", {}).get("Code", status))
            if code in _PASSING or (status >= 500 and code not in _FULL and status != 507):
                raise Unanswered(code) from None
            raise Refused(code, status) from None
        except (exceptions.HTTPClientError, parsers.ResponseParserError) as error:
            # Only its kind: the text can repeat a whole request.
            raise Unanswered(type(error).__name__) from None
        except exceptions.BotoCoreError as error:
            raise self._unreachable(type(error).__name__) from None

    def _connected(self) -> Any:
        options = self.options
        who = replace(options, bucket="", prefix="", part=0, redirects=False)
        with _clients.lock:
            client = _clients.made.get(who)
            if client is None:
                client = _clients.made[who] = self._made()
            return client

    def _made(self) -> Any:
        import boto3
        from botocore.config import Config

        for name in ("boto3", "botocore", "urllib3"):  # at debug level they show headers
            logging.getLogger(name).setLevel(logging.WARNING)
        options = self.options
        if options.ca and not Path(options.ca).is_file():
            raise StoreUnusable(
                "The CA of the object storage can't be read.",
                where=options.ca,
                expected="a PEM file",
                got="none",
                next_step="Set SLIPWAY_S3_CA to a file that exists.",
            )
        if not options.access_key or not options.secret_key:
            # boto3 would look in ~/.aws, and ask the instance's metadata service.
            raise self._problem(Refused("no credentials", 403), 0)
        try:
            return boto3.session.Session(
                aws_access_key_id=options.access_key,
                aws_secret_access_key=options.secret_key,
            ).client(
                "s3",
                endpoint_url=options.endpoint,
                region_name=options.region,
                verify=options.ca or None,
                config=Config(
                    connect_timeout=CONNECT_S,
                    read_timeout=READ_S,
                    retries={"total_max_attempts": 1},
                    max_pool_connections=256,
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    signature_version="s3v4",
                    s3={"addressing_style": "virtual" if options.style == "virtual" else "path"},
                ),
            )
        except ValueError:
            raise self._unreachable("an endpoint that can't be used") from None

    def _unreachable(self, got: str) -> StoreUnusable:
        return StoreUnusable(
            "The object storage doesn't answer.",
            code="store-unreachable",
            where=self.options.where,
            expected="answers from an S3 server",
            got=got,
            next_step="Check that it's running, SLIPWAY_S3_ENDPOINT and the network. "
            "What was interrupted resumes.",
        )

    def _problem(self, refusal: Refused, needed: int) -> StoreProblem:
        where = self.options.where
        if refusal.code in _FULL or refusal.status == 507:
            return StoreFull(where, needed=needed, free=None)
        if refusal.code in _SKEWED:
            return StoreUnusable(
                "The clock of this machine and that of the object storage differ too much.",
                where=where,
                expected="at most 15 minutes apart",
                got=refusal.code,
                next_step="Set both clocks by NTP.",
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

    def missing(self, got: str) -> StoreUnusable:
        """The store isn't where the settings say."""
        return StoreUnusable(
            "The object storage has no store of Slipway there.",
            code="store-missing",
            where=self.options.where,
            expected="a bucket with an object SLIPWAY-STORE below the prefix",
            got=got,
            next_step="Check SLIPWAY_S3_BUCKET and SLIPWAY_S3_PREFIX. If its images are lost, put "
            "an empty object SLIPWAY-STORE there: the next import downloads them again.",
        )
