# SPDX-License-Identifier: Apache-2.0
"""Every endpoint of ``/api/v1``: routes and the OpenAPI document are both made of it."""

from __future__ import annotations

from webapp.api.v1 import catalogue, esxi, house, images, imports, people, sources, uploads
from webapp.api.v1.dispatch import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *house.ENDPOINTS,
    *sources.ENDPOINTS,
    *catalogue.ENDPOINTS,
    *images.ENDPOINTS,
    *imports.ENDPOINTS,
    *uploads.ENDPOINTS,
    *esxi.ENDPOINTS,
    *people.ENDPOINTS,
)
