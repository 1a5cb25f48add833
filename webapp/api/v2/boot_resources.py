# SPDX-License-Identifier: Apache-2.0
"""``boot-resources/``: what is stored, and the import (spec api, sections 5 and 7)."""

from __future__ import annotations

from typing import Any

from flask import Response

from webapp import jobs
from webapp.api.v2.dispatch import Action, Call, Resource, as_json, text
from webapp.extensions import settings
from webapp.models import BootResource, ResourceFile, ResourceSet, Role
from webapp.services import images, runs

PATH = "/MAAS/api/2.0/boot-resources/"
TYPES = ("all", "synced", "uploaded")


def read_all(call: Call) -> Response:
    """List what is stored, without sets

    :param type: all, synced or uploaded; all when left out.
    """
    kind = call.arguments.text("type") or call.arguments.text("Type") or "all"
    if kind not in TYPES:
        return text(
            f"{kind!r} is not a valid boot resource type. Available types: {list(TYPES)}", 400
        )
    rows = images.listed_resources(None if kind == "all" else kind)
    return as_json([as_dict(row) for row in rows])


def read(call: Call, id: int) -> Response:
    """Read a boot resource with its sets and files."""
    resource = images.resource_with_sets(id)
    sets = {s.version: _set_dict(s) for s in resource.sets if s.retired_at is None}
    return as_json({**as_dict(resource), "sets": sets})


def import_images(call: Call) -> Response:
    """Start the import of all selected images; one that runs already goes on."""
    runs.queue("manual", call.actor)
    jobs.wake(settings())
    return text("Import of boot resources started")


def stop_import(call: Call) -> Response:
    """Stop the import; nothing happens when none runs."""
    runs.stop(call.actor)
    return text("Import of boot resources is being stopped")


def is_importing(call: Call) -> Response:
    """Tell whether an import runs."""
    return as_json(runs.current() is not None)


def as_dict(resource: BootResource) -> dict[str, Any]:
    """A boot resource as clients read it in a list."""
    return {
        "id": resource.id,
        "type": resource.rtype.capitalize(),
        "name": resource.name,
        "architecture": resource.architecture,
        "resource_uri": f"{PATH}{resource.id}/",
        "last_deployed": None,
        "subarches": ",".join(resource.subarches),
        "title": resource.title,
    }


def _set_dict(row: ResourceSet) -> dict[str, Any]:
    files = {f.filename: _file_dict(f) for f in row.files}
    is_complete = row.completed_at is not None
    return {
        "version": row.version,
        "label": row.label,
        "size": sum(f["size"] for f in files.values()),
        "complete": is_complete,
        "files": files,
    }


def _file_dict(row: ResourceFile) -> dict[str, Any]:
    return {
        "filename": row.filename,
        "filetype": row.ftype,
        "sha256": row.blob.sha256,
        "size": row.blob.size,
        "complete": row.blob.state == "ready",
    }


RESOURCES = (
    Resource(
        "BootResourcesHandler",
        "/boot-resources/",
        (
            Action("read", "GET", read_all),
            Action("import", "POST", import_images, Role.OPERATOR, op="import"),
            Action("stop_import", "POST", stop_import, Role.OPERATOR, op="stop_import"),
            Action("is_importing", "GET", is_importing, op="is_importing"),
        ),
    ),
    Resource(
        "BootResourceHandler",
        "/boot-resources/<int(max=2147483647):id>/",
        (Action("read", "GET", read),),
        params=("id",),
    ),
)
