# SPDX-License-Identifier: Apache-2.0
"""Read the arguments of a call from whatever body a client sends (spec api, section 4).

Stock clients send multipart bodies whose every part is base64; Werkzeug does
not decode that, so bodies are read here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from webapp.errors import Problem

MAX_BODY = 2 << 20  # a keyring is the largest thing that comes this way
MAX_PARTS = 1000


class BodyProblem(Problem):
    """The request's body cannot be read."""

    code = "body-unreadable"


@dataclass
class Arguments:
    """Texts and files of one call; an empty text counts as not given."""

    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, bytes] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)  # also those sent empty

    def add(self, name: str, value: str) -> None:
        """Take one text; what is empty is only remembered as named."""
        self.named.add(name)
        if value:
            self.texts[name].append(value)

    def text(self, name: str, default: str = "") -> str:
        """The last value of a name."""
        values = self.texts.get(name)
        return values[-1] if values else default

    def values(self, name: str) -> list[str] | None:
        """Every value of a name, or None when it was not given."""
        return list(self.texts[name]) if self.texts.get(name) else None


def read_arguments(request: Request) -> Arguments:
    """Query and body together; raises BodyProblem for a body that makes no sense."""
    arguments = Arguments()
    for name, value in request.args.items(multi=True):
        arguments.add(name, value)
    request.max_content_length = MAX_BODY
    body = request.get_data(cache=False)
    kind, options = parse_options_header(request.headers.get("Content-Type", ""))
    if kind == "multipart/form-data":
        _read_multipart(body, options.get("boundary", ""), arguments)
    elif kind == "application/x-www-form-urlencoded":
        for name, value in parse_qsl(
            _utf8(body), keep_blank_values=True, max_num_fields=MAX_PARTS
        ):
            arguments.add(name, value)
    elif kind == "application/json":
        _read_json(body, arguments)
    return arguments


def _read_multipart(body: bytes, boundary: str, arguments: Arguments) -> None:
    marker = b"--" + boundary.encode()
    if not boundary:
        raise BodyProblem("The multipart body has no boundary.")
    if body.replace(marker, b"").strip(b"-\r\n") == b"":
        return  # libmaas: a body without any part means no arguments
    decoder = MultipartDecoder(marker[2:], max_form_memory_size=MAX_BODY, max_parts=MAX_PARTS)
    decoder.receive_data(body if body.endswith(b"\r\n") else body + b"\r\n")
    decoder.receive_data(None)
    part: Field | File | None = None
    content = b""
    try:
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Field | File):
                part, content = event, b""
            elif isinstance(event, Data) and part is not None:
                content += event.data
                if not event.more_data:
                    _take(part, content, arguments)
    except (ValueError, binascii.Error) as error:
        raise BodyProblem(
            "The multipart body cannot be read.",
            expected="parts as RFC 7578 writes them, plain or base64",
            got=str(error),
        ) from error


def _take(part: Field | File, content: bytes, arguments: Arguments) -> None:
    content = _transfer_decoded(part.headers, content)
    if isinstance(part, File):
        arguments.named.add(part.name)
        if content:
            arguments.files[part.name] = content
    else:
        arguments.add(part.name, _utf8(content))


def _transfer_decoded(headers: Headers, content: bytes) -> bytes:
    if headers.get("Content-Transfer-Encoding", "").strip().lower() != "base64":
        return content
    return base64.b64decode(b"".join(content.split()), validate=True)


def _read_json(body: bytes, arguments: Arguments) -> None:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BodyProblem("The body is not JSON.", got=str(error)) from error
    if not isinstance(document, dict):
        raise BodyProblem("The body must be a JSON object.")
    for name, value in document.items():
        for one in value if isinstance(value, list) else [value]:
            arguments.add(name, "" if one is None else one if isinstance(one, str) else str(one))


def _utf8(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BodyProblem("The body is not UTF-8 text.") from error
    if "\0" in text:
        raise BodyProblem("The body holds a NUL character.")
    return text
