# SPDX-License-Identifier: Apache-2.0
"""What publishers announce: releases of MAAS newer than ours (rule: release-notices)."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

from webapp.extensions import db
from webapp.models import BootSource, Setting, utcnow
from webapp.services.system import events, live_settings
from webapp.services.system.live_settings import RELEASE_NOTICES

MAAS_VERSION = "2.9.2"  # the one that we are to its clients
HIDDEN_FOR = timedelta(days=14)
_DISMISSED = "release_notices_dismissed"  # until when, by notice


def shown(source: BootSource) -> list[dict[str, Any]]:
    """The announcements that are news to us, unless they're switched off or were dismissed."""
    found = [one for one in source.notices if is_newer(one["maas_version"])]
    if not found or not live_settings.read(RELEASE_NOTICES):
        return []
    hidden = _hidden()
    return [one for one in found if _key(source, one) not in hidden]


def dismiss(source: BootSource, actor: str) -> None:
    """Hide for everyone what is announced now; a notice that changes is another one. Commits."""
    until = (utcnow() + HIDDEN_FOR).isoformat()
    hidden = _hidden() | {_key(source, one): until for one in shown(source)}
    db.session.merge(Setting(key=_DISMISSED, value=hidden))
    events.record("source.notices-dismissed", actor=actor, subject=source.url)
    db.session.commit()


def is_newer(version: str) -> bool:
    """Whether a version of MAAS is newer than the one that we are."""
    return _numbers(version) > _numbers(MAAS_VERSION)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"[0-9]{1,9}", version))


def _hidden() -> dict[str, str]:
    """What is hidden now. An end that's too far off was set before the clock was set back."""
    kept = db.session.get(Setting, _DISMISSED)
    ends: dict[str, str] = kept.value if kept else {}
    now = utcnow()
    left = {key: datetime.fromisoformat(end) - now for key, end in ends.items()}
    return {key: ends[key] for key, time in left.items() if timedelta(0) < time <= HIDDEN_FOR}


def _key(source: BootSource, notice: dict[str, Any]) -> str:
    words = f"{notice['maas_version']}\n{notice['message']}"
    return f"{source.id} {hashlib.sha256(words.encode()).hexdigest()}"
