# SPDX-License-Identifier: Apache-2.0
"""What a run changed, in words. An image with all its kernels counts once, as on the pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import BootResource, Event, ImportRun, ResourceType
from webapp.numbers import counted
from webapp.services.images.keys import Key


def images(keys: Iterable[Key]) -> str:
    """How many images these boot resources are, e.g. ``2 images``."""
    return counted(len({_image(key) for key in keys}), "image")


def published(run_id: int) -> str:
    """What the run has published, by whichever worker; empty if nothing.

    E.g. ``3 images and 5 boot loaders``.
    """
    run = db.session.execute(
        select(ImportRun.started_at, ImportRun.sets_published).where(ImportRun.id == run_id)
    ).one()
    if not run.sets_published:
        return ""
    rows = db.session.execute(
        select(BootResource.name, BootResource.arch, BootResource.bootloader_type)
        .distinct()
        .join(Event, Event.subject == BootResource.name + " " + BootResource.architecture)
        .where(
            BootResource.rtype == ResourceType.SYNCED,
            Event.kind == "image.published",
            Event.actor == "worker",
            Event.at >= run.started_at,
        )
    ).all()
    loaders = sum(1 for row in rows if row.bootloader_type)
    # Without rows the clock was set back; sets are then the best count there is.
    others = len(rows) - loaders if rows else run.sets_published
    return _listed((others, "image"), (loaders, "boot loader"))


def removed(keys: Collection[Key]) -> str:
    """What these boot resources were, now that they're retired; empty if there are none.

    A kernel of an image that stays is counted as one, e.g. ``1 image and 2 kernels``.
    """
    rows = db.session.execute(
        select(BootResource.name, BootResource.arch)
        .distinct()
        .where(
            BootResource.name.in_({key.name for key in keys}),
            BootResource.current_set_id.is_not(None),
        )
    )
    kept = {(row.name, row.arch) for row in rows}
    gone = {_image(key) for key in keys} - kept
    kernels = sum(1 for key in keys if _image(key) in kept)
    return _listed((len(gone), "image"), (kernels, "kernel"))


def _image(key: Key) -> tuple[str, str]:
    return key.name, key.architecture.partition("/")[0]


def _listed(*words: tuple[int, str]) -> str:
    return " and ".join(counted(number, word) for number, word in words if number)
