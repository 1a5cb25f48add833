# SPDX-License-Identifier: Apache-2.0
"""Decide which versions of an image stay, why, and until when. Pure: no database, no clock.

The current version, locked ones and the newest few stay, as well as those that a machine
fetched (or that were stored) within some days. Whatever else is left is surplus
(rule: one-version-only).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.numbers import counted
from webapp.streams.documents import version_key


@dataclass(frozen=True, slots=True)
class Policy:
    """How many of the newest versions stay, the current one included; and for how many days.

    keep_days: 0 when only their number counts.
    """

    keep_versions: int
    keep_days: int


@dataclass(frozen=True, slots=True)
class Version:
    """What this decision needs to know of a stored version."""

    id: int
    version: str
    is_current: bool
    is_locked: bool
    completed_at: datetime
    fetched_at: datetime | None

    @property
    def used_at(self) -> datetime:
        """When a machine last fetched it, or else when it was stored."""
        return max(self.completed_at, self.fetched_at or self.completed_at)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a version stays, "" when it's surplus. until: when that ends, None if it's open."""

    why: str
    until: datetime | None = None

    @property
    def is_kept(self) -> bool:
        """Whether it stays for now."""
        return bool(self.why)


def order(version: str, id: int) -> tuple[object, ...]:
    """Sort key of versions: the newest is the largest.

    One that stepped aside for other files of the same version is older than those.
    """
    return version_key(version.partition("~")[0]), id


def judge(versions: Iterable[Version], policy: Policy, now: datetime) -> dict[int, Verdict]:
    """The verdict on each version of one image, the newest first."""
    newest_first = sorted(versions, key=lambda one: order(one.version, one.id), reverse=True)
    return {
        one.id: _judge(one, place, policy, now) for place, one in enumerate(newest_first, start=1)
    }


def surplus(versions: Iterable[Version], policy: Policy, now: datetime) -> list[int]:
    """The ids of the versions that no rule keeps."""
    return [id for id, one in judge(versions, policy, now).items() if not one.is_kept]


def _judge(one: Version, place: int, policy: Policy, now: datetime) -> Verdict:
    if one.is_current:
        return Verdict("current")
    if one.is_locked:
        return Verdict("locked")
    if place <= policy.keep_versions:
        return Verdict(f"one of the newest {policy.keep_versions}")
    until = one.used_at + timedelta(days=policy.keep_days)
    if now < until:
        return Verdict(f"used in the last {counted(policy.keep_days, 'day')}", until)
    return Verdict("")
