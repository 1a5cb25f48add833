# SPDX-License-Identifier: Apache-2.0
"""Identify callers by their OAuth 1.0 keys: PLAINTEXT and HMAC-SHA1 (rule: rest-keys).

Signatures are computed by oauthlib. Its endpoint isn't used: it asks for what stock
clients don't send, and knows only one of the ways they collect parameters.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from urllib.parse import parse_qsl, quote

from flask import Request
from oauthlib.oauth1.rfc5849 import signature as oauth_signature
from oauthlib.oauth1.rfc5849 import utils as oauth

from webapp import numbers
from webapp.api.v2.arguments import BODY_METHODS, FORM, Arguments
from webapp.errors import Problem
from webapp.models import APIKey
from webapp.services.accounts import keys
from webapp.services.system import secrets

MAX_HEADER = 4096
MAX_NONCE = 200
Pairs = list[tuple[str, str]]


class KeyRefused(Problem):
    """The request has no API key, or one that isn't valid."""

    code = "key-refused"


def identify(request: Request, host: str, arguments: Callable[[], Arguments]) -> APIKey:
    """The key that signed the request, of an active user. Raises KeyRefused.

    host: scheme and host as the client sees them. arguments: reads the body, once.
    """
    header = _header(request.headers.get("Authorization", ""))
    query = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)
    signed = _Signed(request, host, header, query, arguments)
    fields = signed.fields()
    if not fields and "Authorization" not in request.headers:
        raise KeyRefused("No API key.")
    method = fields.get("oauth_signature_method", "PLAINTEXT").upper()
    if method == "PLAINTEXT":
        return _by_secret(fields)
    if method == "HMAC-SHA1":
        return _by_hmac(signed, fields)
    raise KeyRefused(
        f"Signature method {method[:40]} is not supported.",
        next_step="Sign with HMAC-SHA1 or PLAINTEXT.",
    )


def _by_secret(fields: dict[str, str]) -> APIKey:
    # PLAINTEXT is the consumer's secret, always empty here, "&", the token's secret,
    # each escaped once more (RFC 5849, 3.4.4).
    empty, ampersand, secret = fields.get("oauth_signature", "").partition("&")
    consumer, token = fields.get("oauth_consumer_key", ""), fields.get("oauth_token", "")
    key = None
    if ampersand and not empty:
        key = keys.check_api_key(consumer, token, oauth.unescape(secret))
    if key is None:
        raise KeyRefused("Invalid API key.")
    return key


def _by_hmac(signed: _Signed, fields: dict[str, str]) -> APIKey:
    key = keys.find(fields.get("oauth_consumer_key", ""), fields.get("oauth_token", ""))
    if key is None:
        raise KeyRefused("Invalid API key.")
    timestamp, nonce = _freshness(fields)
    secret = _secret_of(key)
    sent = fields.get("oauth_signature", "").encode()
    if not any(hmac.compare_digest(sent, _hmac(base, secret)) for base in signed.base_strings()):
        raise KeyRefused(
            "Invalid signature.",
            next_step="Check the key. Behind a proxy, pass the Host header or use PLAINTEXT.",
        )
    if not keys.spend(key, timestamp, nonce):
        raise KeyRefused("This nonce was used before.", next_step="Sign each request again.")
    return key


def _hmac(base: str, secret: str) -> bytes:
    signer = SimpleNamespace(client_secret="", resource_owner_secret=secret)
    sign: Callable[[str, object], str] = oauth_signature.sign_hmac_sha1_with_client
    signature = sign(base, signer)
    return signature.encode()


def _freshness(fields: dict[str, str]) -> tuple[int, str]:
    """Timestamp and nonce. Raises KeyRefused for a request that's too old or too new."""
    timestamp = numbers.whole(fields.get("oauth_timestamp", ""), digits=11)
    nonce = fields.get("oauth_nonce", "")
    if timestamp is None:
        raise KeyRefused("oauth_timestamp must be seconds since 1970.")
    if not nonce or len(nonce) > MAX_NONCE or not nonce.isprintable():
        raise KeyRefused(f"oauth_nonce must be 1 to {MAX_NONCE} printable characters.")
    skew = timestamp - int(time.time())
    if abs(skew) > keys.MAX_SKEW_S:
        side = "ahead of" if skew > 0 else "behind"
        raise KeyRefused(
            f"The request's timestamp is {abs(skew)} s {side} this server's clock.",
            expected=f"at most {keys.MAX_SKEW_S} s",
            got=f"{abs(skew)} s",
            next_step="Set both clocks, e.g. by NTP.",
        )
    return timestamp, nonce


def _secret_of(key: APIKey) -> str:
    try:
        secret = secrets.unseal(key.secret_sealed)
    except secrets.SecretProblem:
        secret = ""
    if not secret:
        raise KeyRefused(
            "This API key's secret isn't stored, so it only works with PLAINTEXT signatures.",
            next_step="Sign one request with PLAINTEXT, which stores it, or create a new key.",
        )
    return secret


class _Signed:
    """What a client may have signed, and in which ways."""

    def __init__(
        self,
        request: Request,
        host: str,
        header: Pairs,
        query: Pairs,
        arguments: Callable[[], Arguments],
    ) -> None:
        self._request, self._host = request, host
        self._header, self._query, self._arguments = header, query, arguments

    def fields(self) -> dict[str, str]:
        """The oauth_ parameters: of the header, else of the query, else of a form."""
        for pairs in self._places():
            if found := {name: value for name, value in pairs if name.startswith("oauth_")}:
                return found
        return {}

    def base_strings(self) -> Iterator[str]:
        """Every string that a client may have signed; the body is read last, if at all."""
        uris = list(dict.fromkeys(self._uris()))
        for pairs in self._parameters():
            params = [(n, v) for n, v in pairs if n not in ("oauth_signature", "realm")]
            escaped = oauth_signature.normalize_parameters(params)
            for uri in uris:
                method = self._request.method
                yield oauth_signature.signature_base_string(method, uri, escaped)

    def _parameters(self) -> Iterator[Pairs]:
        """As RFC 5849 3.4.1.3 collects them, and as MAAS does: each name once.

        MAAS counts the arguments of every POST, and never those of a PUT.
        """
        yield self._header + self._query
        yield _once(self._header + self._query)
        if self._request.method in BODY_METHODS:
            arguments = self._arguments()
            if arguments.is_form:
                yield self._header + self._query + arguments.pairs
            yield _once(self._header + self._query + arguments.pairs)

    def _places(self) -> Iterator[Pairs]:
        yield self._header
        yield self._query
        if self._request.mimetype == FORM and self._request.method in BODY_METHODS:
            with suppress(Problem):  # a body that can't be read has no key in it
                yield self._arguments().pairs

    def _uris(self) -> Iterator[str]:
        """The address with either scheme, since a proxy may have ended TLS, as RFC and as typed."""
        raw = self._request.environ.get("RAW_URI") or self._request.environ.get("REQUEST_URI")
        path = str(raw or "").partition("?")[0]
        path = path if path.startswith("/") else quote(self._request.path)
        host = self._host.partition("://")[2]
        for scheme in ("http", "https"):
            yield oauth_signature.base_string_uri(f"{scheme}://{host}{path}")
            yield f"{scheme}://{host}{path}"


def _once(pairs: Iterable[tuple[str, str]]) -> Pairs:
    return list(dict(pairs).items())


def _header(header: str) -> Pairs:
    if len(header) > MAX_HEADER:
        return []
    try:
        pairs = oauth.parse_authorization_header(header)
    except ValueError:
        return []
    return [(name, oauth.unescape(value)) for name, value in pairs]
