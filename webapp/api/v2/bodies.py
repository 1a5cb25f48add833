# SPDX-License-Identifier: Apache-2.0
"""Take a request's body in, whole and bounded, or let it go by.

A client that's still sending doesn't read the answer, so a refused body is read
first (rule: rest-read-the-body).
"""

from __future__ import annotations

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from webapp.errors import Problem
from webapp.http.bodies import Incoming, drain

__all__ = ["MAX_BODY", "BodyTooLarge", "Incoming", "drain", "read"]

MAX_BODY = 2 << 20  # a keyring is the largest thing that comes this way


class BodyTooLarge(Problem):
    """The request's body is larger than anything that is taken here."""

    code = "body-too-large"


def read(request: Request, largest: int = MAX_BODY) -> bytes:
    """The whole body. Raises BodyTooLarge, after letting a reasonable rest go by."""
    request.max_content_length = largest
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        drain(request)
        raise BodyTooLarge(f"Send at most {largest >> 20} MiB.") from None
