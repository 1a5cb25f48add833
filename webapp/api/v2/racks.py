# SPDX-License-Identifier: Apache-2.0
"""``rackcontrollers/``: the racks and their images (rule: rack-status)."""

from __future__ import annotations

from flask import Response

from webapp.api.v2.answers import as_json, text
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.services.accounts.rights import Right
from webapp.services.overview import rack
from webapp.services.overview.rack import Controller

PATH = f"{API}/rackcontrollers/"


def read_all(call: ActionCall) -> Response:
    """List the rack controllers: the region's own, and those on other machines."""
    return as_json([_as_dict(one) for one in rack.controllers()])


def import_all(call: ActionCall) -> Response:
    """Refresh the list of images on all rack controllers."""
    rack.read_all_again(call.actor)
    return text("Import of boot images started on all rack controllers")


def read(call: ActionCall, system_id: str) -> Response:
    """Read a rack controller."""
    return as_json(_as_dict(rack.controller(system_id)))


def list_boot_images(call: ActionCall, system_id: str) -> Response:
    """List the images that machines can boot from this rack controller."""
    one = rack.controller(system_id)
    images = [
        {"name": i.name, "architecture": i.architecture, "subarches": list(i.subarches)}
        for i in (rack.images() if one.has_images else ())
    ]
    return as_json({"connected": one.is_connected, "images": images, "status": one.status})


def import_boot_images(call: ActionCall, system_id: str) -> Response:
    """Refresh the list of images on this rack controller."""
    one = rack.controller(system_id)
    rack.read_again(one, call.actor)
    return text(f"Import of boot images started on {one.fqdn}")


def _as_dict(one: Controller) -> dict[str, object]:
    return {
        "system_id": one.system_id,
        "hostname": one.fqdn.partition(".")[0],
        "fqdn": one.fqdn,
        "node_type": 2,
        "node_type_name": "Rack controller",
        "resource_uri": f"{PATH}{one.system_id}/",
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
