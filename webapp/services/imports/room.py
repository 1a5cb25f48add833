# SPDX-License-Identifier: Apache-2.0
"""Refuse what doesn't fit before its first byte, with what would free enough."""

from __future__ import annotations

from webapp.errors import Problem
from webapp.numbers import counted
from webapp.services.images import binning, versions
from webapp.services.imports import summary
from webapp.services.imports.plans import ImportPlan


def lack(todo: ImportPlan, free: int | None) -> Problem | None:
    """Why a plan doesn't fit, None if it does (rule: space-before-bytes)."""
    if not todo.bytes_needed or free is None or free >= todo.bytes_needed:
        return None
    missing = todo.bytes_needed - free
    advice = ""
    if held := binning.held_bytes():
        enough = "enough" if held >= missing else "not enough alone"
        advice += f" Emptying the bin frees {held} bytes, {enough}."
    if count := len(todo.retire):
        advice += f" {counted(count, 'image')} no longer selected can be deleted."
    if older := versions.count_older():
        advice += f" {counted(older, 'older version')} can be deleted."
    images = summary.images(one.key for one in todo.sets)
    return Problem(
        "Not enough disk space. Nothing was changed.",
        code="store-full",
        where=f"{counted(len(todo.to_fetch), 'file')} of {images}",
        expected=f"{todo.bytes_needed} bytes free",
        got=f"{free} bytes free",
        next_step=f"Free up {missing} bytes, select fewer images or delete some.{advice}",
    )
