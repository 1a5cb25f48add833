# SPDX-License-Identifier: Apache-2.0
"""Who calls: OAuth 1.0 PLAINTEXT keys ``consumer:token:secret`` (spec api, section 2)."""

from __future__ import annotations

from urllib.parse import unquote
from urllib.request import parse_keqv_list

from flask import Request
from werkzeug.http import parse_list_header

from webapp.models import User
from webapp.services import accounts

MAX_HEADER = 4096


def caller(request: Request) -> User | None:
    """The user whose key signed the request, or None. Order and realm do not matter.

    oauthlib's endpoint is not used here: it insists on lengths and on nonces
    that stock clients do not keep, and the check is one comparison.
    """
    fields = _fields(request.headers.get("Authorization", ""))
    consumer, token = fields.get("oauth_consumer_key", ""), fields.get("oauth_token", "")
    signature = unquote(fields.get("oauth_signature", ""))
    # PLAINTEXT: consumer secret (always empty here), "&", token secret.
    if not consumer or not token or not signature.startswith("&"):
        return None
    return accounts.check_api_key(consumer, token, signature[1:])


def _fields(header: str) -> dict[str, str]:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "oauth" or len(header) > MAX_HEADER:
        return {}
    pairs = [pair for pair in parse_list_header(rest) if "=" in pair]
    return {name: unquote(value) for name, value in parse_keqv_list(pairs).items()}
