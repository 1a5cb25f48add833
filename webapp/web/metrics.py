# SPDX-License-Identifier: Apache-2.0
"""``/metrics`` for Prometheus: off unless a token or networks are set, and then only for those."""

from __future__ import annotations

import hmac
import ipaddress

from flask import Blueprint, Response, request

from webapp.extensions import settings
from webapp.services.overview import metrics
from webapp.web.access import public

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@public
def read() -> Response:
    """Every figure in Prometheus's text format."""
    known = settings()
    if not known.metrics_token and not known.metrics_networks:
        return _refused("Metrics are off. Set SLIPWAY_METRICS_TOKEN or _NETWORKS.", 404)
    if not _has_token() and not _is_near():
        refused = _refused("Send the token as Authorization: Bearer TOKEN.", 401)
        refused.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return refused
    return Response(metrics.text(), content_type=metrics.CONTENT_TYPE)


def _has_token() -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted = settings().metrics_token
    return bool(
        wanted
        and scheme.lower() == "bearer"
        and hmac.compare_digest(token.strip().encode(), wanted.encode())
    )


def _is_near() -> bool:
    """Whether the request comes from one of the networks (through trusted proxies only)."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ipaddress.ip_network(one) for one in settings().metrics_networks)


def _refused(words: str, status: int) -> Response:
    return Response(f"{words}\n", status, content_type="text/plain; charset=utf-8")
