# SPDX-License-Identifier: Apache-2.0
"""Calls ``/api/v1``: in this process, or over HTTP with ``--url``.

A token is read from the environment or from a file, never from the command
line, where every user of the machine could see it.
"""

from __future__ import annotations

import functools
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import urlencode, urljoin

import click

from webapp.errors import InvalidFields, Problem

if TYPE_CHECKING:
    from requests import PreparedRequest

API = "/api/v1"
URL, TOKEN, TOKEN_FILE = "SLIPWAY_URL", "SLIPWAY_TOKEN", "SLIPWAY_TOKEN_FILE"
CACERT = "SLIPWAY_CACERT"
CONNECT_S, ANSWER_S = 10, 300
F = TypeVar("F", bound=Callable[..., Any])


class ApiProblem(Problem):
    """What the server refused, in the server's words."""

    code = "api"

    def __init__(self, body: Mapping[str, Any], status: int) -> None:
        super().__init__(
            str(body.get("detail") or f"The server answered {status}."),
            code=str(body.get("code") or "api"),
            where=str(body.get("where") or ""),
            expected=str(body.get("expected") or ""),
            got=str(body.get("got") or ""),
            next_step=str(body.get("next_step") or ""),
        )
        self.status = status
        self.fields: dict[str, list[str]] = dict(body.get("errors") or {})


class Unreachable(Problem):
    """No answer from the address."""

    code = "api-unreachable"


@dataclass(frozen=True)
class Answer:
    """What came back. headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None without one."""
        return json.loads(self.body) if self.body else None


class Transport(Protocol):
    """Carries one request."""

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """Raises Unreachable."""
        ...


class Remote:
    """Over HTTP, with a bearer token. cacert: trust only these CAs for HTTPS."""

    def __init__(self, url: str, token: str, cacert: Path | None = None) -> None:
        import requests

        self._base = url.rstrip("/") + "/"
        self._cacert = _checked_ca(cacert) if cacert is not None else None
        self._session = requests.Session()
        # As ``auth``, since requests prefers a login from ~/.netrc to a header.
        self._session.auth = partial(_signed, token=token)

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """See Transport."""
        import requests

        try:
            found = self._session.request(
                method,
                urljoin(self._base, target.lstrip("/")),
                headers=headers,
                data=body or None,
                timeout=(CONNECT_S, ANSWER_S),
                allow_redirects=False,
                verify=self._cacert,  # None: as the environment sets, else the usual CAs
            )
        except requests.exceptions.SSLError as error:
            raise _tls_problem(error, self._base) from None
        except requests.RequestException as error:
            raise Unreachable(
                "Slipway doesn't answer.",
                where=self._base,
                got=type(error).__name__,
                next_step=f"Check the address ({URL} or --url), and that Slipway is running there.",
            ) from None
        return Answer(found.status_code, _lower(found.headers.items()), found.content)


def _signed(request: PreparedRequest, token: str) -> PreparedRequest:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _tls_problem(error: Exception, where: str) -> Problem:
    """A TLS failure in words; Unreachable if trying again may help."""
    from webapp.fetch.problems import translate

    found = translate(error, where)
    kind = Unreachable if found.is_temporary else Problem
    next_step = found.next_step.replace("set the CA file", "set the CA file (--cacert)")
    return kind(
        found.what, where=where, expected=found.expected, got=found.got, next_step=next_step
    )


def _checked_ca(path: Path) -> str:
    import ssl

    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise Problem(
            "The CA file can't be used.",
            where=str(path),
            expected="CA certificates in PEM format",
            got=error.strerror or type(error).__name__,
        ) from None
    return str(path)


