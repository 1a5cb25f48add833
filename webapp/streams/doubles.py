# SPDX-License-Identifier: Apache-2.0
"""One offer for each boot resource, where a stream has several products for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from webapp.streams.offers import Offer, Skipped

_FORMAT = re.compile(r":v(\d{1,3})\b", re.ASCII)


def without_doubles(offers: Sequence[Offer], skipped: list[Skipped]) -> list[Offer]:
    """One offer for each boot resource: the newest product format, else the first by name."""
    taken: dict[tuple[str, ...], Offer] = {}
    for offer in sorted(offers, key=lambda offer: -_format_number(offer.product)):
        name = (offer.os, offer.release, offer.arch, offer.subarch, offer.label)
        winner = taken.setdefault(name, offer)
        if winner is not offer:
            reason = f"{winner.product} is the same image: {'/'.join(name)}"
            skipped.append(Skipped(offer.product, reason))
    return sorted(taken.values(), key=lambda offer: offer.product)


def without_bare_roots(offers: Sequence[Offer], skipped: list[Skipped]) -> list[Offer]:
    """Leave out an Ubuntu of a root tarball alone where its release comes with kernels.

    It would answer to ``generic`` in place of the kernel that machines boot.
    """
    kernels = {
        (one.release, one.arch): one.product
        for one in offers
        if one.os == "ubuntu" and any(item.ftype == "boot-kernel" for item in one.items)
    }
    kept = []
    for offer in offers:
        winner = kernels.get((offer.release, offer.arch), "")
        has_kernel = any(item.ftype == "boot-kernel" for item in offer.items)
        if offer.os != "ubuntu" or has_kernel or not winner:
            kept.append(offer)
        else:
            reason = f"{winner} has a kernel for {offer.release}/{offer.arch}; select that one"
            skipped.append(Skipped(offer.product, reason))
    return kept


def _format_number(product: str) -> int:
    match = _FORMAT.search(product)
    return int(match[1]) if match else 0
