# SPDX-License-Identifier: Apache-2.0
"""The store: what it holds, what is damaged, and the check that reads everything again."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.services.accounts.rights import Right
from webapp.services.blobs import scrubbing
from webapp.services.imports import inventory
from webapp.services.overview import room, store
from webapp.services.overview.room import Room
from webapp.web.access import me, requires
from webapp.web.room_rows import KINDS, room_rows, share_rows

blueprint = Blueprint("storage", __name__, url_prefix="/storage")

SHOWN = 50  # images, those that free most


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show what is stored and how far the check is, live while it runs."""
    check = scrubbing.status()
    ended_at = check.last_pass and datetime.fromisoformat(check.last_pass["finished_at"])
    held = store.of_store()
    # The part that is polled shows the check alone.
    found = room.read() if not hx.is_part() else Room()
    return hx.render(
        "storage/index.html",
        "storage/_check.html",
        held=held,
        kind=KINDS[held["kind"]],
        check=check,
        pass_ended_at=ended_at,
        damaged=inventory.damaged(),
        shares=share_rows(found),
        images=room_rows(found.images[:SHOWN]),
        all_images=len(found.images),
    )


@blueprint.post("/check")
@requires(Right.IMPORT)
def check() -> ResponseReturnValue:
    """Read and check every stored file now."""
    scrubbing.request(me().username)
    return hx.see_other(url_for("storage.index"))
