# SPDX-License-Identifier: Apache-2.0
"""``boot-resources/``: stored images and the import (rules: rest-boot-resources, rest-import)."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Response
from sqlalchemy import Row

from webapp.api.v2.answers import as_json, deleted, text
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.errors import InvalidFields, NotFound
from webapp.models import (
    BlobState,
    BootResource,
    ResourceFile,
    ResourceSet,
    ResourceType,
    Upload,
    UploadState,
)
from webapp.services.accounts.rights import Right
from webapp.services.images import listing
from webapp.services.imports import runs
from webapp.services.uploads import arrival, fields, finishing, names, removal, uploads

PATH = f"{API}/boot-resources/"
MAX_CONTENT_BYTES = 48 << 20  # 32 MiB in base64, and some room
# Nothing is generated here, but scripts for MAAS 2.9 may filter by it.
TYPES = ("all", "generated", "synced", "uploaded")


def read_all(call: ActionCall) -> Response:
    """List boot resources

    Read a boot resource by its id to see its sets and files.

    :param type: Optional. One of all, generated, synced, uploaded. Default: all.
    :type type: String
    """
    # Go clients send it with a capital (rule: rest-go-clients).
    kind = call.arguments.text("type") or call.arguments.text("Type") or "all"
    if kind not in TYPES:
        return text(
            f"{kind[:60]!r} is not a valid boot resource type. Available types: {list(TYPES)}", 400
        )
    rows = listing.listed_resources(None if kind == "all" else kind)
    return as_json([as_dict(row) for row in rows])


def read(call: ActionCall, id: int) -> Response:
    """Read a boot resource with its sets and files."""
    return as_json(detail(id))


def delete(call: ActionCall, id: int) -> Response:
    """Delete a boot resource

    Machines can no longer boot it. If it's still selected, the next import downloads
    it again, so delete its selection first.
    """
    removal.remove([id], call.actor)
    return deleted()


def import_images(call: ActionCall) -> Response:
    """Import all selected images; if an import is already running, it continues."""
    runs.queue("manual", call.actor)
    return text("Import of boot resources started")


def stop_import(call: ActionCall) -> Response:
    """Stop the running import, if there is one."""
    runs.stop(call.actor)
    return text("Import of boot resources is being stopped")


def is_importing(call: ActionCall) -> Response:
    """Show whether an import is running."""
    return as_json(runs.is_importing())


def as_dict(resource: BootResource | Row[Any]) -> dict[str, object]:
    """A boot resource as clients expect it in a list."""
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


def detail(id: int, only: str = "") -> dict[str, object]:
    """A boot resource with its sets: the current one, and open uploads.

    Keys sort as text with the newest last, since clients take the largest one.
    only: the version to show alone.
    """
    resource = listing.resource_with_sets(id)
    sets = {s.version: _set_dict(s) for s in resource.sets if s.id == resource.current_set_id}
    for upload in uploads.open_of([id]):
        sets[upload.version] = _upload_dict(upload)
    shown = {version: sets[version] for version in sorted(sets) if only in ("", version)}
    return {**as_dict(resource), "sets": shown}


def _upload_dict(row: Upload) -> dict[str, object]:
    percent = 100.0 * row.received / row.size if row.size else 0.0
    filename = names.FILENAMES[row.ftype]
    file = {
        "filename": filename,
        "filetype": row.ftype,
        "sha256": row.sha256,
        "size": row.size,
        "complete": False,
        "progress": percent,
    }
    if row.state == UploadState.RECEIVING:
        file["upload_uri"] = f"{PATH}{row.resource_id}/upload/{row.id}/"
    return {
        "version": row.version,
        "label": finishing.LABEL,
        "size": row.size,
        "complete": False,
        "progress": percent,
        "files": {filename: file},
        **({"problem": row.problem["what"]} if row.problem else {}),
    }


def _set_dict(row: ResourceSet) -> dict[str, object]:
    files = {file.filename: _file_dict(file) for file in row.files}
    return {
        "version": row.version,
        "label": row.label,
        "size": sum(file.blob.size for file in row.files),
        "complete": row.completed_at is not None,
        "files": files,
    }


def _file_dict(row: ResourceFile) -> dict[str, object]:
    return {
        "filename": row.filename,
        "filetype": row.ftype,
        "sha256": row.blob.sha256,
        "size": row.blob.size,
        "complete": row.blob.state == BlobState.READY,
    }


def create(call: ActionCall) -> Response:
    """Upload an image

    Then send the file in pieces, each with PUT to the ``upload_uri`` of the
    response; or send a small one here as ``content``. If an image with this name
    and architecture exists, it gets a new version once the upload is complete.

    :param name: Required. The name, e.g. web-server or esxi/8.0.
    :type name: String
    :param architecture: Required. Architecture and subarchitecture, e.g. amd64/generic.
    :type architecture: String
    :param sha256: Required without content. SHA-256 of the file, 64 hex digits.
    :type sha256: String
    :param size: Required without content. Size of the file in bytes.
    :type size: Int
    :param title: Optional. The title shown on pages.
    :type title: String
    :param filetype: Optional. One of tgz, tbz, txz, ddtgz, ddtbz, ddtxz, ddtar, ddbz2, ddgz,
        ddxz, ddraw. Default: tgz.
    :type filetype: String
    :param base_image: Optional. The image it was built from, e.g. ubuntu/jammy.
    :type base_image: String
    :param content: Optional. The file itself, up to 32 MiB.
    :type content: File
    """
    arguments = call.arguments
    content = arguments.files.get("content")
    declared = fields.Declared(
        name=arguments.text("name"),
        architecture=arguments.text("architecture"),
        size=arguments.text("size") if content is None else len(content),
        sha256=arguments.text("sha256") if content is None else hashlib.sha256(content).hexdigest(),
        filetype=arguments.text("filetype"),
        title=arguments.text("title"),
        base_image=arguments.text("base_image"),
        is_checked_first=False,
    )
    if not declared.sha256:
        _refuse_without_digest(declared)
    upload = uploads.create(declared, call.actor)
    id = upload.resource_id or 0
    if upload.size == 0 or uploads.is_known(upload):
        arrival.complete(upload)
    elif content is not None:
        uploads.append(upload, [content])
        arrival.complete(upload)
    # Cluster API uploads to the first set, all others to the last.
    return as_json(detail(id, upload.version if upload.is_open else ""), 201)


def _refuse_without_digest(declared: fields.Declared) -> None:
    """Raise InvalidFields with every error, including the missing digest."""
    wrong = {"sha256": ["This field is required."]}
    try:
        fields.checked(declared)
    except InvalidFields as problem:
        wrong |= problem.fields
    raise InvalidFields(wrong)


def upload(call: ActionCall, resource_id: int, id: int) -> Response:
    """Send the next piece of an uploaded file

    Pieces are appended in order. The response to the last one is sent once the file
    has been verified against its SHA-256 and machines can boot it.
    """
    if listing.type_of(resource_id) != ResourceType.UPLOADED:
        return text("Cannot upload to a synced resource.", 403)
    row = uploads.find(id)
    if row.resource_id != resource_id:
        raise NotFound("Upload not found.")
    body = call.incoming
    try:
        if uploads.append(row, body.pieces(), length=body.length):
            arrival.complete(row)
    except uploads.UploadProblem as problem:
        return text(problem.what, 400)
    return text("OK")


RESOURCES = (
    Resource(
        "BootResourcesHandler",
        PATH,
        "The stored images, and their import.",
        (
            Action("read", "GET", read_all),
            Action("create", "POST", create, Right.UPLOAD, max_bytes=MAX_CONTENT_BYTES),
            Action("import", "POST", import_images, Right.IMPORT, op="import"),
            Action("stop_import", "POST", stop_import, Right.IMPORT, op="stop_import"),
            Action("is_importing", "GET", is_importing, op="is_importing"),
        ),
    ),
    Resource(
        "BootResourceHandler",
        PATH + "{id}/",
        "A stored image.",
        (
            Action("read", "GET", read),
            Action("delete", "DELETE", delete, Right.MANAGE),
        ),
    ),
    Resource(
        "BootResourceFileUploadHandler",
        PATH + "{resource_id}/upload/{id}/",
        "An open upload.",
        (Action("upload", "PUT", upload, Right.UPLOAD, takes_bytes=True),),
    ),
)
