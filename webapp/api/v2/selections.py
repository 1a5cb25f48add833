# SPDX-License-Identifier: Apache-2.0
"""``boot-sources/{id}/selections/`` (rule: rest-selections)."""

from __future__ import annotations

from flask import Response

from webapp.api.v2.answers import as_json, deleted
from webapp.api.v2.arguments import Arguments
from webapp.api.v2.boot_sources import PATH
from webapp.api.v2.dispatch import Action, ActionCall, Resource
from webapp.errors import InvalidFields
from webapp.models import BootSourceSelection
from webapp.services.accounts.rights import Right
from webapp.services.sources import selections, sources
from webapp.streams.filters import Wanted

REQUIRED = ("os", "release")
NOTHING = Wanted("", "", ("*",), ("*",), ("*",))


def read_all(call: ActionCall, boot_source_id: int) -> Response:
    """List the selections of a boot source."""
    source = sources.get(boot_source_id)
    return as_json([as_dict(row) for row in selections.of_source(source.id)])


def create(call: ActionCall, boot_source_id: int) -> Response:
    """Select images of a boot source

    The next import downloads them.

    :param os: Required. The operating system, e.g. ubuntu.
    :type os: String

    :param release: Required. The release, e.g. noble.
    :type release: String

    :param arches: Optional, repeatable. The architectures, e.g. amd64. Default: * for all.
    :type arches: String

    :param subarches: Optional, repeatable. The kernels. Default: * for all.
    :type subarches: String

    :param labels: Optional, repeatable. The labels, e.g. stable. Default: * for all.
    :type labels: String
    """
    source = sources.get(boot_source_id)
    wanted = _wanted(call.arguments, NOTHING)
    missing = [name for name in REQUIRED if not getattr(wanted, name)]
    if missing:
        raise InvalidFields({name: ["This field is required."] for name in missing})
    # 200 as real MAAS answers, not 201
    return as_json(as_dict(selections.add(source, wanted, call.actor)))


def read(call: ActionCall, boot_source_id: int, id: int) -> Response:
    """Read a selection."""
    return as_json(as_dict(selections.get(boot_source_id, id)))


def update(call: ActionCall, boot_source_id: int, id: int) -> Response:
    """Change a selection

    Fields that are left out keep their value.

    :param os: The operating system.
    :type os: String

    :param release: The release.
    :type release: String

    :param arches: Repeatable. The architectures; * for all.
    :type arches: String

    :param subarches: Repeatable. The kernels; * for all.
    :type subarches: String

    :param labels: Repeatable. The labels; * for all.
    :type labels: String
    """
    selection = selections.get(boot_source_id, id)
    wanted = _wanted(call.arguments, selections.wanted_of(selection))
    return as_json(as_dict(selections.change(selection, wanted, call.actor)))


def delete(call: ActionCall, boot_source_id: int, id: int) -> Response:
    """Delete a selection; the next import deletes its images."""
    selections.remove(selections.get(boot_source_id, id), call.actor)
    return deleted()


def _wanted(arguments: Arguments, known: Wanted) -> Wanted:
    return Wanted(
        os=arguments.text("os", known.os),
        release=arguments.text("release", known.release),
        arches=arguments.values("arches") or known.arches,
        subarches=arguments.values("subarches") or known.subarches,
        labels=arguments.values("labels") or known.labels,
    )


def as_dict(row: BootSourceSelection) -> dict[str, object]:
    """A selection as clients expect it."""
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
        PATH + "{boot_source_id}/selections/",
        "The selections of a boot source.",
        (
            Action("read", "GET", read_all),
            Action("create", "POST", create, Right.SELECT),
        ),
    ),
    Resource(
        "BootSourceSelectionHandler",
        PATH + "{boot_source_id}/selections/{id}/",
        "One selection of a boot source.",
        (
            Action("read", "GET", read),
            Action("update", "PUT", update, Right.SELECT),
            Action("delete", "DELETE", delete, Right.SELECT),
        ),
    ),
)
