# SPDX-License-Identifier: Apache-2.0
"""Racks as MAAS scripts see them: the region's own first, then those on other machines.

The region's own serves files straight from its store, so it's always in sync. "Import" makes
a rack read the published names again.
"""

from __future__ import annotations

import secrets
import socket
import string
from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import BootResource, Setting
from webapp.services.images import publishing
from webapp.services.imports import runs
from webapp.services.racks import changing, listing
from webapp.services.racks.listing import RackState, RackStatus
from webapp.services.system import events, statements

_KEY = "rack_system_id"
_STATUS = {
    RackState.NEVER_SEEN: "unknown",
    RackState.AWAY: "unknown",
    RackState.WAITING: "syncing",
    RackState.SYNCING: "syncing",
    RackState.BEHIND: "out-of-sync",
    RackState.DRAINED: "synced",
    RackState.CURRENT: "synced",
}
_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class RackImage:
    """What machines of one architecture can get of one release."""

    name: str
    architecture: str
    subarches: tuple[str, ...]


@dataclass(frozen=True)
class Controller:
    """A rack. status: of its images, in MAAS's words (rule: rack-status).

    rack_id: of one on another machine, None for the region's own.
    """

    system_id: str
    fqdn: str
    is_connected: bool
    status: str
    has_images: bool
    rack_id: int | None = None


def system_id() -> str:
    """A name of six letters and digits that stays."""
    kept = select(Setting.value).where(Setting.key == _KEY)
    found = db.session.scalar(kept)
    if found is None:  # two at the same moment agree on one
        fresh = "".join(secrets.choice(_LETTERS) for _ in range(6))
        db.session.execute(statements.insert_new(Setting), {"key": _KEY, "value": fresh})
        db.session.commit()
        found = db.session.scalar(kept)
    return str(found)


def hostname() -> str:
    """What this machine calls itself."""
    return socket.gethostname()


def controllers() -> list[Controller]:
    """Every rack, the region's own first."""
    is_importing = runs.is_importing()
    own = Controller(
        system_id(), hostname(), True, "region-importing" if is_importing else "synced", True
    )
    return [own, *(_controller(row, is_importing) for row in listing.all_racks())]


def controller(wanted: str) -> Controller:
    """The rack with this system_id. Raises NotFound."""
    for one in controllers():
        if one.system_id == wanted:
            return one
    raise NotFound("There is no such rack controller.", where=wanted[:64])


def _controller(row: RackStatus, is_importing: bool) -> Controller:
    is_connected = not row.is_away
    status = "region-importing" if is_importing and is_connected else _STATUS[row.state]
    has_images = is_connected and row.held_serial > 0
    return Controller(row.system_id, row.name, is_connected, status, has_images, row.id)


def images() -> list[RackImage]:
    """Everything that machines can get, in one query."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in db.session.execute(
        select(
            BootResource.name, BootResource.arch, BootResource.subarch, BootResource.answers_to
        ).where(BootResource.current_set_id.is_not(None))
    ):
        found[row.name, row.arch] |= {row.subarch, *row.answers_to}
    return [RackImage(*key, tuple(sorted(found[key]))) for key in sorted(found)]


def read_all_again(actor: str) -> None:
    """Let every rack read the names once more."""
    for one in controllers():
        read_again(one, actor)


def read_again(one: Controller, actor: str) -> None:
    """Let a rack read the names once more."""
    if one.rack_id is not None:
        changing.read_again(one.rack_id, actor)
        return
    publishing.bump()
    events.record("rack.notified", actor=actor, subject=hostname())
    db.session.commit()
