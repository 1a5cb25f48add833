# SPDX-License-Identifier: Apache-2.0
"""``boot-resources/``: what is stored, and the import (spec api, sections 5 and 7)."""

from __future__ import annotations

from typing import Any

from flask import Response

from webapp import jobs
from webapp.api.v2.answers import as_json, deleted, text
from webapp.api.v2.dispatch import API, Action, Call, Resource
from webapp.extensions import settings
from webapp.models import BootResource, ResourceFile, ResourceSet, Role
from webapp.services import images, retention, runs

PATH = f"{API}/boot-resources/"
# We generate nothing, but scripts for 2.9 may ask for it.
TYPES = ("all", "generated", "synced", "uploaded")


def read_all(call: Call) -> Response:
    """List what is stored

    The sets and files of an image are told when it is read by its id.

    :param type: Optional. One of all, generated, synced, uploaded; all when left out.
    :type type: String
    """
    # Go clients write it with a capital (spec api, section 9).
    kind = call.arguments.text("type") or call.arguments.text("Type") or "all"
    if kind not in TYPES:
        return text(
            f"{kind[:60]!r} is not a valid boot resource type. Available types: {list(TYPES)}", 400
        )
    rows = images.listed_resources(None if kind == "all" else kind)
    return as_json([as_dict(row) for row in rows])


def read(call: Call, id: int) -> Response:
    """Read a boot resource with its sets and files."""
    resource = images.resource_with_sets(id)
    sets = {s.version: _set_dict(s) for s in resource.sets if s.id == resource.current_set_id}
    return as_json({**as_dict(resource), "sets": sets})


def delete(call: Call, id: int) -> Response:
    """Delete a boot resource

    Machines do not get it any more. An image that is still selected comes back
    with the next import: delete its selection first.
    """
    retention.delete_resource(id, call.actor)
    return deleted()


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
    return as_json(runs.is_importing())


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
        "base_image": resource.base_image,
    }


def _set_dict(row: ResourceSet) -> dict[str, Any]:
    files = {file.filename: _file_dict(file) for file in row.files}
    return {
        "version": row.version,
        "label": row.label,
        "size": sum(file["size"] for file in files.values()),
        "complete": row.completed_at is not None,
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
        PATH,
        "The images that are stored, and their import.",
        (
            Action("read", "GET", read_all),
            Action("import", "POST", import_images, Role.OPERATOR, op="import"),
            Action("stop_import", "POST", stop_import, Role.OPERATOR, op="stop_import"),
            Action("is_importing", "GET", is_importing, op="is_importing"),
        ),
    ),
    Resource(
        "BootResourceHandler",
        PATH + "{id}/",
        "One stored image.",
        (
            Action("read", "GET", read),
            Action("delete", "DELETE", delete, Role.ADMINISTRATOR),
        ),
    ),
)
