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
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from webapp.storage.bucket_problems import (
    SKEWED,
    Refused,
    Unanswered,
    endless,
    refused,
    unreachable,
)
from webapp.storage.errors import StoreProblem, StoreUnusable

TRIES = 4
PAUSE_S = 0.2  # before the second try; doubled before each further one
BUSY = 5  # times as long where the server says that it's busy
PATIENCE_S = 50  # no further try after it: with its time limits, the last ends within a lease
CONNECT_S = 10
SKEW_S = 900  # what S3 allows between two clocks
READ_S = 60  # without a byte of an answer
MIN_PART = 5 << 20  # bytes; S3 takes no smaller part but the last
MAX_PARTS = 10_000


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
        return f"{self.endpoint.rstrip('/')}/{self.bucket}/{self.prefix}".rstrip("/")


# Slipway's settings say where to go and as whom: not ~/.aws, and no AWS_PROFILE.
_NO_FILES = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


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
        where, until = self.options.where, time.monotonic() + PATIENCE_S
        for number in range(1, TRIES + 1):
            try:
                return self._once(operation, parameters)
            except Unanswered as problem:
                is_last = number == TRIES or time.monotonic() > until
                if landed is not None:
                    done = self._looked(landed)
                    if done is not None:
                        return done
                if is_last:
                    raise unreachable(where, problem) from None
                time.sleep(PAUSE_S * 2 ** (number - 1) * (BUSY if problem.is_busy else 1))
            except Refused as refusal:
                if refusal.is_expected(operation) and refusal.code != "NoSuchBucket":
                    raise
                raise refused(where, refusal, needed) from None
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
            found = {name: answer[key] for name, key in following.items() if answer.get(key)}
            if found.items() <= parameters.items():
                raise endless(self.options.where, operation)
            parameters |= found

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
            refusal = _refusal_of(error.response)
            if refusal.is_passing:
                raise Unanswered(refusal.code, is_busy=refusal.is_busy) from None
            raise refusal from None
        except (exceptions.HTTPClientError, parsers.ResponseParserError) as error:
            # Only its kind: the text can repeat a whole request.
            raise Unanswered(type(error).__name__) from None
        except exceptions.BotoCoreError as error:
            raise unreachable(self.options.where, Unanswered(type(error).__name__)) from None

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
        from botocore.session import Session

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
            raise refused(options.where, Refused("no credentials", 403), 0)
        try:
            return boto3.session.Session(
                aws_access_key_id=options.access_key,
                aws_secret_access_key=options.secret_key,
                botocore_session=Session(session_vars=_NO_FILES),
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
            raise unreachable(options.where, Unanswered("an endpoint that can't be used")) from None


def _refusal_of(answer: dict[str, Any]) -> Refused:
    found = answer.get("ResponseMetadata", {})
    status = int(found.get("HTTPStatusCode", 0))
    code = str(answer.get("Error", {}).get("Code", status))
    if status == 403 and code == "403" and _is_skewed(found.get("HTTPHeaders", {}).get("date")):
        code = SKEWED  # the answer to a HEAD has no body that could say so
    return Refused(code, status)


def _is_skewed(date: str | None) -> bool:
    try:
        found = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return False
    return abs(found - time.time()) > SKEW_S
