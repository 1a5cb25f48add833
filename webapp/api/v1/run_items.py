# SPDX-License-Identifier: Apache-2.0
"""Parts of an import's answer."""

from __future__ import annotations

from pydantic import Field

from webapp.api.v1.schemas import PartialModel, ResponseModel
from webapp.services.imports.runs import Start


class StartedRunItem(ResponseModel):
    """The import that was asked for. is_new: false if it was already running."""

    id: int
    state: str
    hold: str
    is_new: bool


def started_item(started: Start | None) -> StartedRunItem | None:
    """Tell which import does what was asked for (rule: rest-import); None if none was."""
    if started is None:
        return None
    run = started.run
    return StartedRunItem(id=run.id, state=run.state, hold=run.hold, is_new=started.is_new)


class StoppedImageItem(ResponseModel):
    """An image that a person stopped alone; by is empty for viewers."""

    name: str
    arch: str
    by: str


class RunActionItem(PartialModel):
    """A version that machines were to get. kind: add, replace or repair; before: it replaces."""

    kind: str = ""
    name: str = ""
    architecture: str = ""
    version: str = ""
    before: str = ""
    source: str = ""
    why: str = ""
    bytes_to_fetch: int = 0


class RunReasonItem(PartialModel):
    """An image that was to be removed, or stayed, and why."""

    name: str = ""
    architecture: str = ""
    version: str = ""
    why: str = ""
    due: str = ""


class RunPlanItem(PartialModel):
    """What an import was to do. wait: removals that nobody had confirmed.

    changes: what it would have done beyond that, since the world had changed. held: images,
    each with its architecture, whose removal waits for a person.
    """

    digest: str = ""
    actions: list[RunActionItem] = Field(default_factory=list)
    retire: list[RunReasonItem] = Field(default_factory=list)
    wait: list[RunReasonItem] = Field(default_factory=list)
    keep: list[RunReasonItem] = Field(default_factory=list)
    later: list[RunReasonItem] = Field(default_factory=list)
    bytes_to_fetch: int = 0
    bytes_held: int = 0
    used: int = 0
    peak: int = 0
    final: int = 0
    free: int | None = None
    changes: list[str] = Field(default_factory=list)
    held: list[list[str]] = Field(default_factory=list)
