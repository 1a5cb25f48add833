# SPDX-License-Identifier: Apache-2.0
"""``version/``: what clients request first."""

from __future__ import annotations

from flask import Response

from webapp.api.v2.answers import as_json
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.services.sources.announcing import MAAS_VERSION

# The version of the API, not Slipway's: clients compare it (rule: rest-version).
API_VERSION = MAAS_VERSION
# Clients may sign in with a password (see account.py).
CAPABILITIES = ["authenticate-api"]


def read_version(call: ActionCall) -> Response:
    """Read version and capabilities."""
    return as_json({"version": API_VERSION, "subversion": "", "capabilities": CAPABILITIES})


RESOURCES = (
    Resource(
        "VersionHandler",
        f"{API}/version/",
        "The version of this API.",
        (Action("read", "GET", read_version, right=None),),
    ),
)
