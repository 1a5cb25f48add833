# SPDX-License-Identifier: Apache-2.0
"""A rack asks for its next state, and waits until there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from flask import current_app
from sqlalchemy import update

from webapp.extensions import db, settings
from webapp.models import Rack
from webapp.services.racks.board import Answer, Board
from webapp.services.system import statements

MAX_WAIT_S = 25
_KEY = "slipway.racks"


def next_state(
    rack: Rack, after: int, wait_s: float, is_wanted: Callable[[], bool]
) -> Answer | None:
    """What a rack is offered, once it isn't ``after``. See ``Board.wait``. Commits."""
    rack_id, noted = rack.id, (rack.offered_revision, rack.offered_serial)
    db.session.rollback()  # who waits keeps no connection
    answer = _board().wait(rack_id, after, min(wait_s, MAX_WAIT_S), is_wanted)
    if answer is not None:
        offered = (answer.offer.stream.revision, answer.offer.stream.serial)
        if offered != noted:
            _note(rack_id, *offered)
    return answer


def _board() -> Board:
    """The board of this process; half of the threads answer people whatever racks do."""
    app = current_app
    found = app.extensions.get(_KEY)
    if found is None:
        found = app.extensions.setdefault(_KEY, Board(db.engine, settings().web_threads // 2))
    return cast(Board, found)


def _note(rack_id: int, revision: int, serial: int) -> None:
    """Keep what it's offered, for while a later state is withheld from it."""
    offered = {"offered_revision": revision, "offered_serial": serial}
    statements.execute(update(Rack).where(Rack.id == rack_id).values(**offered))
    db.session.commit()
