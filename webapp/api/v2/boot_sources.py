# SPDX-License-Identifier: Apache-2.0
"""``boot-sources/`` and ``boot-sources/{id}/`` (spec api, sections 1 and 5)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Response

from webapp import jobs
from webapp.api.v2.dispatch import Action, Call, Resource, as_json, deleted
from webapp.errors import InvalidFields
from webapp.extensions import settings
from webapp.models import BootSource, Role
from webapp.services import sources
from webapp.services.sources import SourceDraft

PATH = "/MAAS/api/2.0/boot-sources/"


def read_all(call: Call) -> Response:
    """List all boot sources."""
    rows = sorted(sources.all_sources(), key=lambda source: source.id)
    return as_json([as_dict(source) for source in rows])


def create(call: Call) -> Response:
    """Create a boot source

    The source is read in the background a moment later.

    :param url: The URL of the boot source.
    :param keyring_filename: The path to the keyring file for this boot source.
    :param keyring_data: The keyring itself, binary or armored.
    """
    source = sources.add(_draft(call, SourceDraft(url="")), call.actor)
    jobs.wake(settings())
    return as_json(as_dict(source), 201)


def read(call: Call, id: int) -> Response:
    """Read a boot source."""
    return as_json(as_dict(sources.get(id)))


def update(call: Call, id: int) -> Response:
    """Update a boot source

    Fields that are not given keep their value.

    :param url: The URL of the boot source.
    :param keyring_filename: The path to the keyring file for this boot source.
    :param keyring_data: The keyring itself, binary or armored.
    """
    source = sources.get(id)
    sources.update_source(source, _draft(call, sources.draft_of(source)), call.actor)
    jobs.wake(settings())
    return as_json(as_dict(source))


def delete(call: Call, id: int) -> Response:
    """Delete a boot source with its selections; stored images stay until the next import."""
    sources.remove(sources.get(id), call.actor)
    return deleted()


def _draft(call: Call, known: SourceDraft) -> SourceDraft:
    """The known draft with what this call says.

    A keyring that is sent replaces the other kind that was stored, because Go
    clients leave out empty fields (spec api, section 9).
    """
    arguments = call.arguments
    filename, data = arguments.text("keyring_filename"), _keyring_data(call)
    draft = replace(known, url=arguments.text("url", known.url))
    if filename or data:
        draft = replace(draft, keyring_filename=filename, keyring_data=data, is_unsigned=False)
    elif {"keyring_filename", "keyring_data"} & arguments.named and known.url == "":
        draft = replace(draft, keyring_filename="", keyring_data=None)
    return draft


def _keyring_data(call: Call) -> bytes | None:
    sent = call.arguments.files.get("keyring_data")
    as_text = call.arguments.text("keyring_data")
    if sent or not as_text:
        return sent
    if as_text.lstrip().startswith("-----BEGIN PGP"):
        return as_text.encode()
    try:
        return base64.b64decode("".join(as_text.split()), validate=True)
    except binascii.Error as error:
        raise InvalidFields(
            {"keyring_data": ["Send the keyring as a file, as armored text or as base64."]}
        ) from error


def as_dict(source: BootSource) -> dict[str, Any]:
    """A boot source as clients read it."""
    return {
        "id": source.id,
        "url": source.url,
        "keyring_filename": source.keyring_filename,
        "keyring_data": base64.b64encode(source.keyring_data or b"").decode(),
        "created": timestamp(source.created_at),
        "updated": timestamp(source.updated_at),
        "resource_uri": f"{PATH}{source.id}/",
    }


def timestamp(at: datetime) -> str:
    """UTC without a zone and always with a fraction: libmaas parses nothing else."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")


RESOURCES = (
    Resource(
        "BootSourcesHandler",
        "/boot-sources/",
        (
            Action("read", "GET", read_all, Role.ADMINISTRATOR),
            Action("create", "POST", create, Role.ADMINISTRATOR),
        ),
    ),
    Resource(
        "BootSourceHandler",
        "/boot-sources/<int(max=2147483647):id>/",
        (
            Action("read", "GET", read, Role.ADMINISTRATOR),
            Action("update", "PUT", update, Role.ADMINISTRATOR),
            Action("delete", "DELETE", delete, Role.ADMINISTRATOR),
        ),
        params=("id",),
    ),
)
