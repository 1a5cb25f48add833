# SPDX-License-Identifier: Apache-2.0
"""Tokens that enrol racks: for a limited time, a limited number of times."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select

from webapp.errors import Conflict, InvalidFields, NotFound
from webapp.extensions import db, settings
from webapp.models import RackToken, utcnow
from webapp.services.accounts import credentials, lineage
from webapp.services.accounts.lineage import Bearer
from webapp.services.mirror import keys
from webapp.services.system import events, statements

MAX_USES = 100
MAX_HOURS = 24 * 30
KEPT_AFTER = timedelta(days=1)  # an ended token is still listed for so long


def create(
    actor: str, *, uses: int = 1, hours: int = 24, parent: Bearer | None = None
) -> tuple[RackToken, str]:
    """Create a token and return it in full, this one time: ``SECRET.FINGERPRINT``.

    The fingerprint is of the key that signs the local mirror: a rack trusts it and no other.
    parent: what it's created with, and ends with. Raises InvalidFields; Conflict before there
    is a key, or after the parent's end.
    """
    wrong: dict[str, list[str]] = {}
    if not 1 <= uses <= MAX_USES:
        wrong["uses"] = [f"Enter 1 to {MAX_USES} racks."]
    if not 1 <= hours <= MAX_HOURS:
        wrong["hours"] = [f"Enter 1 to {MAX_HOURS} hours."]
    if wrong:
        raise InvalidFields(wrong)
    signer = keys.signer()
    if signer is None:
        raise Conflict(
            "There is no signing key yet, so racks couldn't tell this region from another.",
            next_step="Start the worker, which creates it, and try again.",
        )
    lineage.hold(parent)
    secret = secrets.token_urlsafe(24)
    end = utcnow() + timedelta(hours=hours)
    row = RackToken(
        token_hash=credentials.digest(secret),
        created_by=actor,
        expires_at=lineage.earliest(end, parent.expires_at if parent else None) or end,
        uses=uses,
        uses_left=uses,
    )
    db.session.add(row)
    events.record("rack_token.added", actor=actor, subject="racks", uses=uses, hours=hours)
    _forget_old()
    db.session.commit()
    return row, f"{secret}.{signer.fingerprint}"


def all_tokens() -> Sequence[RackToken]:
    """Every token that's kept, the newest first."""
    return db.session.scalars(select(RackToken).order_by(RackToken.id.desc())).all()


def usable() -> Sequence[RackToken]:
    """The tokens that still enrol racks, the newest first."""
    now = utcnow()
    return [row for row in all_tokens() if row.uses_left and row.expires_at > now]


def revoke(token_id: int, actor: str) -> None:
    """End a token at once; racks that were enrolled with it stay. Raises NotFound."""
    if not statements.count(delete(RackToken).where(RackToken.id == token_id)):
        raise NotFound(
            "There is no such enrolment token.",
            where=f"token {token_id}",
            next_step="It may have been revoked already. See the list.",
        )
    events.record("rack_token.revoked", actor=actor, subject="racks")
    db.session.commit()


def command(token: str, url: str) -> str:
    """The line to type on the rack. url: of this region, as the rack reaches it."""
    return f"SLIPWAY_REGION_URL={url} SLIPWAY_RACK_TOKEN={token} slipway run --role rack"


def region_url() -> str:
    """The web port's address, a guess where no setting names it."""
    known = settings()
    if known.public_url:
        return known.public_url
    host, _, port = known.web_bind.rpartition(":")
    name = socket.gethostname() if host in ("0.0.0.0", "[::]") else host  # noqa: S104
    return f"http://{name}:{port}/"


def _forget_old() -> None:
    """Delete tokens that ended long ago; the caller commits."""
    statements.execute(delete(RackToken).where(RackToken.expires_at < utcnow() - KEPT_AFTER))
