# SPDX-License-Identifier: Apache-2.0
"""Selection rules: catalogue x rule x date -> the images that it selects, and why. Pure.

A rule only adds to what administrators select. What its sources stop offering stays with it
while it is stored, as with a selection (rule: gone-upstream-stays).
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from webapp.errors import InvalidFields
from webapp.streams import kernels as kernel_names
from webapp.streams.filters import ANY
from webapp.streams.offers import ImageName
from webapp.streams.osnames import is_lts, order_key, os_title

MAX_COUNT = 50
MAX_PATTERN = 200  # characters
MAX_LISTED = 50  # architectures, and kernels
MAX_NAME = 64
_PATTERN_BYTES = 1 << 20  # memory of a compiled expression


class Kind(enum.StrEnum):
    """What a rule selects."""

    NEWEST_LTS = "newest-lts"
    SUPPORTED_LTS = "supported-lts"
    NEWEST = "newest"
    EVERY = "every"
    PATTERN = "pattern"


class State(enum.StrEnum):
    """Where an image stands with a rule."""

    SELECTED = "selected"
    GONE = "gone"  # selected before, no longer offered, and stored
    DROPPED = "dropped"  # selected before, offered, and stored


COUNTED = frozenset({Kind.NEWEST_LTS, Kind.NEWEST})
OF_A_SYSTEM = frozenset({Kind.NEWEST, Kind.EVERY})


@dataclass(frozen=True)
class Rule:
    """What to select. source_id: None for all sources.

    kernels: names, or families such as ``hwe`` and ``ga-lowlatency``. os: for LTS releases
    it's Ubuntu.
    """

    kind: Kind
    os: str = ""
    count: int = 0
    pattern: str = ""
    arches: tuple[str, ...] = (ANY,)
    kernels: tuple[str, ...] = (ANY,)
    source_id: int | None = None

    @property
    def title(self) -> str:
        """What it selects, in a few words."""
        system, of_count = os_title(self.os), f"Newest {self.count}" if self.count > 1 else "Newest"
        words = {
            Kind.NEWEST_LTS: f"{of_count} Ubuntu LTS",
            Kind.SUPPORTED_LTS: "All supported Ubuntu LTS",
            Kind.NEWEST: f"{of_count} of {system}",
            Kind.EVERY: f"Every release of {system}",
            Kind.PATTERN: f"Names like {self.pattern}",
        }[self.kind]
        lists = (self.arches, self.kernels)
        return ", ".join([words, *(" ".join(names) for names in lists if ANY not in names)])


@dataclass(frozen=True)
class Product:
    """What a rule needs of one product of the catalogue."""

    source_id: int
    os: str
    release: str
    arch: str
    subarch: str
    answers_to: Sequence[str] = ()
    release_title: str = ""
    release_version: str = ""
    support_eol: date | None = None

    @property
    def image(self) -> ImageName:
        """The image that it's a kernel of."""
        return self.os, self.release, self.arch


@dataclass(frozen=True, order=True)
class Match:
    """An image of a source and where it stands with a rule."""

    source_id: int
    os: str
    release: str
    arch: str
    kernels: tuple[str, ...] = (ANY,)
    state: State = field(default=State.SELECTED)
    why: str = ""

    @property
    def key(self) -> tuple[int, str, str, str]:
        """The image and its source."""
        return self.source_id, self.os, self.release, self.arch

    @property
    def image(self) -> ImageName:
        """The image, whichever source it's from."""
        return self.os, self.release, self.arch

    @property
    def is_wanted(self) -> bool:
        """Whether imports fetch or keep it for the rule."""
        return self.state != State.DROPPED

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"kernels": list(self.kernels), "state": str(self.state)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Match:
        """The match that ``as_dict`` was made from."""
        return cls(**{**data, "kernels": tuple(data["kernels"]), "state": State(data["state"])})


@dataclass(frozen=True)
class World:
    """What rules are evaluated against.

    products: of enabled sources, the best source first. stored: images that machines can get.
    source_ids: of all sources, enabled or not.
    """

    products: Sequence[Product]
    stored: Collection[ImageName]
    source_ids: Collection[int]
    today: date


def evaluate(
    rule: Rule, world: World, before: Iterable[Match] = (), *, is_edited: bool = False
) -> list[Match]:
    """The images that a rule selects, and those that it selected before and that are stored.

    before: of its last evaluation. is_edited: a person changed the rule since, so that what
    it no longer selects was deselected by them.
    """
    offered = [p for p in world.products if rule.source_id in (None, p.source_id)]
    offered = [p for p in offered if ANY in rule.arches or p.arch in rule.arches]
    known = {match.key: match for match in before}
    reasons = _reasons(rule, offered, world.today)
    groups: dict[tuple[int, str, str, str], list[Product]] = defaultdict(list)
    for product in offered:
        if (product.os, product.release) in reasons:
            groups[product.source_id, *product.image].append(product)
    found = {}
    for key, products in groups.items():
        previous = known.get(key)
        is_kept = previous is not None and previous.is_wanted and key[1:] in world.stored
        names = _kernels(rule, products, previous.kernels if previous and is_kept else ())
        if names:
            found[key] = Match(*key, kernels=names, why=reasons[key[1], key[2]])
    lines = {(p.source_id, *p.image) for p in world.products}
    for key, match in known.items():
        is_held = match.image in world.stored and match.source_id in world.source_ids
        if key in found or not is_held:
            continue
        if key not in lines and match.is_wanted and _covers(rule, match):
            why = "its source no longer offers it; kept while the rule covers it"
            found[key] = Match(*key, match.kernels, State.GONE, why)
        elif not is_edited:
            why = match.why if match.state == State.DROPPED else f"no longer: {match.why}"
            found[key] = Match(*key, match.kernels, State.DROPPED, why)
    return sorted(found.values())


