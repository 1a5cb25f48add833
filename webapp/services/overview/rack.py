# SPDX-License-Identifier: Apache-2.0
"""The rack as MAAS scripts see it: one controller that has every image the region has.

It serves files straight from the region's store, so it's always in sync;
"import" makes it read the published names again.
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
from webapp.services.system import events, statements

_KEY = "rack_system_id"
_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class RackImage:
    """What machines of one architecture can get of one release."""

    name: str
    architecture: str
    subarches: tuple[str, ...]


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


def check(wanted: str) -> None:
    """Raise NotFound for any other rack than ours."""
    if wanted != system_id():
        raise NotFound("There is no such rack controller.", where=wanted[:64])


def status() -> str:
    """The state of the rack's images, in MAAS's words (rule: rack-status)."""
    return "region-importing" if runs.is_importing() else "synced"


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


def read_again(actor: str) -> None:
    """Let the racks read the names once more."""
    publishing.bump()
    events.record("rack.notified", actor=actor, subject=hostname())
    db.session.commit()
