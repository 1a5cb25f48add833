# SPDX-License-Identifier: Apache-2.0
"""Compare two stored versions of an image."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import BootResource, PackageList, ResourceSet
from webapp.services.images import differences, versions
from webapp.services.images.differences import Contents, Difference, File


def compare(resource_ids: Collection[int], before: str, after: str) -> Difference:
    """What changes from one version to another, with a few queries in all.

    before: "" for the one before ``after``; after: "" for the current one. Raises NotFound.
    """
    resources = db.session.scalars(
        select(BootResource)
        .where(BootResource.id.in_(resource_ids), BootResource.current_set_id.is_not(None))
        .order_by(BootResource.id)
    ).all()
    if not resources:
        raise NotFound("Image not found.", next_step="See the list of images.")
    kept = versions.of_several([resource.id for resource in resources])
    after = after or _current(resources[0], kept)
    before = before or _previous(resources, kept, after)
    old = versions.chosen(resources, kept, before)
    new = versions.chosen(resources, kept, after)
    lists = _lists([*old.values(), *new.values()])
    names = {resource.id: resource.subarch for resource in resources}
    return differences.compare(
        _contents(before, old, names, lists), _contents(after, new, names, lists)
    )


def _current(resource: BootResource, kept: Mapping[int, Sequence[ResourceSet]]) -> str:
    sets = kept.get(resource.id, ())
    return next((one.version for one in sets if one.id == resource.current_set_id), "")


def _previous(
    resources: Sequence[BootResource], kept: Mapping[int, Sequence[ResourceSet]], version: str
) -> str:
    """The stored version before this one."""
    for resource in resources:
        names = [one.version for one in kept.get(resource.id, ())]
        if version in names[:-1]:
            return names[names.index(version) + 1]
    raise NotFound(
        "No older version is stored.",
        where=f"{resources[0].name} {version[:60]}",
        next_step="Keep more versions, so that the next update can be compared.",
    )


def _lists(sets: Sequence[ResourceSet]) -> dict[str, dict[str, str]]:
    wanted = {one.packages_sha256 for one in sets if one.packages_sha256}
    rows = db.session.scalars(select(PackageList).where(PackageList.sha256.in_(wanted)))
    return {row.sha256: _packages(row.content) for row in rows}


def _packages(content: bytes) -> dict[str, str]:
    return differences.parse_packages(zlib.decompress(content).decode("utf-8", "replace"))


def _contents(
    version: str,
    sets: Mapping[int, ResourceSet],
    names: Mapping[int, str],
    lists: Mapping[str, dict[str, str]],
) -> Contents:
    """A version of all kernels together; files have the kernel's name where it has several."""
    is_several = len(names) > 1
    files, kernels = {}, {}
    packages: dict[str, str] | None = None
    for resource_id, one in sets.items():
        subarch = names[resource_id]
        for file in one.files:
            name = f"{subarch}/{file.filename}" if is_several else file.filename
            files[name] = File(file.blob.sha256, file.blob.size)
            if file.extra.get("kpackage"):
                words = (file.extra["kpackage"], file.extra.get("src_version", ""))
                kernels[subarch] = " ".join(word for word in words if word)
        packages = packages or lists.get(one.packages_sha256)
    return Contents(version, files, kernels, packages)
