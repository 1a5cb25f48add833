# SPDX-License-Identifier: Apache-2.0
"""Every endpoint of ``/api/v1``: routes and the OpenAPI document are both made of it."""

from __future__ import annotations

from webapp.api.v1 import accounts, esxi, images, imports, selections, sources, system, uploads
from webapp.api.v1.dispatch import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *system.ENDPOINTS,
    *sources.ENDPOINTS,
    *selections.ENDPOINTS,
    *images.ENDPOINTS,
    *imports.ENDPOINTS,
    *uploads.ENDPOINTS,
    *esxi.ENDPOINTS,
    *accounts.ENDPOINTS,
)
