# SPDX-License-Identifier: Apache-2.0
"""What publishers announce: releases of MAAS newer than ours (rule: release-notices)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from webapp.extensions import db
from webapp.models import BootSource, HiddenNotice, utcnow
from webapp.services.system import events, live_settings
from webapp.services.system.live_settings import RELEASE_NOTICES

MAAS_VERSION = "2.9.2"  # the one that we are to its clients
HIDDEN_FOR = timedelta(days=14)


@dataclass(frozen=True)
class Announcements:
    """What one person is told. hidden: source and digest of what they don't want to see now."""

    is_on: bool
    hidden: frozenset[tuple[int, str]] = frozenset()

    def of(self, source: BootSource) -> list[dict[str, Any]]:
        """The announcements of a source that are news to us; asks no database."""
        if not self.is_on:
            return []
        return [
            one
            for one in source.notices
            if is_newer(one["maas_version"]) and (source.id, _digest(one)) not in self.hidden
        ]


def everything() -> Announcements:
    """What is announced to everyone, whoever hides it."""
    return Announcements(bool(live_settings.read(RELEASE_NOTICES)))


def told(user_id: int | None) -> Announcements:
    """What a user is told; None for the command line on this machine."""
    now = utcnow()
    hidden = select(HiddenNotice.source_id, HiddenNotice.digest).where(
        HiddenNotice.user_id == user_id,
        HiddenNotice.until > now,
        # An end that's too far off was set before the clock was set back.
        HiddenNotice.until <= now + HIDDEN_FOR,
    )
    found = frozenset((row.source_id, row.digest) for row in db.session.execute(hidden))
    return Announcements(everything().is_on, found)


def dismiss(source: BootSource, user_id: int | None, actor: str) -> None:
    """Hide from one user what is announced now; a notice that changes is another one. Commits."""
    digests = [_digest(one) for one in told(user_id).of(source)]
    db.session.execute(
        delete(HiddenNotice).where(
            HiddenNotice.user_id == user_id,
            HiddenNotice.source_id == source.id,
            HiddenNotice.digest.in_(digests),
        )
    )
    until = utcnow() + HIDDEN_FOR
    db.session.add_all(
        HiddenNotice(user_id=user_id, source_id=source.id, digest=digest, until=until)
        for digest in digests
    )
    events.record("source.notices-dismissed", actor=actor, subject=source.url)
    db.session.commit()


def is_newer(version: str) -> bool:
    """Whether a version of MAAS is newer than the one that we are."""
    return _numbers(version) > _numbers(MAAS_VERSION)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"[0-9]{1,9}", version))


def _digest(notice: dict[str, Any]) -> str:
    words = f"{notice['maas_version']}\n{notice['message']}"
    return hashlib.sha256(words.encode()).hexdigest()
