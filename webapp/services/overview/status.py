# SPDX-License-Identifier: Apache-2.0
"""The state of the whole system in one value, for the command line and the overview."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webapp.errors import Problem
from webapp.extensions import store
from webapp.services.images import listing
from webapp.services.imports import runs
from webapp.services.overview import missing
from webapp.services.racks import listing as racks
from webapp.services.sources import catalogue, sources
from webapp.services.sources import health as source_health


@dataclass(frozen=True)
class Overview:
    """Sources, images, the current run, and what the store holds (bytes)."""

    sources: list[dict[str, Any]]
    images: list[dict[str, Any]]
    run: dict[str, Any] | None
    last_run: dict[str, Any] | None
    is_importing: bool
    stored_bytes: int
    free_bytes: int | None
    problems: list[dict[str, str]]


def overview() -> Overview:
    """Read everything once; changes nothing."""
    rows = sources.all_sources()
    judged = [source_health.judge(row) for row in rows]
    problems = [health.problem.as_dict() for health in judged if health.problem is not None]
    without_images = missing.problem()
    problems += [without_images.as_dict()] if without_images else []
    judged_racks = [racks.problem_of(row) for row in racks.all_racks()]
    problems += [problem.as_dict() for problem in judged_racks if problem is not None]
    try:
        free = store().free_bytes()
    except Problem as problem:
        free = None
        problems.append(problem.as_dict())
    current, last = runs.current(), runs.last_ended()
    return Overview(
        sources=[
            {
                "id": row.id,
                "url": row.url,
                "name": row.name,
                "priority": row.priority,
                "is_enabled": row.is_enabled,
                "is_unsigned": row.is_unsigned,
                "checked_at": row.checked_at,
                "refreshed_at": row.refreshed_at,
                "index_updated_at": row.index_updated_at,
                "signer": row.signer_fingerprint,
                "state": str(health.state),
                "error": health.problem.code if health.problem else "",
            }
            for row, health in zip(rows, judged, strict=True)
        ],
        images=[image_dict(image) for image in listing.listed(catalogue.read())],
        run=run_dict(current) if current else None,
        last_run=run_dict(last) if last else None,
        is_importing=runs.is_importing(),
        stored_bytes=listing.stored_bytes(),
        free_bytes=free,
        problems=problems,
    )


def image_dict(image: listing.Image) -> dict[str, Any]:
    """An image as JSON carries it; ``stored_version`` is None while nothing is stored."""
    is_stored = bool(image.resource_ids)
    return {
        "name": image.name,
        "arch": image.arch,
        "title": image.title,
        "status": str(image.status),
        "cause": image.cause,
        "next_step": image.next_step,
        "percent": image.percent,
        "stored_version": image.version if is_stored else None,
        "label": image.label,
        "kernels": list(image.kernels),
        "size": image.size,
        "source": image.source_name,
        "is_unsigned": image.is_unsigned,
        "is_uploaded": image.is_uploaded,
        "is_bootloader": image.is_bootloader,
        "completed_at": image.completed_at,
        "is_pinned": image.is_pinned,
        "is_locked": image.is_locked,
        "update": image.update,
        "pinned_version": image.pinned_version,
        "priority": image.priority,
    }


def run_dict(run: Any) -> dict[str, Any]:
    """An import run with its failures, as JSON carries it."""
    return {
        "id": run.id,
        "state": run.state,
        "trigger": run.trigger,
        "phase": run.phase,
        "hold": run.hold,
        "queued_at": run.queued_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "bytes_total": run.bytes_total,
        "bytes_done": run.bytes_done,
        "bytes_per_s": run.bytes_per_s,
        "sets_published": run.sets_published,
        "summary": run.summary,
        "failures": [
            {
                "source": f.source_url,
                "image": f.image,
                "architecture": f.architecture,
                "file": f.filename,
                "code": f.code,
                "what": f.what,
                "where": f.where,
                "expected": f.expected,
                "got": f.got,
                "next_step": f.next_step,
            }
            for f in run.failures
        ],
    }
