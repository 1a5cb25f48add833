# SPDX-License-Identifier: Apache-2.0
"""How a boot source is doing: judged here once, for pages, ``doctor``, ``status`` and lists."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.errors import Problem
from webapp.extensions import settings
from webapp.models import BootSource, utcnow
from webapp.services.sources import refreshing
from webapp.severity import Severity

CLIENT_CERT_ENDS_SOON = timedelta(days=30)


class SourceState(enum.StrEnum):
    """The state of a source; part of ``/api/v1``."""

    OK = "ok"
    OFF = "off"
    CHECKING = "checking"  # new or changed, and not checked by the worker yet
    STALE = "stale"
    KEY_EXPIRES = "key-expires-soon"
    CLIENT_CERT = "client-certificate-expires"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class SourceHealth:
    """One source's state; ``problem`` is set when it can't be read."""

    state: SourceState
    severity: Severity
    detail: str = ""
    next_step: str = ""
    problem: Problem | None = None

    @property
    def text(self) -> str:
        """The state in a word, for users."""
        return "OK" if self.state == SourceState.OK else self.state.replace("-", " ").capitalize()

    @property
    def is_checking(self) -> bool:
        """Whether the worker will change the state in a moment."""
        return self.state == SourceState.CHECKING


def judge(
    source: BootSource,
    now: datetime | None = None,
    announced: Iterable[Mapping[str, str]] = (),
) -> SourceHealth:
    """Judge a source by its last refresh; nothing of the judgement is stored.

    announced: what its publisher announces to whoever asks, to be told with it.
    A source that is off has no problem, whatever its last refresh met.
    """
    if not source.is_enabled:
        return SourceHealth(SourceState.OFF, Severity.OFF, "Nothing is imported from it.")
    if source.checked_at is None:
        return SourceHealth(
            SourceState.CHECKING,
            Severity.BUSY,
            "Queued for checking.",
            "If this takes long, check that the worker is running.",
        )
    problem = refreshing.problem_of(source)
    if problem is not None:
        return SourceHealth(
            SourceState.UNREADABLE, Severity.ERROR, problem.what, problem.next_step, problem
        )
    updated = source.index_updated_at
    age = (now or utcnow()) - updated if updated else timedelta(0)
    if age > timedelta(days=settings().stale_days):
        return SourceHealth(
            SourceState.STALE,
            Severity.WARN,
            f"Its index is {age.days} days old.",
            "Check that the mirror is still being updated.",
        )
    for one in source.warnings:
        if one["code"] == SourceState.KEY_EXPIRES:
            detail = f"The key that signs it expires on {one['got']}."
            return SourceHealth(SourceState.KEY_EXPIRES, Severity.WARN, detail, one["next_step"])
    if (expiry := _client_cert(source, now or utcnow())) is not None:
        return expiry
    details = (_left_out(source), _announced(announced))
    return SourceHealth(SourceState.OK, Severity.OK, " ".join(filter(None, details)))


def _client_cert(source: BootSource, now: datetime) -> SourceHealth | None:
    """Warn of a client certificate that expires within a month, or has."""
    ends = source.client_cert_ends_at
    if ends is None or ends - now > CLIENT_CERT_ENDS_SOON:
        return None
    word = "expires" if ends > now else "expired"
    return SourceHealth(
        SourceState.CLIENT_CERT,
        Severity.WARN,
        f"Its client certificate {word} on {ends:%Y-%m-%d %H:%M} UTC.",
        "Get a new one from the mirror's operator, and add it on the source's page.",
    )


def _announced(notices: Iterable[Mapping[str, str]]) -> str:
    """What its publisher announces, in short."""
    versions = sorted({one["maas_version"] for one in notices})
    return f"Its publisher announces MAAS {', '.join(versions)}." if versions else ""


def _left_out(source: BootSource) -> str:
    """What of the stream isn't used, with the first reason."""
    if not source.left_out:
        return ""
    first, count = source.left_out[0], len(source.left_out)
    version = f", version {first['version']}" if first["version"] else ""
    return (
        f"{count} entr{'ies' if count > 1 else 'y'} of its stream {'are' if count > 1 else 'is'} "
        f"left out: {first['product']}{version}: {first['reason']}"
        f"{f' (and {count - 1} more)' if count > 1 else ''}."
    )
