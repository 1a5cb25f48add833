# SPDX-License-Identifier: Apache-2.0
"""Names of kernels: their order, titles and families (rule: kernel-order)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

GENERIC = "generic"  # what a machine asks for that has no kernel set
GA = "ga"
_NAME = re.compile(r"(ga|hwe)-(\d\d\.\d\d|[a-z]|rolling)((?:-[a-z0-9]+)*)", re.ASCII)
_NUMBERS = re.compile(r"\d+", re.ASCII)
_FLAVOURS = {"lowlatency": "low-latency"}


@dataclass(frozen=True, slots=True)
class KernelName:
    """The parts of a name such as ``hwe-24.04-lowlatency-edge``.

    kind: ``ga`` or ``hwe``. series: the release it comes from, e.g. ``24.04``, or its first
    letter. flavour: "" for the generic one.
    """

    kind: str
    series: str
    flavour: str
    is_edge: bool


def parse(name: str) -> KernelName | None:
    """The parts of a kernel's name; None for a subarchitecture of another kind."""
    match = _NAME.fullmatch(name)
    if not match:
        return None
    kind, series, rest = match.groups()
    words = rest.split("-")[1:]
    flavour = "-".join(word for word in words if word != "edge")
    return KernelName(kind, series, flavour, "edge" in words)


def order_key(name: str) -> tuple[object, ...]:
    """Sort key: series by series GA, HWE, edge; flavours after the generic one; others last."""
    parts = parse(name)
    if parts is None:
        return (name != GENERIC, 1, [], "", "", 0, name)
    numbers = [int(number) for number in _NUMBERS.findall(parts.series)]
    rank = 0 if parts.kind == GA else 2 if parts.is_edge else 1
    return (False, 0, numbers, parts.series, parts.flavour, rank, name)


def title(name: str) -> str:
    """A kernel's name for people, e.g. ``HWE 24.04 edge, low-latency``."""
    parts = parse(name)
    if parts is None:
        return name
    words = f"{parts.kind.upper()} {parts.series}{' edge' if parts.is_edge else ''}"
    flavour = _FLAVOURS.get(parts.flavour, parts.flavour)
    return f"{words}, {flavour}" if flavour else words


def family(name: str, answers_to: Collection[str] = ()) -> str:
    """The name without its series, e.g. ``hwe-lowlatency``; ``ga`` for the one that is generic."""
    parts = parse(name)
    if parts is None:
        return GA if name == GENERIC else name
    if GENERIC in answers_to:
        return GA
    edge = "edge" if parts.is_edge else ""
    return "-".join(filter(None, (parts.kind, parts.flavour, edge)))
