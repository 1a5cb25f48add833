# SPDX-License-Identifier: Apache-2.0
"""``boot-sources/`` and ``boot-sources/{id}/`` (rule: rest-boot-sources)."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime

from flask import Response

from webapp.api.v2.answers import as_json, deleted
from webapp.api.v2.arguments import Arguments
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.errors import InvalidFields
from webapp.models import BootSource
from webapp.services.accounts.rights import Right
from webapp.services.sources import sources
from webapp.services.sources.drafts import SourceDraft

PATH = f"{API}/boot-sources/"


def read_all(call: ActionCall) -> Response:
    """List all boot sources."""
    rows = sorted(sources.all_sources(), key=lambda source: source.id)
    return as_json([as_dict(source) for source in rows])


def create(call: ActionCall) -> Response:
    """Create a boot source

    Give exactly one keyring. The catalogue of the source is read in the background.

    :param url: Required. URL of the signed stream, http or https.
    :type url: String

    :param keyring_filename: Path on the server of the keyring to trust.
    :type keyring_filename: String

    :param keyring_data: The keyring itself: a file, or its content in base64.
    :type keyring_data: String

    :param confirmed_products: Products on which the stream's index and documents may
        disagree, one value each.
    :type confirmed_products: String
    """
    source = sources.add(draft(call.arguments, SourceDraft(url="")), call.actor)
    return as_json(as_dict(source), 201)


def read(call: ActionCall, id: int) -> Response:
    """Read a boot source."""
    return as_json(as_dict(sources.get(id)))


def update(call: ActionCall, id: int) -> Response:
    """Change a boot source

    Fields that are left out keep their value. A keyring replaces one of the other
    kind.

    :param url: URL of the signed stream, http or https.
    :type url: String

    :param keyring_filename: Path on the server of the keyring to trust.
    :type keyring_filename: String

    :param keyring_data: The keyring itself: a file, or its content in base64.
    :type keyring_data: String

    :param confirmed_products: Products on which the stream's index and documents may
        disagree, one value each. They replace those that were confirmed before.
    :type confirmed_products: String
    """
    source = sources.get(id)
    sources.update_source(source, draft(call.arguments, sources.draft_of(source)), call.actor)
    return as_json(as_dict(source))


def delete(call: ActionCall, id: int) -> Response:
    """Delete a boot source and its selections; stored images stay until the next import."""
    sources.remove(sources.get(id), call.actor)
    return deleted()


def draft(arguments: Arguments, known: SourceDraft) -> SourceDraft:
    """A draft with the fields that were sent.

    A keyring replaces a stored one of the other kind, since Go clients leave out empty
    fields (rule: rest-go-clients).
    """
    filename, data = arguments.text("keyring_filename"), _keyring_data(arguments)
    sent = replace(known, url=arguments.text("url", known.url))
    if filename or data:
        sent = replace(sent, keyring_filename=filename, keyring_data=data, is_unsigned=False)
    confirmed = arguments.values("confirmed_products")
    return replace(sent, confirmed_products=confirmed) if confirmed else sent


def _keyring_data(arguments: Arguments) -> bytes | None:
    as_file, as_text = arguments.files.get("keyring_data"), arguments.text("keyring_data")
    if as_file or not as_text:
        return as_file
    if as_text.lstrip().startswith("-----BEGIN PGP"):
        return as_text.encode()
    try:
        return base64.b64decode("".join(as_text.split()), validate=True)
    except ValueError as error:
        raise InvalidFields(
            {"keyring_data": ["Send the keyring as a file, armored text or base64."]}
        ) from error


def as_dict(source: BootSource) -> dict[str, object]:
    """A boot source as clients expect it."""
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
        PATH,
        "The boot sources that images are downloaded from.",
        (
            Action("read", "GET", read_all),
            Action("create", "POST", create, Right.MANAGE),
        ),
    ),
    Resource(
        "BootSourceHandler",
        PATH + "{id}/",
        "One boot source.",
        (
            Action("read", "GET", read),
            Action("update", "PUT", update, Right.MANAGE),
            Action("delete", "DELETE", delete, Right.MANAGE),
        ),
    ),
)