def check(rule: Rule) -> None:
    """Raise InvalidFields unless a rule can be evaluated."""
    problems: dict[str, list[str]] = {}
    if rule.kind in COUNTED and not 1 <= rule.count <= MAX_COUNT:
        problems["count"] = [f"Give a number from 1 to {MAX_COUNT}."]
    if rule.kind in OF_A_SYSTEM and not 0 < len(rule.os) <= MAX_NAME:
        problems["os"] = ["Name an operating system, e.g. ubuntu or centos."]
    if rule.kind == Kind.PATTERN and (flaw := _flaw(rule.pattern)):
        problems["pattern"] = [flaw]
    for name, listed in (("arches", rule.arches), ("kernels", rule.kernels)):
        if not listed:
            problems[name] = [f'An empty list matches nothing: name some, or "{ANY}" for all.']
        elif len(listed) > MAX_LISTED or any(not 0 < len(one) <= MAX_NAME for one in listed):
            problems[name] = [f"At most {MAX_LISTED} names of at most {MAX_NAME} characters."]
    if problems:
        raise InvalidFields(problems)


# -- which releases


def _reasons(rule: Rule, offered: Sequence[Product], today: date) -> dict[tuple[str, str], str]:
    """The releases that a rule selects, each with the reason."""
    releases: dict[tuple[str, str], Product] = {}
    for product in offered:
        releases.setdefault((product.os, product.release), product)
    if rule.kind == Kind.PATTERN:
        matches = _matcher(rule.pattern)
        why = f"its name matches {rule.pattern}"
        return {name: why for name in releases if matches("/".join(name))}
    if rule.kind == Kind.EVERY:
        return {name: f"a release of {rule.os}" for name in releases if name[0] == rule.os}
    if rule.kind == Kind.NEWEST:
        rows = [one for name, one in releases.items() if name[0] == rule.os]
        return _newest(rows, rule.count, f"releases of {rule.os}")
    lts = [p for p in releases.values() if p.os == "ubuntu" and is_lts(p.release_title)]
    if rule.kind == Kind.NEWEST_LTS:
        return _newest(lts, rule.count, "LTS releases")
    return {
        (one.os, one.release): f"supported until {one.support_eol}"
        if one.support_eol
        else "no end of its support is stated"
        for one in lts
        if one.support_eol is None or one.support_eol >= today
    }


def _newest(rows: Iterable[Product], count: int, what: str) -> dict[tuple[str, str], str]:
    # Compared by version alone: whether it's an LTS release doesn't matter here.
    ordered = sorted(rows, key=lambda one: order_key(_Dated(one)))[:count]
    why = f"one of the newest {count} {what}" if count > 1 else f"the newest of the {what}"
    return {(one.os, one.release): why for one in ordered}


class _Dated:
    """A product without what its title says of support."""

    release_title = ""

    def __init__(self, product: Product) -> None:
        self.os, self.release = product.os, product.release
        self.release_version = product.release_version


def _kernels(rule: Rule, products: Sequence[Product], previous: Sequence[str]) -> tuple[str, ...]:
    """The kernels that a rule selects of an image, () for none.

    previous: those of the last evaluation: what isn't offered now stays named. An image
    without kernels of several kinds has them all.
    """
    is_single = all(kernel_names.parse(p.subarch) is None for p in products)
    if ANY in rule.kernels or is_single:
        return (ANY,)
    wanted = set(rule.kernels)
    names = {
        p.subarch
        for p in products
        if wanted & {p.subarch, *p.answers_to, kernel_names.family(p.subarch, p.answers_to)}
    }
    names |= set(previous) - {p.subarch for p in products} - {ANY}
    return tuple(sorted(names, key=kernel_names.order_key))


def _covers(rule: Rule, match: Match) -> bool:
    """Whether a rule could select an image that isn't offered now."""
    if rule.source_id not in (None, match.source_id):
        return False
    if ANY not in rule.arches and match.arch not in rule.arches:
        return False
    if rule.kind == Kind.PATTERN:
        return bool(_matcher(rule.pattern)(f"{match.os}/{match.release}"))
    return match.os == (rule.os if rule.kind in OF_A_SYSTEM else "ubuntu")


# -- expressions, by an engine whose time is linear in the text


def _matcher(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.max_mem, options.log_errors = _PATTERN_BYTES, False
    return re2.compile(pattern, options).fullmatch


def _flaw(pattern: str) -> str:
    """Why an expression can't be used, "" if it can."""
    import re2

    if not 0 < len(pattern) <= MAX_PATTERN:
        return f"Give an expression of at most {MAX_PATTERN} characters."
    try:
        _matcher(pattern)
    except re2.error as error:
        words = error.args[0] if error.args else b""
        text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        return f"This expression can't be read: {text[:100]}."
    return ""
