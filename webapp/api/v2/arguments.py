# SPDX-License-Identifier: Apache-2.0
"""Read the arguments of a call from any kind of body (rule: rest-arguments)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.http import parse_options_header

from webapp.api.v2 import multipart
from webapp.api.v2.multipart import BodyProblem
from webapp.errors import Problem
from webapp.http.bodies import MAX_BODY_BYTES, drain, read
from webapp.streams import strictjson

BODY_METHODS = ("POST", "PUT", "PATCH")
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass
class Arguments:
    """Texts and files of a call; an empty text counts as left out.

    op: selects an action among those of a method, with underscores. pairs: every text of
    the body as it was sent, empty ones too. is_form: the body is urlencoded.
    """

    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, bytes] = field(default_factory=dict)
    op: str = ""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    is_form: bool = False

    def text(self, name: str, default: str = "") -> str:
        """The last value of a name."""
        values = self.texts.get(name)
        return values[-1] if values else default

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a name."""
        return tuple(self.texts.get(name, ()))

    def add_text(self, name: str, value: str) -> None:
        """Add a text. Raises BodyProblem for one that can't be stored."""
        if "\0" in value:
            raise BodyProblem("A text contains a NUL character.", where=name[:100])
        if value:
            self.texts[name].append(value)


def read_arguments(request: Request, max_bytes: int = MAX_BODY_BYTES) -> Arguments:
    """The arguments of a request: from the body for POST and PUT, else from the query.

    Raises BodyProblem or BodyTooLarge. A body that isn't expected is discarded.
    """
    arguments = Arguments()
    if request.method in BODY_METHODS:
        _read_body(read(request, max_bytes), request.headers.get("Content-Type", ""), arguments)
    else:
        drain(request)
        for name, value in request.args.items(multi=True):
            arguments.add_text(name, value)
    op = request.args.get("op") or arguments.text("op")
    arguments.op = op.replace("-", "_")  # as Go clients write them (rule: rest-go-clients)
    return arguments


def _read_body(body: bytes, content_type: str, arguments: Arguments) -> None:
    kind, options = parse_options_header(content_type)
    kind = kind.lower()
    if kind == MULTIPART:
        for part in multipart.parts(body, options.get("boundary", "")):
            if part.is_file and part.content:
                arguments.files[part.name] = part.content
            elif not part.is_file:
                arguments.pairs.append((part.name, _utf8(part.content)))
    elif kind == FORM:
        try:
            pairs = parse_qsl(
                _utf8(body), keep_blank_values=True, max_num_fields=multipart.MAX_PARTS
            )
        except ValueError as error:
            raise BodyProblem("The form has too many fields.") from error
        arguments.pairs, arguments.is_form = pairs, True
    elif kind == "application/json":
        _read_json(body, arguments)
    for name, value in arguments.pairs:
        arguments.add_text(name, value)


def _read_json(body: bytes, arguments: Arguments) -> None:
    """Read an object of texts, numbers, booleans, and lists of them."""
    try:
        document = strictjson.loads(body or b"{}", what="the body", max_depth=2)
    except Problem as problem:
        raise BodyProblem(
            "The body isn't valid JSON.", expected=problem.expected, got=problem.got
        ) from problem
    if not isinstance(document, dict):
        raise BodyProblem("The body isn't a JSON object.")
    for name, value in document.items():
        for one in value if isinstance(value, list) else [value]:
            arguments.add_text(name, _json_text(name, one))


def _json_text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Iterable):
        raise BodyProblem(
            "A value in the body is neither a text nor a list of texts.", where=name[:100]
        )
    return str(value)


def _utf8(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BodyProblem("A text in the body isn't UTF-8.") from error
