# SPDX-License-Identifier: Apache-2.0
"""Stop one image of a running import; the others go on, and the next import takes it up.

``import_run.stopped_images`` is the truth, changed while the row is locked, as publishing is:
an image is either stopped or published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from sqlalchemy import select

from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.models import BootResource, ImportRun, ResourceSet, RunState
from webapp.services.images.keys import Image, Key
from webapp.services.imports import queueing, runs
from webapp.services.imports.plan_report import REPAIR
from webapp.services.system import events


def stop(image: Image, actor: str) -> ImportRun:
    """Stop an image in the running import, within a second or two; what it received is kept.

    The import ends as stopped once that was all of it. Raises NotFound without an import, and
    Conflict if it doesn't download the image, or has already.
    """
    queueing.hold()
    run: ImportRun | None = db.session.scalar(
        select(ImportRun)
        .where(ImportRun.state == RunState.RUNNING, ImportRun.is_cancelled.is_(False))
        .execution_options(populate_existing=True)
    )
    if run is None:
        db.session.rollback()
        raise NotFound("No import is running.", next_step="Nothing to do.")
    if image in images_of(run.stopped_images):
        db.session.rollback()
        return run
    left = _left(run)
    if image not in left:
        run_id, is_planned = run.id, run.plan is not None
        db.session.rollback()
        raise _refusal(image, run_id, is_planned=is_planned)
    run.stopped_images = [*run.stopped_images, {**image._asdict(), "by": actor}]
    run_id = run.id
    events.record("run.image_stopped", actor=actor, subject=f"run {run_id}", image=str(image))
    db.session.commit()
    if run.only_images is not None and left <= images_of(run.stopped_images):
        runs.stop(actor)
    return run


def images_of(stopped: Iterable[Mapping[str, str]]) -> Set[Image]:
    """The images that a run's row has as stopped."""
    return frozenset(Image(one["name"], one["arch"]) for one in stopped)


def stopped_in(run_id: int) -> Set[Image]:
    """The images that were stopped in a run."""
    query = select(ImportRun.stopped_images).where(ImportRun.id == run_id)
    return images_of(db.session.scalar(query) or ())


def _left(run: ImportRun) -> Set[Image]:
    """The images of a run's plan that it hasn't published yet."""
    actions = run.plan["actions"] if run.plan else []
    current = {
        Key(row.name, row.architecture): row.version
        for row in db.session.execute(
            select(BootResource.name, BootResource.architecture, ResourceSet.version)
            .join(ResourceSet, ResourceSet.id == BootResource.current_set_id)
            .where(BootResource.name.in_({one["name"] for one in actions}))
        )
    }
    return {
        key.image
        for one in actions
        for key in (Key(one["name"], one["architecture"]),)
        if one["kind"] == REPAIR or current.get(key) != one["version"]
    }


def _refusal(image: Image, run_id: int, *, is_planned: bool) -> Conflict:
    if not is_planned:
        return Conflict(
            f"Import {run_id} hasn't planned its downloads yet.",
            where=str(image),
            next_step="Try again in a moment, or stop the whole import.",
        )
    return Conflict(
        f"Import {run_id} has nothing left to download for this image.",
        where=str(image)[:200],
        next_step="Nothing to do. See the import for what it still downloads.",
    )
