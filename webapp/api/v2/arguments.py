# SPDX-License-Identifier: Apache-2.0
"""Read the arguments of a call from whatever body a client sends (rule: rest-arguments)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.http import parse_options_header

from webapp.api.v2 import bodies, multipart
from webapp.api.v2.multipart import BodyProblem
from webapp.errors import Problem
from webapp.streams import strictjson

BODY_METHODS = ("POST", "PUT", "PATCH")
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass
class Arguments:
    """Texts and files of one call; what is sent empty counts as not given.

    op: which of several actions of one method is meant, with underscores.
    """

    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, bytes] = field(default_factory=dict)
    op: str = ""

    def text(self, name: str, default: str = "") -> str:
        """The last value of a name."""
        values = self.texts.get(name)
        return values[-1] if values else default

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a name."""
        return tuple(self.texts.get(name, ()))

    def add_text(self, name: str, value: str) -> None:
        """Take one text. Raises BodyProblem for what no database holds."""
        if "\0" in value:
            raise BodyProblem("A text holds a NUL character.", where=name[:100])
        if value:
            self.texts[name].append(value)


def read_arguments(request: Request, largest: int = bodies.MAX_BODY) -> Arguments:
    """The arguments of a request: of the body where the method has one, else of the query.

    Raises BodyProblem or BodyTooLarge. A body that nobody asked for is let go by.
    """
    arguments = Arguments()
    if request.method in BODY_METHODS:
        _read_body(
            bodies.read(request, largest), request.headers.get("Content-Type", ""), arguments
        )
    else:
        bodies.drain(request)
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
                arguments.add_text(part.name, _utf8(part.content))
    elif kind == FORM:
        try:
            pairs = parse_qsl(
                _utf8(body), keep_blank_values=True, max_num_fields=multipart.MAX_PARTS
            )
        except ValueError as error:
            raise BodyProblem("The form has too many fields.") from error
        for name, value in pairs:
            arguments.add_text(name, value)
    elif kind == "application/json":
        _read_json(body, arguments)


def _read_json(body: bytes, arguments: Arguments) -> None:
    """An object of texts, numbers, switches, and lists of them."""
    try:
        document = strictjson.loads(body or b"{}", what="the body", max_depth=2)
    except Problem as problem:
        raise BodyProblem(
            "The body is not JSON that can be used.", expected=problem.expected, got=problem.got
        ) from problem
    if not isinstance(document, dict):
        raise BodyProblem("The body is not a JSON object.")
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
        raise BodyProblem("A text in the body is not UTF-8.") from error
