# SPDX-License-Identifier: Apache-2.0
"""Import one image alone: by a run that has it already, or by one of its own."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.models import (
    ACTIVE_STATES,
    HOLD_WINDOW,
    BootResource,
    ImportFailure,
    ImportRun,
    ResourceType,
    RunState,
)
from webapp.services.images.keys import CUSTOM, Image
from webapp.services.imports import claims, preview, queueing, stopping
from webapp.services.system import events
from webapp.services.system.wake import wake


class Outcome(enum.StrEnum):
    """What became of a request for one image."""

    STARTED = "started"  # by a run of its own
    QUEUED = "queued"  # behind the run at work
    JOINED = "joined"  # a run that was there has it


@dataclass(frozen=True)
class Request:
    """The run that imports an image, and in words which one that is."""

    run: ImportRun
    outcome: Outcome
    message: str


def start(image: Image, actor: str) -> Request:
    """Import one image, and nothing else because of that.

    A run that is queued or at work and has the image imports it; else one of its own does,
    after the one at work. Raises NotFound or Conflict if no run would import it.
    """
    _demand_wanted(image)
    while True:
        queueing.hold()
        rows = db.session.scalars(
            select(ImportRun)
            .where(ImportRun.state.in_(ACTIVE_STATES), ImportRun.is_cancelled.is_(False))
            .order_by(ImportRun.state == RunState.QUEUED)
            .execution_options(populate_existing=True)
        ).all()
        found = next((run for run in rows if _has(run, image)), None)
        if found is not None:
            db.session.commit()
            return Request(found, Outcome.JOINED, _joined(found, image))
        queueing.add_images([image], "manual", actor)
        run = db.session.scalar(
            select(ImportRun)
            .where(ImportRun.state == RunState.QUEUED)
            .execution_options(populate_existing=True)
        )
        if run is not None and _has(run, image):
            break
        db.session.rollback()
        if run is not None:
            raise Conflict(
                "An approved plan is queued, and it doesn't include this image.",
                where=str(image),
                next_step="Try again once that import runs.",
            )
    events.record("run.queued", actor=actor, subject="manual", image=str(image))
    db.session.commit()
    wake()
    if run.only_images is None:  # it was of some sources, and is of all of them now
        return Request(run, Outcome.JOINED, _joined(run, image))
    before = next((one.id for one in rows if one.id != run.id), None)
    if before is None:
        return Request(run, Outcome.STARTED, f"Import {run.id} of {image} has started.")
    words = f"Import {run.id} of {image} starts when import {before} ends."
    return Request(run, Outcome.QUEUED, words)


def _demand_wanted(image: Image) -> None:
    states = preview.states([image])
    wanted = claims.of([state for state in states if state.is_enabled])
    if any(key.image == image for key in wanted):
        return
    uploaded = select(BootResource.id).where(
        BootResource.rtype == ResourceType.UPLOADED,
        BootResource.name.in_((image.name, image.name.removeprefix(f"{CUSTOM}/"))),
        BootResource.arch == image.arch,
    )
    if db.session.scalar(uploaded.limit(1)) is not None:
        raise Conflict("An uploaded image doesn't come from a boot source.", where=str(image))
    if any(state.offers for state in states):
        raise Conflict(
            "This image isn't selected.",
            where=str(image),
            next_step="Select it, which also imports it.",
        )
    raise NotFound(
        "No boot source offers this image.",
        where=str(image)[:200],
        next_step="Check the boot sources, or see what they offer: `slipway image available`.",
    )


def _has(run: ImportRun, image: Image) -> bool:
    """Whether a run imports the image or, before it's planned, will judge it."""
    if run.only_images is not None and image._asdict() not in run.only_images:
        return False
    if image in stopping.images_of(run.stopped_images):
        return False
    if run.plan is None:
        return run.source_ids is None
    return any(_is_of(one, image) for one in run.plan["actions"]) and not _has_failed(run, image)


def _is_of(action: Mapping[str, str], image: Image) -> bool:
    return (action["name"], action["architecture"].partition("/")[0]) == image


def _has_failed(run: ImportRun, image: Image) -> bool:
    found = db.session.scalars(
        select(ImportFailure.architecture).where(
            ImportFailure.run_id == run.id, ImportFailure.image == image.name
        )
    )
    return any(architecture.partition("/")[0] == image.arch for architecture in found)


def _joined(run: ImportRun, image: Image) -> str:
    words = f"Import {run.id} includes {image} already."
    if run.hold == HOLD_WINDOW:
        return f"{words} It waits for a window. Resume it to download now."
    if run.hold:
        return f"{words} It's paused. Resume it to continue."
    return words
