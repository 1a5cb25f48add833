# SPDX-License-Identifier: Apache-2.0
"""Match selections and mirror filters (rules: selection-filters, mirror-filters)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from webapp.errors import Problem
from webapp.streams.documents import Item, Product, ProductsDocument, Version

ANY = "*"
MAX_PATTERN = 256
MAX_SUGGESTED = 5  # values that get a "did you mean": comparing is slow, and lists are strangers'
_MAX_COMPARED = 64

_FILTER = re.compile(r"\s*([\w-]{1,64})\s*(!?[=~])\s*(.*?)\s*", re.ASCII | re.DOTALL)


class Offered(Protocol):
    """What selections filter: an ``Offer``, or a row of the boot source cache."""

    @property
    def os(self) -> str:
        """Operating system."""

    @property
    def release(self) -> str:
        """Release."""

    @property
    def arch(self) -> str:
        """Main architecture."""

    @property
    def label(self) -> str:
        """Label."""

    @property
    def answers_to(self) -> Sequence[str]:
        """Subarch names it serves, its own among them."""

    @property
    def bootloader_type(self) -> str:
        """Firmware of a boot loader, "" for anything else."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A selection. In the three lists ``*`` means any, and an empty list none at all.

    os and release: ``*``, and a blank os, as older rows have them, mean any. rule: the title
    of the rule that made it, "" for a person's.
    """

    os: str
    release: str
    arches: tuple[str, ...] = (ANY,)
    subarches: tuple[str, ...] = (ANY,)
    labels: tuple[str, ...] = (ANY,)
    rule: str = ""

    @property
    def title(self) -> str:
        """What it is called in a reason."""
        if self.rule:
            return f'the rule "{self.rule}"'
        return f"the selection {self.os or ANY}/{self.release}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an offer is wanted, and the rule that decided it."""

    is_wanted: bool
    reason: str


def passes(offer: Offered, filters: Sequence[Wanted]) -> bool:
    """Whether an offer passes a set of filters; without any, all pass (rule: selection-filters)."""
    return not filters or any(not _flaw(offer, wanted) for wanted in filters)


def is_wanted(offer: Offered, wanted: Iterable[Wanted]) -> bool:
    """Whether to keep an offer of a source with these selections.

    Boot loaders come from every source (rule: loaders-come-along). Otherwise, unlike
    in ``passes``, no selections want nothing: they mustn't import the whole catalogue.
    """
    return bool(offer.bootloader_type) or any(not _flaw(offer, one) for one in wanted)


def why(offer: Offered, wanted: Iterable[Wanted]) -> Verdict:
    """The verdict of ``is_wanted`` with its reason (rule: selection-explained)."""
    if offer.bootloader_type:
        return Verdict(True, "boot loaders are included from every source")
    flaws = []
    for one in wanted:
        flaw = _flaw(offer, one)
        if not flaw:
            return Verdict(True, f"{one.title} asks for it")
        if _is_about(offer, one):
            flaws.append(f"{one.title} leaves it out: {flaw}")
    return Verdict(False, "; ".join(flaws) or f"no selection asks for {offer.os}/{offer.release}")


def _is_about(offer: Offered, wanted: Wanted) -> bool:
    return wanted.os in ("", ANY, offer.os) and wanted.release in (ANY, offer.release)


def _flaw(offer: Offered, wanted: Wanted) -> str:
    """What keeps a selection from asking for an offer, "" when it does."""
    if not _is_about(offer, wanted):
        return f"it is for {wanted.os or ANY}/{wanted.release}"
    for what, listed, values in (
        ("arches", wanted.arches, (offer.arch,)),
        ("subarches", wanted.subarches, offer.answers_to),
        ("labels", wanted.labels, (offer.label,)),
    ):
        if not listed:
            return f"its {what} are empty, which matches nothing"
        if ANY not in listed and not set(listed).intersection(values):
            return f"its {what} are {_and(listed)}, this is {_and(values)}"
    return ""


