# SPDX-License-Identifier: Apache-2.0
"""Identify callers by OAuth 1.0 PLAINTEXT keys (rule: rest-keys)."""

from __future__ import annotations

from flask import Request
from oauthlib.oauth1.rfc5849 import utils as oauth

from webapp.models import User
from webapp.services.accounts import users

MAX_HEADER = 4096


def caller(request: Request) -> User | None:
    """The user whose key signed the request, or None. Order and realm do not matter.

    Only oauthlib's parser is used: its endpoint wants the secret in clear, and
    nonces and key lengths that stock clients do not keep to.
    """
    fields = _fields(request.headers.get("Authorization", ""))
    consumer, token = fields.get("oauth_consumer_key", ""), fields.get("oauth_token", "")
    # PLAINTEXT is the consumer's secret, always empty here, "&", the token's secret,
    # each escaped once more (RFC 5849, 3.4.4).
    empty, ampersand, secret = fields.get("oauth_signature", "").partition("&")
    if not consumer or not token or empty or not ampersand:
        return None
    return users.check_api_key(consumer, token, oauth.unescape(secret))


def _fields(header: str) -> dict[str, str]:
    if len(header) > MAX_HEADER:
        return {}
    try:
        pairs = oauth.parse_authorization_header(header)
    except ValueError:
        return {}
    return {name: oauth.unescape(value) for name, value in pairs}
