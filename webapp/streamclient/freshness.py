# SPDX-License-Identifier: Apache-2.0
"""Is this document current, and do these belong together? Pure decisions.

simplestreams has no version numbers and no expiry, so ``updated`` stands in for
both: it never falls, it doesn't stay while the bytes change, and it isn't in the
future (rule: no-going-back).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from webapp.errors import Problem
from webapp.streams.documents import IndexEntry, ProductsDocument
from webapp.streams.errors import DocumentProblem
from webapp.trust.keyrings import Keyring

MAX_AHEAD = timedelta(days=1)  # clocks differ, but not by more than that
KEY_ENDS_SOON = timedelta(days=30)
SHOWN_NAMES = 3
LATER = "The mirror is probably in the middle of an update; try again in some minutes."


def check_not_ahead(updated: datetime, *, now: datetime, where: str) -> None:
    """Refuse a date that would make every honest document after it look old.

    Raises DocumentProblem (stream-in-future).
    """
    if updated > now + MAX_AHEAD:
        raise DocumentProblem(
            "The stream is dated in the future.",
            code="stream-in-future",
            where=where,
            expected=f"at most one day after {_day(now)}",
            got=_day(updated),
            next_step="Check the clock of this machine first; when it is right, tell the "
            "publisher.",
        )


def check_not_older(updated: datetime, *, known: datetime | None, where: str) -> None:
    """Refuse an old document that is played again. Raises DocumentProblem (stream-rollback)."""
    if known is not None and updated < known:
        raise DocumentProblem(
            "The mirror offers an older state of the stream than the one we have.",
            code="stream-rollback",
            where=where,
            expected=f"{_day(known)} or later",
            got=_day(updated),
            next_step="The mirror lags behind or somebody replays old files: try later or use "
            "another mirror. If the publisher went back on purpose, add the source anew.",
        )


def changed_in_place(updated: datetime, *, where: str) -> DocumentProblem:
    """Two documents claim to be the stream's state of one moment."""
    return DocumentProblem(
        "The document changed, but its date did not.",
        code="stream-changed-in-place",
        where=where,
        expected=f"a date after {_day(updated)}, or the same content",
        got="other content with the same date",
        next_step="Ask the publisher; if it was on purpose, add the source anew.",
    )


def check_belongs(entry: IndexEntry, document: ProductsDocument, *, where: str) -> None:
    """Hold a products document against the index that names it (mix and match).

    Raises DocumentProblem (stream-mixed).
    """
    if document.content_id != entry.content_id:
        raise _mixed(where, f"content id {entry.content_id}", document.content_id)
    if entry.updated is not None and entry.updated != document.updated:
        raise _mixed(where, f"the state of {_day(entry.updated)}", _day(document.updated))
    found = {product.name for product in document.products}
    if entry.products and found != set(entry.products):
        listed = set(entry.products)
        got = "; ".join(
            f"{len(names)} {what}: {_some(sorted(names))}"
            for what, names in (("missing", listed - found), ("more", found - listed))
            if names
        )
        raise _mixed(where, f"the {len(listed)} products that the index lists", got)


def stale_warning(
    updated: datetime, *, now: datetime, stale_days: int, where: str
) -> Problem | None:
    """Warn about a stream that hasn't changed for long (rule: freeze-is-reported)."""
    if now - updated <= timedelta(days=stale_days):
        return None
    return Problem(
        f"The stream has not changed for {(now - updated).days} days.",
        code="stream-stale",
        where=where,
        expected=f"a change at least every {stale_days} days",
        got=_day(updated),
        next_step="Compare with the publisher's own mirror: this one may have stopped updating.",
    )


def key_warning(keyring: Keyring | None, fingerprint: str, *, now: datetime) -> Problem | None:
    """Say that the key which signed will expire soon."""
    found = keyring.find(fingerprint) if keyring else None
    ends = [key.expires_at for key in found or () if key.expires_at is not None]
    if not ends or min(ends) - now > KEY_ENDS_SOON:
        return None
    return Problem(
        "The key that signs this stream expires soon.",
        code="key-expires-soon",
        where=fingerprint,
        got=_day(min(ends)),
        next_step="Get the publisher's renewed key and put it into the keyring before that day.",
    )


def skipped_warning(entries: Sequence[IndexEntry], *, where: str) -> Problem | None:
    """Say which documents of the index are of a kind that we do not read."""
    if not entries:
        return None
    return Problem(
        f"{len(entries)} documents of the index are of a kind that is not read here.",
        code="stream-entry-skipped",
        where=where,
        expected="products:1.0 documents of images",
        got=_some([f"{e.content_id} ({e.format} {e.datatype})" for e in entries]),
    )


def empty_warning(where: str) -> Problem:
    """Nothing in the stream can be used."""
    return Problem(
        "The stream offers no image that can be used here.",
        code="stream-empty",
        where=where,
        next_step="Check the address: another stream of this mirror may hold the images.",
    )


def _mixed(where: str, expected: str, got: str) -> DocumentProblem:
    return DocumentProblem(
        "The index and the document it names are of two different states.",
        code="stream-mixed",
        where=where,
        expected=expected,
        got=got,
        next_step=LATER,
    )


def _some(names: Sequence[str]) -> str:
    """The first few names, as people read them."""
    shown = ", ".join(ascii(name)[1:-1][:100] for name in names[:SHOWN_NAMES])
    return shown + (f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
