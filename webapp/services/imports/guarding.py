# SPDX-License-Identifier: Apache-2.0
"""Hold back a run that would remove too much. Pure (rule: never-empty-the-store)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from webapp.errors import Problem
from webapp.numbers import counted
from webapp.services.images.keys import Key
from webapp.services.imports.plans import Inventory, Refusal, Retirement, SourceState


def waiting(
    retire: Sequence[Retirement],
    inventory: Inventory,
    confirmed: Collection[Key],
    held: Collection[Key],
) -> tuple[Retirement, ...]:
    """What may only go once a person has confirmed it: more than half of what is stored.

    Images that an administrator deselected don't count, and don't wait. held: those that
    waited the last time still do, also when more images have come since.
    """
    others = tuple(one for one in retire if not one.is_own)
    stored = sum(not resource.is_uploaded for resource in inventory.resources)
    is_much = 2 * len(others) > stored
    return tuple(one for one in others if (is_much or one.key in held) and one.key not in confirmed)


def still_held(
    plan: Mapping[str, Any], held: Collection[Key], *, is_full: bool
) -> list[tuple[str, str]]:
    """The names that count as held after a run with this plan (plan_report, as JSON).

    A run that read only some sources judges nothing but theirs.
    """
    waiting = {(one["name"], one["architecture"]) for one in plan["wait"]}
    gone = {(one["name"], one["architecture"]) for one in plan["retire"]}
    return sorted(waiting if is_full else waiting | set(held) - gone)


def unconfirmed(found: Sequence[Retirement]) -> Problem:
    """Why these images stay for now."""
    count = len(found)
    images = f"{counted(count, 'image')} {'is' if count == 1 else 'are'}n't"
    return Problem(
        f"{images} removed until you confirm it: that's more than half of what is stored.",
        code="removal-unconfirmed",
        where=", ".join(" ".join(one.key) for one in found[:3]) + (" and others" * (count > 3)),
        expected="a confirmation, since nobody deselected them",
        got=found[0].why,
        next_step="Review what will happen on the imports page and start that plan, or select "
        "them at a source that offers them.",
    )


def is_suspicious(source: SourceState, inventory: Inventory) -> bool:
    """Whether an empty catalogue is news: something was selected or is stored from it."""
    has_images = any(resource.source_id == source.id for resource in inventory.resources)
    return source.is_fresh and not source.offers and (bool(source.wanted) or has_images)


def empty_stream(source: SourceState) -> Refusal:
    """What to say of it: nothing is removed."""
    problem = Problem(
        "The stream is valid but contains no bootable images.",
        code="stream-empty",
        where=source.url,
        expected="at least one image",
        got="none",
        next_step="Check the URL with the publisher. All stored images are kept.",
    )
    return Refusal(problem, source.id)
