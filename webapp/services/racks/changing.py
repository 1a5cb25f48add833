# SPDX-License-Identifier: Apache-2.0
"""What an administrator does with an enrolled rack: settings, verifying, removing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update

from webapp.errors import InvalidFields, NotFound
from webapp.extensions import db
from webapp.models import BootResource, Rack, RackMode
from webapp.services.racks import addresses
from webapp.services.system import events, statements
from webapp.services.system.wake import wake

MAX_IMAGES = 500
MAX_UPSTREAMS = 10
MAX_NUMBER = 2**53


def get(rack_id: int) -> Rack:
    """The rack. Raises NotFound."""
    row = db.session.get(Rack, rack_id)
    if row is None:
        raise NotFound(
            "There is no such rack.",
            where=f"rack {rack_id}",
            next_step="It may have been removed. See the page Racks or `slipway rack list`.",
        )
    return row


def change(
    rack_id: int,
    actor: str,
    *,
    mode: str | None = None,
    images: Sequence[str] | None = None,
    max_bytes: int | None = None,
    rate: int | None = None,
    upstreams: Sequence[str] | None = None,
    is_drained: bool | None = None,
    after_rack_id: int | None = None,
) -> None:
    """Change what isn't None; 0 for a number: no limit, no other rack. See models.Rack.

    The rack learns of it within a second. Raises NotFound or InvalidFields.
    """
    row = get(rack_id)
    wanted: dict[str, Any] = {
        "mode": None if mode is None else str(mode),  # psycopg sends an enum by its name
        "images": None if images is None else list(dict.fromkeys(images)),
        "max_bytes": max_bytes,
        "rate": rate,
        "upstreams": None if upstreams is None else _upstreams(upstreams),
        "is_drained": is_drained,
        "after_rack_id": after_rack_id,
    }
    values = {name: value for name, value in wanted.items() if value is not None}
    _check(row, values)
    for name in ("max_bytes", "rate", "after_rack_id"):
        if values.get(name) == 0:
            values[name] = None
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if changed:
        _tell(rack_id, changed)
        events.record("rack.changed", actor=actor, subject=row.name, **changed)
        db.session.commit()


def verify(rack_id: int, actor: str) -> None:
    """Have the rack check every file of its store now. Raises NotFound."""
    row = get(rack_id)
    _tell(rack_id, {"verifications": Rack.verifications + 1})
    events.record("rack.verification-requested", actor=actor, subject=row.name)
    db.session.commit()


def read_again(rack_id: int, actor: str) -> None:
    """Have the rack read the stream again. Raises NotFound."""
    row = get(rack_id)
    _tell(rack_id, {})
    events.record("rack.notified", actor=actor, subject=row.name)
    db.session.commit()


def remove(rack_id: int, actor: str) -> None:
    """Forget the rack; from now on its credential means nothing. Raises NotFound."""
    row = get(rack_id)
    statements.execute(delete(Rack).where(Rack.id == rack_id))
    events.record("rack.removed", actor=actor, subject=row.name)
    db.session.commit()
    wake()


def _tell(rack_id: int, values: dict[str, Any]) -> None:
    """Change the row, and with it the state that the rack is offered. The caller commits."""
    revision = Rack.settings_revision + 1
    mine = update(Rack).where(Rack.id == rack_id)
    statements.execute(mine.values(**values, settings_revision=revision))


def _upstreams(urls: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(addresses.checked(url, "upstreams") for url in urls))


def _check(row: Rack, values: dict[str, Any]) -> None:
    wrong: dict[str, list[str]] = {}
    mode, images = values.get("mode", row.mode), values.get("images", row.images)
    if mode not in set(RackMode):
        wrong["mode"] = [f"Choose one of {', '.join(RackMode)}."]
    if missing := _unknown(set(images) - set(row.images)):
        wrong["images"] = [f"No such image is stored: {', '.join(missing[:5])}."]
    elif len(images) > MAX_IMAGES:
        wrong["images"] = [f"Choose at most {MAX_IMAGES} images."]
    elif mode == RackMode.CHOSEN and not images:
        wrong["images"] = ["Choose at least one image, or another mode."]
    for name in ("max_bytes", "rate"):
        if not 0 <= values.get(name, 0) <= MAX_NUMBER:
            wrong[name] = ["Enter a number of bytes, or 0 for no limit."]
    if len(values.get("upstreams", ())) > MAX_UPSTREAMS:
        wrong["upstreams"] = [f"Enter at most {MAX_UPSTREAMS} URLs."]
    if after := values.get("after_rack_id"):
        if message := _order_problem(row.id, after):
            wrong["after_rack_id"] = [message]
    if wrong:
        raise InvalidFields(wrong)


def _unknown(names: set[str]) -> list[str]:
    """Those that no stored image has, as they can be shown."""
    found = db.session.execute(select(BootResource.name, BootResource.arch).distinct())
    known = {f"{name}/{arch}" for name, arch in found} if names else set()
    return [ascii(name)[1:-1][:60] for name in sorted(names - known)]


def _order_problem(rack_id: int, after: int) -> str:
    """Why a rack can't come after another one; "" if it can."""
    rows = db.session.execute(select(Rack.id, Rack.after_rack_id))
    follows = {row.id: row.after_rack_id for row in rows}
    if after not in follows:
        return "Choose an enrolled rack."
    step: int | None = after
    while step is not None:
        if step == rack_id:
            return "That rack comes after this one. Choose another."
        step = follows.get(step)
    return ""
