# SPDX-License-Identifier: Apache-2.0
"""Take a request's body in, whole and bounded, or let it go by.

A client that is still sending reads no answer: whatever is refused is read
first (spec api, section 6).
"""

from __future__ import annotations

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from webapp.errors import Problem

MAX_BODY = 2 << 20  # a keyring is the largest thing that comes this way
MOST_DRAINED = 64 << 20  # who sends more than this is cut off
_CHUNK = 64 << 10


class BodyTooLarge(Problem):
    """The request's body is larger than anything that is taken here."""

    code = "body-too-large"


def read(request: Request) -> bytes:
    """The whole body. Raises BodyTooLarge, after letting a reasonable rest go by."""
    request.max_content_length = MAX_BODY
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        drain(request)
        raise BodyTooLarge(f"Send at most {MAX_BODY >> 20} MiB.") from None


def drain(request: Request) -> None:
    """Read and forget what the client sends, up to MOST_DRAINED bytes."""
    stream = request.environ["wsgi.input"]
    left = MOST_DRAINED
    if request.content_length is not None:
        left = min(left, request.content_length)
    elif not request.environ.get("wsgi.input_terminated"):
        return  # a stream without an end would be waited for
    try:
        while left > 0:
            got = stream.read(min(left, _CHUNK))
            if not got:
                return
            left -= len(got)
    except OSError:
        return  # the client went away; so does its answer