def check_selection(wanted: Wanted, offers: Iterable[Offered]) -> dict[str, list[str]]:
    """The errors of a selection by field, {} when it would import something.

    A blank os matches the release alone. Keys are os, arches, subarches, labels
    (rule: selections-are-checked).
    """
    offers = list(offers)
    about = [o for o in offers if o.release == wanted.release and wanted.os in ("", o.os)]
    if not about:
        return {"os": [_unknown_release(wanted, offers)]}
    if all(offer.bootloader_type for offer in about):
        return {"os": ["Boot loaders are included from every source and need no selection."]}
    errors = {}
    for key, listed, known in (
        ("arches", wanted.arches, {o.arch for o in about}),
        ("subarches", wanted.subarches, {name for o in about for name in o.answers_to}),
        ("labels", wanted.labels, {o.label for o in about}),
    ):
        found = _list_errors(wanted, listed, known)
        if found:
            errors[key] = found
    if not errors and not any(not _flaw(offer, wanted) for offer in about):
        errors["subarches"] = [
            f"No image of {_name(wanted)} has one of these arches, subarches and labels at once."
        ]
    return errors


def _unknown_release(wanted: Wanted, offers: Sequence[Offered]) -> str:
    images = [offer for offer in offers if not offer.bootloader_type]
    if not wanted.os:
        guess = _did_you_mean(wanted.release, {offer.release for offer in images})
    elif any(offer.os == wanted.os for offer in images):
        releases = {offer.release for offer in images if offer.os == wanted.os}
        guess = _did_you_mean(wanted.release, releases)
    else:
        guess = _did_you_mean(wanted.os, {offer.os for offer in images})
    return f'This source doesn\'t offer "{_name(wanted)}".{guess}'


def _list_errors(wanted: Wanted, listed: Sequence[str], known: set[str]) -> list[str]:
    if not listed:
        return [f'An empty list matches nothing: name some, or "{ANY}" for all.']
    unknown = [value for value in dict.fromkeys(listed) if value != ANY and value not in known]
    errors = []
    for number, value in enumerate(unknown):
        guess = _did_you_mean(value, known) if number < MAX_SUGGESTED else ""
        errors.append(f'Not offered for {_name(wanted)}: "{value[:_MAX_COMPARED]}".{guess}')
    return errors


def _did_you_mean(value: str, known: Iterable[str]) -> str:
    if len(value) > _MAX_COMPARED:
        return ""
    import difflib

    close = difflib.get_close_matches(value, sorted(known), n=2)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _name(wanted: Wanted) -> str:
    name = f"{wanted.os}/{wanted.release}" if wanted.os else wanted.release
    return name[: 2 * _MAX_COMPARED]


def _and(values: Sequence[str]) -> str:
    return ", ".join(values) or "nothing"


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on the keys of a file, in the words of ``sstream-mirror``.

    ``key=value`` and ``key!=value`` compare the whole value; ``key~pattern`` and
    ``key!~pattern`` search the pattern anywhere in it, so that
    ``os~(grub*|pxelinux)`` finds ``grub-efi``: anchor it with ``^`` and ``$`` to
    have less. A key that a file does not have counts as "".
    """

    key: str
    operator: str
    value: str
    pattern: re.Pattern[str] | None = field(default=None, compare=False)

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the condition holds for a file with these keys."""
        got = fields.get(self.key, "")
        holds = bool(self.pattern.search(got)) if self.pattern else got == self.value
        return holds != self.operator.startswith("!")

    def __str__(self) -> str:
        """The filter as it may be written."""
        return f"{self.key}{self.operator}{self.value}"


def parse_filter(text: str) -> Filter:
    """Read one filter; raises Problem (``filter-invalid``)."""
    match = _FILTER.fullmatch(text)
    if not match:
        raise _bad_filter(text, "has no key and operator")
    key, operator, value = match.groups()
    if len(value) > MAX_PATTERN:
        raise _bad_filter(text, f"is longer than {MAX_PATTERN} characters")
    if "~" not in operator:
        return Filter(key, operator, value)
    try:
        return Filter(key, operator, value, re.compile(value))
    except (re.error, RecursionError, OverflowError) as error:
        raise _bad_filter(text, f"has a pattern that can't be read ({error})") from error


def file_fields(
    document: ProductsDocument, product: Product, version: Version, item: Item
) -> dict[str, str]:
    """The keys of a file that mirror filters use."""
    return {
        **item.fields,
        "content_id": document.content_id,
        "product_name": product.name,
        "version_name": version.serial,
        "item_name": item.name,
    }


def _bad_filter(text: str, flaw: str) -> Problem:
    return Problem(
        f"This filter {flaw}.",
        code="filter-invalid",
        where="filter",
        expected="e.g. os=ubuntu, arch!=i386, release~(focal|noble)",
        got=text[:100],
        next_step="Correct the filter.",
    )
