# SPDX-License-Identifier: Apache-2.0
"""Multipart bodies as stock clients build them: every part base64, or no part at all.

Werkzeug's form parser leaves Content-Transfer-Encoding alone, so base64 would
arrive as text. Only its decoder is used here (rule: rest-arguments).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from webapp.errors import Problem

MAX_PARTS = 1000
_BOUNDARY = re.compile(r"[\x20-\x7e]{1,200}")
_PLAIN = ("", "7bit", "8bit", "binary")


class BodyProblem(Problem):
    """The request's body can't be read."""

    code = "body-unreadable"


@dataclass(frozen=True)
class Part:
    """One part, decoded."""

    name: str
    is_file: bool
    content: bytes


def parts(body: bytes, boundary: str) -> Iterator[Part]:
    """Every part of a body. Raises BodyProblem."""
    if not _BOUNDARY.fullmatch(boundary):
        raise _unreadable("no usable boundary")
    marker = boundary.encode()
    if _is_partless(body, marker):
        return  # what libmaas sends where it has no arguments
    decoder = MultipartDecoder(marker, max_parts=MAX_PARTS)
    # The last boundary comes without the line's end that the decoder waits for.
    decoder.receive_data(body + b"\r\n")
    decoder.receive_data(None)
    try:
        yield from _decoded(decoder)
    except (ValueError, RequestEntityTooLarge) as error:
        reason = str(error) if isinstance(error, ValueError) else f"more than {MAX_PARTS} parts"
        raise _unreadable(reason) from error


def _is_partless(body: bytes, marker: bytes) -> bool:
    """Whether there is nothing between the boundaries, or nothing at all."""
    *before, end = body.split(b"--" + marker)
    return not b"".join(before).strip() and end.strip() == (b"--" if before else b"")


def _decoded(decoder: MultipartDecoder) -> Iterator[Part]:
    part: Field | File | None = None
    content = bytearray()
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, Field | File):
            part = event
            content.clear()
        elif isinstance(event, Data) and part is not None:
            content += event.data
            if not event.more_data:
                yield _part(part, bytes(content))


def _part(event: Field | File, content: bytes) -> Part:
    if not event.name:
        raise ValueError("a part without a name")
    encoding = event.headers.get("Content-Transfer-Encoding", "").strip().lower()
    if encoding == "base64":
        content = base64.b64decode(b"".join(content.split()), validate=True)
    elif encoding == "quoted-printable":
        content = binascii.a2b_qp(content)
    elif encoding not in _PLAIN:
        raise ValueError(f"Content-Transfer-Encoding {encoding[:40]!r}")
    return Part(event.name, isinstance(event, File), content)


def _unreadable(got: str) -> BodyProblem:
    return BodyProblem(
        "The multipart body can't be read.",
        expected="parts as RFC 7578 defines them, plain or base64",
        got=got,
    )
