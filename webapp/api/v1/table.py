# SPDX-License-Identifier: Apache-2.0
"""Every endpoint of ``/api/v1``, for the routes and for the OpenAPI document."""

from __future__ import annotations

from webapp.api.v1 import (
    accounts,
    bin,
    boot,
    esxi,
    images,
    imports,
    kernels,
    mirror,
    offers,
    racks,
    restrictions,
    rules,
    selections,
    soak,
    source_changes,
    source_keys,
    source_selections,
    source_states,
    sources,
    system,
    uploads,
    versions,
)
from webapp.api.v1.dispatch import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *system.routes.endpoints,
    *sources.routes.endpoints,
    *source_keys.routes.endpoints,
    *source_selections.routes.endpoints,
    *source_states.routes.endpoints,
    *source_changes.routes.endpoints,
    *selections.routes.endpoints,
    *offers.routes.endpoints,
    *kernels.routes.endpoints,
    *soak.routes.endpoints,
    *restrictions.routes.endpoints,
    *rules.routes.endpoints,
    *images.routes.endpoints,
    *versions.routes.endpoints,
    *bin.routes.endpoints,
    *imports.routes.endpoints,
    *uploads.routes.endpoints,
    *boot.routes.endpoints,
    *mirror.routes.endpoints,
    *racks.routes.endpoints,
    *esxi.routes.endpoints,
    *accounts.routes.endpoints,
)
