# SPDX-License-Identifier: Apache-2.0
"""The boot table: which image a machine boots, as an administrator sets it."""

from __future__ import annotations

import re

from sqlalchemy import select

from webapp.errors import InvalidFields, NotFound
from webapp.extensions import db
from webapp.models import BootEntry, utcnow
from webapp.services.boot import choosing, configs, reading
from webapp.services.boot.choosing import GENERIC, Outcome, StoredImage, Table
from webapp.services.images import publishing
from webapp.services.system import events
from webapp.streams.restrictions import read_mac

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][\w.+~:@-]{0,127}", re.ASCII)
ARCHES = ("amd64", "arm64", "armhf", "ppc64el", "riscv64", "s390x")


def entries() -> list[BootEntry]:
    """All of it: the defaults first, then machines by their address."""
    rows = db.session.scalars(select(BootEntry).order_by(BootEntry.machine))
    return sorted(rows, key=lambda row: ":" in row.machine)


def read() -> Table:
    """The table and the images that it names."""
    return reading.read_table(db.session.connection())


def bootable() -> list[StoredImage]:
    """The images that machines can boot now."""
    able = reading.read_bootable(db.session.connection())
    return sorted(able, key=lambda one: (one.os, one.release, one.arch, one.subarch))


def explain(machine: str, arch: str = "amd64") -> Outcome:
    """What a machine would get now, and why. machine: its MAC address. Raises InvalidFields."""
    mac = read_mac(machine)
    if not mac:
        raise InvalidFields({"mac": [f"{machine[:40]!a} isn't a MAC address."]})
    return choosing.decide(read(), mac, _checked_arch(arch))


def outcomes() -> dict[str, Outcome]:
    """What each entry gives its machines, by its machine or architecture."""
    found = read()
    return {
        machine: choosing.decide(found, machine if ":" in machine else "", entry.arch)
        for machine, entry in found.entries.items()
    }


def set_entry(
    actor: str, machine: str, name: str, *, arch: str, kernel: str = GENERIC, parameters: str = ""
) -> BootEntry:
    """Add or replace an entry. machine: a MAC address, or ``default``. Raises InvalidFields.

    The image needn't be stored yet.
    """
    key = _key(machine, _checked_arch(arch))
    arch = _checked_arch(arch) if ":" in key else key
    os, _, release = name.strip().partition("/")
    if not _NAME.fullmatch(os) or not _NAME.fullmatch(release):
        raise InvalidFields({"name": ["Enter the name of an image, e.g. ubuntu/noble."]})
    kernel = kernel.strip() or GENERIC
    if not _NAME.fullmatch(kernel):
        raise InvalidFields({"kernel": ["Enter the name of a kernel, e.g. ga-24.04."]})
    parameters = parameters.strip()
    if problem := configs.flaw(parameters):
        raise InvalidFields({"parameters": [problem]})
    row = db.session.get(BootEntry, key) or BootEntry(machine=key)
    row.os, row.release, row.arch, row.subarch = os, release, arch, kernel
    row.parameters, row.updated_by, row.updated_at = parameters, actor, utcnow()
    db.session.add(row)
    detail = {"image": name, "arch": arch, "kernel": kernel, "parameters": parameters}
    events.record("boot.set", actor=actor, subject=key, **detail)
    publishing.bump()
    db.session.commit()
    return row


def get(machine: str) -> BootEntry:
    """The entry of a machine, or of an architecture. Raises InvalidFields, NotFound."""
    key = _key(machine, ARCHES[0])
    row = db.session.get(BootEntry, key)
    if row is None:
        raise NotFound(f"{key} has no entry.", next_step="`slipway boot list` shows the table.")
    return row


def unset(actor: str, machine: str) -> None:
    """Remove an entry. Raises InvalidFields, NotFound."""
    row = get(machine)
    events.record("boot.unset", actor=actor, subject=row.machine, image=f"{row.os}/{row.release}")
    db.session.delete(row)
    publishing.bump()
    db.session.commit()


def _key(machine: str, arch: str) -> str:
    machine = machine.strip()
    if machine in ("", DEFAULT):
        return arch
    mac, named = read_mac(machine), choosing.arch_of(machine)
    if not mac and named not in ARCHES:
        words = f"{machine[:40]!a} isn't a MAC address. Enter one, or default."
        raise InvalidFields({"machine": [words]})
    return mac or named


def _checked_arch(arch: str) -> str:
    found = choosing.arch_of(arch.strip() or ARCHES[0])
    if found not in ARCHES:
        raise InvalidFields({"arch": [f"Enter one of {', '.join(ARCHES)}."]})
    return found
