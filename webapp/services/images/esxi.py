# SPDX-License-Identifier: Apache-2.0
"""VMware ESXi images as their page shows them: version, build, disk, origin, who fetched it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import joinedload

from webapp.extensions import db
from webapp.models import BootResource, Event, ResourceSet, ResourceType, Upload
from webapp.services.images import versions
from webapp.services.sources import sources

OS = "esxi"


@dataclass(frozen=True)
class EsxiVersion:
    """One version of an ESXi image. report: what inspecting its file found, {} if unknown."""

    set: ResourceSet
    is_current: bool
    size: int
    report: dict[str, Any]

    @property
    def words(self) -> str:
        """Name and build, as the disk itself states."""
        esxi = self.report.get("esxi") or {}
        version, build = esxi.get("version"), esxi.get("build")
        if not version:
            return ""
        return f"VMware ESXi {version}" + (f" build {build}" if build else "")


@dataclass(frozen=True)
class EsxiImage:
    """An ESXi image with its versions, the newest first, and the machines that fetched it."""

    resource: BootResource
    origin: str
    versions: tuple[EsxiVersion, ...]
    machines: tuple[tuple[str, datetime], ...]

    @property
    def current(self) -> EsxiVersion | None:
        """The version that machines get."""
        return next((version for version in self.versions if version.is_current), None)


def listed() -> list[EsxiImage]:
    """Every ESXi image that machines can get."""
    resources = db.session.scalars(
        select(BootResource)
        .where(BootResource.os == OS, BootResource.current_set_id.is_not(None))
        .options(joinedload(BootResource.current_set))
        .order_by(BootResource.name, BootResource.architecture)
    ).all()
    titles = sources.titles()
    reports = _reports([resource.id for resource in resources])
    kept = versions.of_several([resource.id for resource in resources])
    machines = _machines(resources)
    return [
        EsxiImage(
            resource=resource,
            origin="Uploaded"
            if resource.rtype == ResourceType.UPLOADED
            else titles.get(resource.source_id or 0, "Removed boot source"),
            versions=tuple(
                EsxiVersion(
                    set=one,
                    is_current=one.id == resource.current_set_id,
                    size=sum(file.blob.size for file in one.files),
                    report=reports.get((resource.id, one.version), {}),
                )
                for one in kept.get(resource.id, ())
            ),
            machines=machines.get(resource.id, ()),
        )
        for resource in resources
    ]


def _reports(resource_ids: list[int]) -> dict[tuple[int, str], dict[str, Any]]:
    rows = db.session.execute(
        select(Upload.resource_id, Upload.version, Upload.report).where(
            Upload.resource_id.in_(resource_ids)
        )
    )
    return {(row.resource_id or 0, row.version): row.report for row in rows}


def _machines(resources: Any) -> dict[int, tuple[tuple[str, datetime], ...]]:
    """Machines by their addresses, each with its last fetch; one query."""
    folders = {f"{r.os}/{r.arch}/{r.subarch}/{r.release}/": r.id for r in resources}
    if not folders:
        return {}
    paths = [Event.subject.startswith(folder, autoescape=True) for folder in folders]
    rows = db.session.execute(
        select(Event.subject, Event.actor, func.max(Event.at).label("at"))
        .where(Event.kind == "image.fetched", or_(*paths))
        .group_by(Event.subject, Event.actor)
    )
    found: dict[int, dict[str, datetime]] = {}
    for row in rows:
        folder = "/".join(row.subject.split("/")[:4]) + "/"
        mine = found.setdefault(folders.get(folder, 0), {})
        mine[row.actor] = max(row.at, mine.get(row.actor, row.at))
    return {
        resource_id: tuple(sorted(mine.items(), key=lambda pair: pair[1], reverse=True)[:50])
        for resource_id, mine in found.items()
    }