class Local:
    """In this process, through the same endpoints, as the administrator of this machine."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """See Transport."""
        from werkzeug.test import EnvironBuilder, run_wsgi_app

        from webapp.api.v1.callers import LOCAL

        environ = EnvironBuilder(
            path=target, method=method, headers=list(headers.items()), input_stream=io.BytesIO(body)
        ).get_environ()
        environ["CONTENT_LENGTH"] = str(len(body))
        environ[LOCAL] = True
        pieces, status, found = run_wsgi_app(self._app, environ, buffered=True)
        return Answer(int(status.split()[0]), _lower(found.items()), b"".join(pieces))


class Api:
    """Calls that give JSON or raise a Problem."""

    def __init__(self, transport: Transport, *, is_local: bool) -> None:
        self._transport = transport
        self.is_local = is_local

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] = {},
        query: Mapping[str, Any] = {},
    ) -> Any:
        """One call below ``/api/v1``; raises ApiProblem, Unreachable."""
        sent = {"User-Agent": "slipway/cli", **headers}
        raw = b""
        if body is not None:
            raw = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        return self.send(method, API + path + _query(query), sent, raw).json()

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """A request without changes; raises as ``call`` does."""
        answer = self._transport.send(method, target, headers, body)
        if answer.status >= 300:
            raise _problem(answer)
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """One GET below ``/api/v1``; raises as ``call`` does."""
        return self.call("GET", path, query=query)

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every entry of a list, page by page."""
        cursor: Any = None
        while True:
            part = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            yield from part["items"]
            cursor = part.get("next")
            if cursor is None:
                return


def with_api(command: F) -> F:
    """Give a command the options of ``with_address``, and an ``Api`` as ``api``."""

    @with_address
    @functools.wraps(command)
    def connected(
        url: str, token_file: Path | None, cacert: Path | None, *args: Any, **kwargs: Any
    ) -> Any:
        with ExitStack() as stack:
            api = connect(url, token_file, cacert, stack)
            return command(*args, api=api, **kwargs)

    return cast(F, connected)


def with_address(command: F) -> F:
    """Give a command ``--url``, ``--token-file``, ``--cacert`` and ``--json``."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--cacert",
            envvar=CACERT,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=f"CAs to trust for HTTPS there [{CACERT}].",
        ),
        click.option(
            "--token-file",
            envvar=TOKEN_FILE,
            type=click.Path(dir_okay=False, path_type=Path),
            help=f"File with the token [{TOKEN_FILE}], unless {TOKEN} holds it.",
        ),
        click.option(
            "--url",
            envvar=URL,
            default="",
            metavar="URL",
            help=f"Slipway on another machine [{URL}].",
        ),
    ):
        command = option(command)
    return command


def connect(url: str, token_file: Path | None, cacert: Path | None, stack: ExitStack) -> Api:
    """An Api on this machine, or on another one if there is a url."""
    if url:
        return Api(Remote(_checked_url(url), _token(token_file), cacert), is_local=False)
    from webapp.cli.context import local_app

    return Api(Local(stack.enter_context(local_app())), is_local=True)


def _checked_url(url: str) -> str:
    if not url.startswith(("http://", "https://")) or "@" in url:
        raise click.UsageError(
            "--url: expected http://HOST:5240/ or https://HOST/, without a user or password"
        )
    return url


def _token(path: Path | None) -> str:
    if path is not None:
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(
                "The token file can't be read.", where=str(path), got=type(error).__name__
            ) from None
    token = os.environ.get(TOKEN, "")
    if not token:
        raise click.UsageError(
            f"a token is needed: set {TOKEN} or use --token-file. "
            "To create one, run `slipway token create NAME` on that machine"
        )
    return token


def _problem(answer: Answer) -> Problem:
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = {}
    if not isinstance(body, dict) or "title" not in body:
        words = f"The server answered {answer.status} and doesn't seem to be Slipway."
        body = {"detail": words, "next_step": f"Check the address ({URL} or --url)."}
    problem = ApiProblem(body, answer.status)
    if problem.fields:
        return InvalidFields(problem.fields)
    return problem


def _query(query: Mapping[str, Any]) -> str:
    pairs = [
        (name, str(value).lower() if isinstance(value, bool) else value)
        for name, value in query.items()
        if value not in (None, "")
    ]
    return f"?{urlencode(pairs)}" if pairs else ""


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}
