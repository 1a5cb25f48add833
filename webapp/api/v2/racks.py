# SPDX-License-Identifier: Apache-2.0
"""``rackcontrollers/``: the rack and its images (rule: rack-status)."""

from __future__ import annotations

from flask import Response

from webapp.api.v2.answers import as_json, text
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.services.accounts.rights import Right
from webapp.services.overview import rack

PATH = f"{API}/rackcontrollers/"


def read_all(call: ActionCall) -> Response:
    """List the rack controllers; there is exactly one, which serves the region's images."""
    return as_json([_as_dict()])


def import_all(call: ActionCall) -> Response:
    """Refresh the list of images on all rack controllers."""
    rack.read_again(call.actor)
    return text("Import of boot images started on all rack controllers")


def read(call: ActionCall, system_id: str) -> Response:
    """Read a rack controller."""
    rack.check(system_id)
    return as_json(_as_dict())


def list_boot_images(call: ActionCall, system_id: str) -> Response:
    """List the images that machines can boot from this rack controller."""
    rack.check(system_id)
    images = [
        {"name": i.name, "architecture": i.architecture, "subarches": list(i.subarches)}
        for i in rack.images()
    ]
    return as_json({"connected": True, "images": images, "status": rack.status()})


def import_boot_images(call: ActionCall, system_id: str) -> Response:
    """Refresh the list of images on this rack controller."""
    rack.check(system_id)
    rack.read_again(call.actor)
    return text(f"Import of boot images started on {rack.hostname()}")


def _as_dict() -> dict[str, object]:
    name = rack.hostname()
    system_id = rack.system_id()
    return {
        "system_id": system_id,
        "hostname": name.partition(".")[0],
        "fqdn": name,
        "node_type": 2,
        "node_type_name": "Rack controller",
        "resource_uri": f"{PATH}{system_id}/",
    }


RESOURCES = (
    Resource(
        "RackControllersHandler",
        PATH,
        "The rack controllers.",
        (
            Action("read", "GET", read_all, Right.MANAGE),
            Action(
                "import_boot_images",
                "POST",
                import_all,
                Right.IMPORT,
                op="import_boot_images",
            ),
        ),
    ),
    Resource(
        "RackControllerHandler",
        PATH + "{system_id}/",
        "A rack controller.",
        (
            Action("read", "GET", read, Right.MANAGE),
            Action(
                "list_boot_images",
                "GET",
                list_boot_images,
                Right.MANAGE,
                op="list_boot_images",
            ),
            Action(
                "import_boot_images",
                "POST",
                import_boot_images,
                Right.IMPORT,
                op="import_boot_images",
            ),
        ),
    ),
)
