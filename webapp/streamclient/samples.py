# SPDX-License-Identifier: Apache-2.0
"""Check that a mirror has the files its index lists (rule: filtered-mirrors)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest

from webapp.errors import Problem
from webapp.fetch import Fetcher, FetchProblem
from webapp.streamclient.model import StreamSource
from webapp.streams.offers import Item, Offer
from webapp.streams.urls import join

SAMPLE = 40
KINDS = 4  # kernel, initrd, root image and one more
SECONDS = 15.0
WORKERS = 4
SHOWN_PATHS = 10
GONE = {404, 410}
THERE = {200, 203}


@dataclass(frozen=True)
class ItemCheck:
    """What a sample of HEAD requests found; paths are below the source's root.

    asked: how many files were answered for. missing: 404. other_size: there, with
    another size than the signed one.
    """

    asked: int
    missing: tuple[str, ...]
    other_size: tuple[str, ...]

    @property
    def problem(self) -> Problem | None:
        """The finding as a warning, None when all is well."""
        bad = [*self.missing, *self.other_size]
        if not bad:
            return None
        rest = f" and {len(bad) - SHOWN_PATHS} more" if len(bad) > SHOWN_PATHS else ""
        return Problem(
            f"The mirror lists files that it doesn't have: of {self.asked} checked, "
            f"{len(self.missing)} missing, {len(self.other_size)} of another size.",
            code="stream-incomplete",
            where=", ".join(bad[:SHOWN_PATHS]) + rest,
            expected="every listed file",
            got=f"{self.asked - len(bad)} of {self.asked}",
            next_step="A filtered mirror keeps the whole signed index. Select only what it "
            "holds, or use a complete mirror.",
        )


def check_items(
    source: StreamSource,
    offers: Sequence[Offer],
    fetcher: Fetcher,
    *,
    sample: int = SAMPLE,
    seconds: float = SECONDS,
) -> ItemCheck:
    """Ask for some files of a stream, without fetching them.

    Of ``sample`` offers, spread evenly over all: the largest file of each, then one
    of each other kind, at most ``KINDS`` an offer; whoever was not asked within
    ``seconds`` is left out. A file about which nothing can be learnt (HEAD not
    allowed, server trouble) counts as none.
    """
    chosen = _chosen(_spread(offers, sample))
    until = time.monotonic() + seconds

    def ask(item: Item) -> tuple[Item, str]:
        left = until - time.monotonic()
        if left <= 0:
            return item, ""
        try:
            head = fetcher.head(join(source.url.root, item.path), total_s=left)
        except FetchProblem:
            return item, ""
        if head.status in GONE:
            return item, "missing"
        if head.status not in THERE:
            return item, ""
        return item, "there" if head.size in (None, item.size) else "other size"

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="sample") as pool:
        answers = list(pool.map(ask, chosen))
    return ItemCheck(
        asked=sum(1 for _, found in answers if found),
        missing=tuple(item.path for item, found in answers if found == "missing"),
        other_size=tuple(item.path for item, found in answers if found == "other size"),
    )


def _spread(offers: Sequence[Offer], sample: int) -> list[Offer]:
    """``sample`` offers, from the first to the last."""
    having = [offer for offer in offers if offer.items]
    count = min(sample, len(having))
    return [having[n * len(having) // count] for n in range(count)]


def _chosen(offers: Sequence[Offer]) -> list[Item]:
    """The files to ask for, each path once; the largest come first, if time is short."""
    kinds = [_largest_of_each_kind(offer) for offer in offers]
    rounds = zip_longest(*kinds)
    return list({item.path: item for one in rounds for item in one if item}.values())


def _largest_of_each_kind(offer: Offer) -> list[Item]:
    by_kind: dict[str, Item] = {}
    for item in sorted(offer.items, key=lambda item: item.size, reverse=True):
        by_kind.setdefault(item.ftype, item)
    return list(by_kind.values())[:KINDS]
