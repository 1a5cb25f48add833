# SPDX-License-Identifier: Apache-2.0
"""``describe/``: the description that stock clients build their commands from.

Each detail was found by breaking it on real clients (rule: rest-describe).
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable

from flask import Response

from webapp.api.v2.answers import exactly_json
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource, root
from webapp.api.v2.table import RESOURCES

TITLE = "Slipway's REST API 2.0: boot sources, selections and images for MAAS clients."


def describe(call: ActionCall) -> Response:
    """Describe the API."""
    address = root()
    document = description(lambda path: {"path": path, "uri": address + path})
    # If the type has a charset, stock command lines refuse to log in.
    return exactly_json({**document, "hash": api_hash()})


@functools.cache
def api_hash() -> str:
    """A digest of the description without addresses; it changes when the API does."""
    document = description(lambda path: {"path": path})
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def description(address: Callable[[str], dict[str, str]]) -> dict[str, object]:
    """The document; ``address`` gives the address of a path."""
    return {
        "doc": TITLE,
        "resources": [_resource(resource, address) for resource in RESOURCES],
        "handlers": [],
    }


def _resource(resource: Resource, address: Callable[[str], dict[str, str]]) -> dict[str, object]:
    handler = {
        "name": resource.name,
        "doc": resource.doc,
        "params": list(resource.params),
        "actions": [_action(action) for action in resource.actions],
        **address(resource.path),
    }
    return {
        "name": resource.name,
        "auth": None if resource.is_public else handler,
        "anon": handler if resource.is_public else None,
    }


def _action(action: Action) -> dict[str, object]:
    return {
        "name": action.name,
        "method": action.method,
        "op": action.op or None,
        "restful": not action.op,
        "doc": inspect.getdoc(action.run),
    }


DESCRIBE = Resource(
    "describe",
    f"{API}/describe/",
    "The description of this API.",
    (Action("read", "GET", describe, right=None),),
)
