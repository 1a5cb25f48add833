# SPDX-License-Identifier: Apache-2.0
"""The release that machines are commissioned with (rule: commissioning-release).

It's a setting that clients of MAAS read and write. Its selection can't be removed
(``commissioned``), and whoever tries is offered another release in its place.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import (
    BootResource,
    BootSource,
    BootSourceCache,
    ResourceFile,
    ResourceType,
    Setting,
)
from webapp.services.sources.commissioned import covers, is_selected, release
from webapp.services.sources.picture import Picture
from webapp.services.sources.selections import Pick
from webapp.services.system import events
from webapp.services.system.live_settings import COMMISSIONING, DEFAULT_OS, DEFAULT_RELEASE
from webapp.streams.osnames import is_lts

COMMISSIONABLE = frozenset({"boot-kernel", "boot-initrd", "squashfs"})


@dataclass(frozen=True)
class Loss:
    """A commissioning release that would no longer be selected, and what could replace it."""

    release: str
    replacements: tuple[str, ...]


def choices(picture: Picture) -> dict[str, str]:
    """Releases to choose from, with their titles: selected LTS releases, and the current one."""
    current = release()
    found = {
        rel.release: rel.title
        for rel in picture.ubuntu
        if (rel.is_lts or rel.release == current)
        and any(box.is_wanted for box in rel.boxes.values())
    }
    if current and current not in found:
        found = {current: f"{current} (not selected)"} | found
    return found


def loss(picture: Picture, selected: Collection[Pick]) -> Loss | None:
    """What a selection would do to the commissioning release; None when it stays.

    Replacements are the other LTS releases of the selection and of rules, those that are
    stored first.
    """
    current = release()
    ruled = {(os, name) for os, name, _ in picture.ruled}

    def has(picks: Collection[Pick], name: str) -> bool:
        return ("ubuntu", name) in ruled or any(covers(p.os, p.release, name) for p in picks)

    if not current or not has(picture.selected, current) or has(selected, current):
        return None
    found = [rel for rel in picture.ubuntu if rel.is_lts and has(selected, rel.release)]
    found.sort(key=lambda rel: not any(box.is_stored for box in rel.boxes.values()))
    return Loss(current, tuple(rel.release for rel in found))


def replace(lost: Loss | None, chosen: str, actor: str) -> None:
    """Commission with another release, in the transaction of the selection's change.

    Raises InvalidFields for one that isn't among the replacements.
    """
    if not chosen:
        return
    if lost is None or chosen not in lost.replacements:
        known = ", ".join(lost.replacements) if lost else ""
        words = f"Choose one of these: {known}." if known else "There's nothing to replace."
        raise InvalidFields({"commission": [words]})
    _set(COMMISSIONING, chosen, actor)
    db.session.flush()


def choose_defaults(actor: str = "worker") -> None:
    """Choose the releases to commission and deploy with, unless they were ever set. Commits.

    It's the stored LTS with the longest support that can commission.
    """
    names = (COMMISSIONING, DEFAULT_RELEASE, DEFAULT_OS)
    kept = {row.key: row.value for row in db.session.scalars(
        select(Setting).where(Setting.key.in_(names)))}  # fmt: skip
    missing = [name for name in names[:2] if name not in kept]
    if kept.get(DEFAULT_OS, "ubuntu") != "ubuntu":
        missing = [name for name in missing if name != DEFAULT_RELEASE]
    best = _longest_supported() if missing else ""
    for name in missing if best else ():
        _set(name, best, actor)
    db.session.commit()


def trouble() -> tuple[str, str]:
    """What is wrong with the commissioning release, and what to do; two empty texts if nothing."""
    current = release()
    if not current:
        return "", ""
    offered = (
        select(BootSourceCache.id)
        .join(BootSource, BootSource.id == BootSourceCache.source_id)
        .where(
            BootSourceCache.os == "ubuntu",
            BootSourceCache.release == current,
            BootSource.is_enabled,
        )
    )
    change = f"or choose another: slipway setting set {COMMISSIONING} RELEASE"
    if db.session.scalar(offered.limit(1)) is None:
        words = f"No boot source offers ubuntu/{current}, the commissioning release."
        return words, f"Add or enable a boot source that does, {change}"
    if not is_selected(current, is_imported=True):
        words = f"ubuntu/{current}, the commissioning release, isn't selected."
        return words, f"Select it, {change}"
    return "", ""


# -- pieces


def _set(name: str, value: str, actor: str) -> None:
    db.session.merge(Setting(key=name, value=value))
    events.record("setting.changed", actor=actor, subject=name, value=value)


def _longest_supported() -> str:
    """The release of the stored, commissionable Ubuntu LTS whose support ends last, "" for none."""
    count = func.count(ResourceFile.id.distinct())
    rows = db.session.execute(
        select(BootResource.release, BootResource.stream_fields)
        .join(ResourceFile, ResourceFile.set_id == BootResource.current_set_id)
        .where(
            BootResource.os == "ubuntu",
            BootResource.rtype == ResourceType.SYNCED,
            ResourceFile.ftype.in_(COMMISSIONABLE),
        )
        .group_by(BootResource.id)
        .having(count == len(COMMISSIONABLE))
    )
    found = [
        (str(fields.get("support_eol", "")), name)
        for name, fields in rows
        if is_lts(str(fields.get("release_title", "")))
    ]
    return max(found)[1] if found else ""
