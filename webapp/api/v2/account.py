# SPDX-License-Identifier: Apache-2.0
"""``account/``: your API keys, and a key for a name and password (rule: rest-login)."""

from __future__ import annotations

from flask import Response, request

from webapp.api.v2.answers import as_json, deleted
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.errors import InvalidFields
from webapp.models import User
from webapp.services.accounts import keys, sessions, two_factor


def create_authorisation_token(call: ActionCall) -> Response:
    """Create an API key

    The key is shown only once. It ends with the key that it's created with. From an account
    with a second factor, send a code in the header Slipway-Code.

    :param name: Optional. What the key is for.
    :type name: String
    """
    name = call.arguments.text("name", "a script")
    _demand_code(call.caller)
    return _as_key(keys.create_api_key(call.caller, name, parent_key=call.key), name)


def delete_authorisation_token(call: ActionCall) -> Response:
    """Revoke one of your API keys

    It stops working immediately.

    :param token_key: Required. The middle part of the key.
    :type token_key: String
    """
    token = call.arguments.text("token_key")
    if not token:
        raise InvalidFields({"token_key": ["This field is required."]})
    keys.revoke_token(call.caller, token)
    return deleted()


def authenticate(call: ActionCall) -> Response:
    """Create an API key for a user name and password, as libmaas requests one."""
    arguments = call.arguments
    user = sessions.authenticate(
        arguments.text("username"),
        arguments.text("password"),
        address=request.remote_addr or "",
    )
    _demand_code(user)
    name = arguments.text("consumer")
    return _as_key(keys.create_login_key(user, name), name)


def _demand_code(user: User) -> None:
    code = request.headers.get(two_factor.CODE_HEADER, "")
    two_factor.demand_code(user, code, address=request.remote_addr or "")


def _as_key(key: str, name: str) -> Response:
    consumer, token, secret = key.split(":")
    return as_json(
        {
            "consumer_key": consumer,
            "token_key": token,
            "token_secret": secret,
            "name": name,
        }
    )


RESOURCES = (
    Resource(
        "AccountHandler",
        f"{API}/account/",
        "Your own API keys.",
        (
            Action(
                "create_authorisation_token",
                "POST",
                create_authorisation_token,
                op="create_authorisation_token",
            ),
            Action(
                "delete_authorisation_token",
                "POST",
                delete_authorisation_token,
                op="delete_authorisation_token",
            ),
        ),
    ),
)
# Not below the API's path, and not described.
AUTHENTICATE = Resource(
    "authenticate",
    "/MAAS/accounts/authenticate/",
    "A key for a password.",
    (Action("authenticate", "POST", authenticate, right=None),),
)
