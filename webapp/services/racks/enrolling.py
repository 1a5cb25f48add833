# SPDX-License-Identifier: Apache-2.0
"""Enrol a rack with a token, and know it by its credential afterwards."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import or_, select, update

from webapp.errors import Conflict, InvalidFields, Problem
from webapp.extensions import db
from webapp.models import Rack, RackToken, utcnow
from webapp.services.accounts import credentials, throttle
from webapp.services.mirror import keys, options
from webapp.services.racks import addresses
from webapp.services.system import events, statements
from webapp.services.system.wake import wake

PREFIX = "slr_"  # lets scanners for leaked secrets know one
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
SEEN_EVERY = timedelta(seconds=10)
_BUCKET = throttle.Bucket("rack", capacity=20, refill_s=30)
_LETTERS = string.ascii_lowercase + string.digits


class EnrolmentRefused(Problem):
    """The token is unknown, used up or expired; never reveals which."""

    code = "enrolment-refused"


class TooManyAttempts(Problem):
    """This address has tried too often; nothing was checked."""

    code = "too-many-attempts"


@dataclass(frozen=True)
class Enrolment:
    """What a rack gets once. credential: "" if it has its own.

    public_key: every key to trust, armored.
    """

    id: int
    credential: str
    mirror_path: str
    fingerprint: str
    public_key: str


def enrol(
    token: str, name: str, url: str, version: str, *, address: str, credential_hash: str = ""
) -> Enrolment:
    """Enrol a rack. address: where it calls from. credential_hash: of a credential of its own.

    One whose answer was lost may enrol again with the same name, token and credential, which
    no other machine has; earlier versions had none, and enrol again from the same address.
    Raises EnrolmentRefused, TooManyAttempts, InvalidFields or Conflict.
    """
    key = throttle.network(address)
    if not throttle.allow(_BUCKET, key):
        raise TooManyAttempts("Too many attempts.", next_step="Wait a minute and try again.")
    row = _token(token)
    url = addresses.checked(url, "url") if url else ""
    if not NAME.fullmatch(name):
        words = "Use up to 63 letters, digits, dots, hyphens and underscores."
        raise InvalidFields({"name": [words]})
    signer = keys.signer()
    if signer is None:
        raise Conflict("There is no signing key yet.", next_step="Start the region's worker.")
    credential = "" if credential_hash else PREFIX + secrets.token_urlsafe(32)
    values = {
        "url": url,
        "version": version,
        "address": address,
        "credential_hash": credential_hash or credentials.digest(credential),
    }
    rack_id = _again(row.id, name, values, has_own=bool(credential_hash)) or _first(
        row.id, name, values
    )
    throttle.forget(_BUCKET, key)
    db.session.commit()
    wake()
    return Enrolment(
        rack_id,
        credential,
        f"/{options.prefix()}",
        signer.fingerprint,
        signer.public.decode("ascii", "replace"),
    )


def _token(text: str) -> RackToken:
    """The token of this secret, also one that was used up."""
    hashed = credentials.digest(text.partition(".")[0])
    row = db.session.scalar(
        select(RackToken).where(RackToken.token_hash == hashed, RackToken.expires_at > utcnow())
    )
    return row if row is not None else _refuse()


def _refuse() -> RackToken:
    raise EnrolmentRefused(
        "This enrolment token isn't valid.",
        next_step="It has expired, was used up or was revoked. Create another one on the "
        "region's page Racks or with `slipway rack enrol`.",
    )


def _again(token_id: int, name: str, values: dict[str, str], *, has_own: bool) -> int | None:
    """The id of the rack that this token enrolled already. Two may have one name by mistake."""
    mine = [Rack.name == name, Rack.token_id == token_id]
    if has_own:
        mine.append(Rack.credential_hash == values["credential_hash"])
    else:
        mine += [Rack.url == values["url"], Rack.address == values["address"]]
        mine.append(Rack.seen_at.is_(None))
    if not statements.count(update(Rack).where(*mine).values(**values)):
        return None
    return db.session.scalar(select(Rack.id).where(Rack.name == name))


def _first(token_id: int, name: str, values: dict[str, str]) -> int:
    # One conditional UPDATE both counts and decides.
    is_left = (RackToken.id == token_id, RackToken.uses_left > 0)
    spent = update(RackToken).where(*is_left).values(uses_left=RackToken.uses_left - 1)
    if not statements.count(spent):
        _refuse()
    is_taken = or_(Rack.name == name, Rack.credential_hash == values["credential_hash"])
    if db.session.scalar(select(Rack.id).where(is_taken).limit(1)) is not None:
        raise Conflict(
            "A rack with this name is enrolled already.",
            where=name,
            next_step="Give this rack another name with SLIPWAY_RACK_NAME, or remove the other "
            "one on the page Racks.",
        )
    system_id = "".join(secrets.choice(_LETTERS) for _ in range(6))
    row = Rack(name=name, system_id=system_id, token_id=token_id, **values)
    db.session.add(row)
    db.session.flush()
    events.record("rack.enrolled", actor=name, subject=name, address=values["address"])
    return row.id


def find(credential: str, *, address: str) -> Rack | None:
    """The rack with this credential, noted as seen. Commits at most once in SEEN_EVERY."""
    if not credential.startswith(PREFIX) or len(credential) > 200 or not credential.isascii():
        return None
    mine = Rack.credential_hash == credentials.digest(credential)
    row = db.session.scalar(select(Rack).where(mine))
    if row is None:
        return None
    now = utcnow()
    if row.seen_at is None or abs(now - row.seen_at) >= SEEN_EVERY or row.address != address:
        is_old = or_(Rack.seen_at.is_(None), Rack.seen_at < now - SEEN_EVERY, Rack.seen_at > now)
        statements.execute(
            update(Rack)
            .where(Rack.id == row.id, or_(is_old, Rack.address != address))
            .values(seen_at=now, address=address)
        )
        db.session.commit()
        row = db.session.scalar(select(Rack).where(mine))  # None: removed at this moment
    return row
