# SPDX-License-Identifier: Apache-2.0
"""The local mirror as people see it: its address, what is in it, who signs and who reads."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from webapp.extensions import db, settings
from webapp.models import (
    BootResource,
    Event,
    Publication,
    PublishedStream,
    ResourceFile,
    ResourceSet,
    utcnow,
)
from webapp.services.images import published
from webapp.services.mirror import keys, options, signatures

READERS_FOR = timedelta(days=7)
MAX_READERS = 50
_MAX_EVENTS = 2000


@dataclass(frozen=True)
class Reader:
    """Who read the stream lately. revision: the newest state that it read."""

    address: str
    revision: int
    read_at: datetime
    requests: int
    bytes: int


@dataclass(frozen=True)
class MirrorStatus:
    """The mirror now.

    url: its address, as far as this process knows it. is_current: whether everything that
    is published for machines is in it already. problem: why it isn't, if signing failed.
    """

    is_on: bool
    chosen: tuple[str, ...]
    has_uploads: bool
    prefix: str
    url: str
    revision: int
    serial: int
    is_current: bool
    signed_at: datetime | None
    fingerprint: str
    next_fingerprint: str
    next_signs_from: datetime | None
    images: int
    files: int
    bytes: int
    problem: dict[str, Any]
    certificate: str
    imgverify_problem: dict[str, str]
    readers: tuple[Reader, ...]


@dataclass(frozen=True)
class Brief:
    """Whether it's on, how many images are in it, and why it can't be signed, if so."""

    is_on: bool
    images: int
    problem: dict[str, Any]


def brief() -> Brief:
    """The state of the mirror without its readers, in two queries."""
    is_on = options.read().is_on
    row = db.session.get(PublishedStream, 1)
    if row is None:
        return Brief(is_on, 0, {})
    return Brief(is_on, row.images if is_on and row.serial >= 0 else 0, dict(row.problem))


def read() -> MirrorStatus:
    """The state of the mirror."""
    wanted = options.read()
    row = db.session.get(PublishedStream, 1) or PublishedStream(
        id=1, prefix=options.PREFIX, revision=0, serial=-1, fingerprint="",
        images=0, files=0, size=0, problem={},
    )  # fmt: skip
    is_served = wanted.is_on and row.serial >= 0
    serial = db.session.scalar(select(Publication.serial)) or 0
    waiting = [key for key in keys.all_keys() if key.signs_from > utcnow()][-1:]
    return MirrorStatus(
        is_on=wanted.is_on,
        chosen=wanted.images,
        has_uploads=wanted.has_uploads,
        prefix=row.prefix,
        url=rack_address() + row.prefix,
        revision=row.revision,
        serial=max(row.serial, 0),
        is_current=is_served and row.serial == serial and not row.problem,
        signed_at=row.updated_at if is_served else None,
        fingerprint=row.fingerprint,
        next_fingerprint=waiting[0].fingerprint if waiting else "",
        next_signs_from=waiting[0].signs_from if waiting else None,
        images=row.images if is_served else 0,
        files=row.files if is_served else 0,
        bytes=row.size if is_served else 0,
        problem=dict(row.problem),
        certificate=signatures.certificate().fingerprint,
        imgverify_problem=signatures.problem(),
        readers=_readers(),
    )


def image_names() -> list[str]:
    """Every image that could be chosen; boot loaders come along anyway."""
    names = select(BootResource.name).where(
        BootResource.current_set_id.is_not(None), BootResource.bootloader_type == ""
    )
    return sorted(set(db.session.scalars(names)))


def example_folder() -> str:
    """Where machines find a kernel, below the rack's URL: for what to type on pages."""
    row = db.session.execute(
        select(
            BootResource.os,
            BootResource.arch,
            BootResource.subarch,
            BootResource.release,
            ResourceSet.label,
        )
        .join(ResourceSet, ResourceSet.id == BootResource.current_set_id)
        .join(ResourceFile, ResourceFile.set_id == ResourceSet.id)
        .where(ResourceFile.filename == "boot-kernel")
        .order_by(BootResource.release.desc(), BootResource.id)
        .limit(1)
    ).first()
    found = row or ("ubuntu", "amd64", "ga-24.04", "noble", "stable")
    return "images/" + published.image_path(*found)


def public_key() -> tuple[str, str]:
    """The fingerprint of the key that signs, and all public keys to trust, armored.

    Both are "" until the worker has started once.
    """
    signer = keys.signer()
    if signer is None:
        return "", ""
    return signer.fingerprint, signer.public.decode("ascii", "replace")


def rack_address() -> str:
    """The rack's address, as far as this process knows it."""
    known = settings()
    if known.rack_url:
        return known.rack_url
    host, _, port = known.rack_bind.rpartition(":")
    name = socket.gethostname() if host in ("0.0.0.0", "[::]") else host  # noqa: S104
    return f"http://{name}:{port}/"


def _readers() -> tuple[Reader, ...]:
    """Those of the last days, the latest first."""
    since = utcnow() - READERS_FOR
    rows = db.session.scalars(
        select(Event)
        .where(Event.kind == "mirror.read", Event.at > since)
        .order_by(Event.id.desc())
        .limit(_MAX_EVENTS)
    )
    found: dict[str, Reader] = {}
    for row in rows:
        requests, size = int(row.detail.get("requests", 0)), int(row.detail.get("bytes", 0))
        revision = int(row.detail.get("version", 0))
        known = found.setdefault(row.actor, Reader(row.actor, revision, row.at, 0, 0))
        found[row.actor] = replace(
            known,
            revision=max(known.revision, revision),
            requests=known.requests + requests,
            bytes=known.bytes + size,
        )
    return tuple(found.values())[:MAX_READERS]
