# SPDX-License-Identifier: Apache-2.0
"""Identify callers by their OAuth 1.0 keys (rule: rest-keys)."""

from __future__ import annotations

from flask import Request
from oauthlib.oauth1.rfc5849 import utils as oauth

from webapp.errors import Problem
from webapp.models import User
from webapp.services.accounts import keys

MAX_HEADER = 4096


class KeyRefused(Problem):
    """The request has no API key, or one that isn't valid."""

    code = "key-refused"


def identify(request: Request) -> User:
    """The user whose key signed the request. Raises KeyRefused.

    Only oauthlib's parser is used: its endpoint wants the secret in clear, and
    nonces and key lengths that stock clients do not keep to.
    """
    if "Authorization" not in request.headers:
        raise KeyRefused("No API key.")
    fields = _fields(request.headers["Authorization"])
    consumer, token = fields.get("oauth_consumer_key", ""), fields.get("oauth_token", "")
    # PLAINTEXT is the consumer's secret, always empty here, "&", the token's secret,
    # each escaped once more (RFC 5849, 3.4.4).
    empty, ampersand, secret = fields.get("oauth_signature", "").partition("&")
    user = None
    if consumer and token and ampersand and not empty:
        user = keys.check_api_key(consumer, token, oauth.unescape(secret))
    if user is None:
        raise KeyRefused("Invalid API key.")
    return user


def _fields(header: str) -> dict[str, str]:
    if len(header) > MAX_HEADER:
        return {}
    try:
        pairs = oauth.parse_authorization_header(header)
    except ValueError:
        return {}
    return {name: oauth.unescape(value) for name, value in pairs}
