# SPDX-License-Identifier: Apache-2.0
"""``boot-sources/{id}/selections/`` (spec api, section 5)."""

from __future__ import annotations

from typing import Any

from flask import Response

from webapp.api.v2.boot_sources import PATH
from webapp.api.v2.dispatch import Action, Call, Resource, as_json, deleted
from webapp.errors import InvalidFields
from webapp.models import BootSourceSelection, Role
from webapp.services import selections, sources
from webapp.streams.filters import Wanted


def read_all(call: Call, boot_source_id: int) -> Response:
    """List the selections of a boot source."""
    source = sources.get(boot_source_id)
    return as_json([as_dict(row) for row in selections.of_source(source.id)])


def create(call: Call, boot_source_id: int) -> Response:
    """Select images of a boot source

    Lists that are left out mean everything.

    :param os: The operating system, such as ubuntu.
    :param release: The release, such as noble.
    :param arches: The architectures, repeatable; all when left out.
    :param subarches: The kernels, repeatable; all when left out.
    :param labels: The labels, repeatable; all when left out.
    """
    source = sources.get(boot_source_id)
    wanted = _wanted(call, Wanted("", "", ("*",), ("*",), ("*",)))
    missing = {
        name: ["This field is required."] for name in ("os", "release") if not getattr(wanted, name)
    }
    if missing:
        raise InvalidFields(missing)
    # 200, not 201: what real MAAS answers here (spec maas-images 1.18).
    return as_json(as_dict(selections.add(source, wanted, call.actor)))


def read(call: Call, boot_source_id: int, id: int) -> Response:
    """Read a selection."""
    return as_json(as_dict(selections.get(boot_source_id, id)))


def update(call: Call, boot_source_id: int, id: int) -> Response:
    """Update a selection

    Fields that are not given keep their value.

    :param os: The operating system.
    :param release: The release.
    :param arches: The architectures, repeatable.
    :param subarches: The kernels, repeatable.
    :param labels: The labels, repeatable.
    """
    selection = selections.get(boot_source_id, id)
    wanted = _wanted(call, selections.wanted_of(selection))
    return as_json(as_dict(selections.change(selection, wanted, call.actor)))


def delete(call: Call, boot_source_id: int, id: int) -> Response:
    """Delete a selection; its images go with the next import."""
    selections.remove(selections.get(boot_source_id, id), call.actor)
    return deleted()


def _wanted(call: Call, known: Wanted) -> Wanted:
    def many(name: str, kept: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(call.arguments.values(name) or kept)

    return Wanted(
        os=call.arguments.text("os", known.os),
        release=call.arguments.text("release", known.release),
        arches=many("arches", known.arches),
        subarches=many("subarches", known.subarches),
        labels=many("labels", known.labels),
    )


def as_dict(row: BootSourceSelection) -> dict[str, Any]:
    """A selection as clients read it."""
    return {
        "id": row.id,
        "boot_source_id": row.source_id,
        "os": row.os,
        "release": row.release,
        "arches": row.arches,
        "subarches": row.subarches,
        "labels": row.labels,
        "resource_uri": f"{PATH}{row.source_id}/selections/{row.id}/",
    }


RESOURCES = (
    Resource(
        "BootSourceSelectionsHandler",
        "/boot-sources/<int(max=2147483647):boot_source_id>/selections/",
        (
            Action("read", "GET", read_all, Role.ADMINISTRATOR),
            Action("create", "POST", create, Role.ADMINISTRATOR),
        ),
        params=("boot_source_id",),
    ),
    Resource(
        "BootSourceSelectionHandler",
        "/boot-sources/<int(max=2147483647):boot_source_id>/selections/<int(max=2147483647):id>/",
        (
            Action("read", "GET", read, Role.ADMINISTRATOR),
            Action("update", "PUT", update, Role.ADMINISTRATOR),
            Action("delete", "DELETE", delete, Role.ADMINISTRATOR),
        ),
        params=("boot_source_id", "id"),
    ),
)
