# SPDX-License-Identifier: Apache-2.0
"""REST API 2.0 for images, as spec api describes it: one resource table, one dispatcher."""

from flask import Blueprint, Flask


def register(app: Flask) -> None:
    """Add every resource of the table below ``/MAAS/api/2.0``."""
    from webapp.api.v2 import boot_resources, boot_sources, info, selections
    from webapp.api.v2.dispatch import add_resource

    blueprint = Blueprint("api_v2", __name__, url_prefix="/MAAS/api/2.0")
    for module in (info, boot_sources, selections, boot_resources):
        for resource in module.RESOURCES:
            add_resource(blueprint, resource)
    app.register_blueprint(blueprint)
