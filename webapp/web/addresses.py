# SPDX-License-Identifier: Apache-2.0
"""Addresses of other ports, for URLs that are shown."""

from __future__ import annotations

from flask import request

from webapp.extensions import settings


def rack_url() -> str:
    """The rack's address; a guess from this page's host where no setting names it."""
    if settings().rack_url:
        return settings().rack_url
    host = request.host.rpartition(":")[0] or request.host
    return f"http://{host}:{settings().rack_bind.rpartition(':')[2]}/"
