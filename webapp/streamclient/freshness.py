# SPDX-License-Identifier: Apache-2.0
"""Is this document current, and do these belong together? Pure decisions.

simplestreams has no version numbers and no expiry, so ``updated`` stands in for
both: it never falls, it doesn't stay while the bytes change, and it isn't in the
future (rule: no-going-back).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from webapp.errors import Problem
from webapp.streams.documents import IndexEntry, ProductsDocument
from webapp.streams.errors import Disagreement, DocumentProblem
from webapp.streams.offers import Skipped
from webapp.trust.keyrings import Keyring

MAX_AHEAD = timedelta(days=1)  # clocks differ, but not by more than that
KEY_ENDS_SOON = timedelta(days=30)
SHOWN_NAMES = 3
_MIXED = "The index and a document it lists don't match."
LATER = "The mirror is probably in the middle of an update; try again in a few minutes."
ACCEPT = "review and accept this state on the boot source's page (`slipway source accept ID`)."
_CONFIRM = (
    "Ask the publisher, or accept this state on the boot source's page "
    "(`slipway source change ID --confirm PRODUCT`) to use the rest."
)
BY_HAND = (
    "Index and document have the same date, so this isn't an update in progress and won't heal "
    f"by itself. {_CONFIRM}"
)
MAYBE = (
    "If the mirror is in the middle of an update, try again in a few minutes. If not, this won't "
    f"heal by itself. {_CONFIRM}"
)


def check_not_ahead(updated: datetime, *, now: datetime, where: str) -> None:
    """Refuse a date that would make every honest later document seem old.

    Raises DocumentProblem (stream-in-future).
    """
    if updated > now + MAX_AHEAD:
        raise DocumentProblem(
            "The stream is dated in the future.",
            code="stream-in-future",
            where=where,
            expected=f"at most one day after {_day(now)}",
            got=_day(updated),
            next_step="Check this server's clock. If it's right, contact the publisher.",
        )


def check_not_older(updated: datetime, *, known: datetime | None, where: str) -> None:
    """Refuse an old document that is played again. Raises DocumentProblem (stream-rollback)."""
    if known is not None and updated < known:
        raise DocumentProblem(
            "The mirror offers an older version of the stream than the stored one.",
            code="stream-rollback",
            where=where,
            expected=f"{_day(known)} or later",
            got=_day(updated),
            next_step="The mirror lags behind, or old files are being replayed. Try later or use "
            f"another mirror. If the publisher rolled back on purpose, {ACCEPT}",
        )


def changed_in_place(updated: datetime, *, where: str) -> DocumentProblem:
    """Two documents claim to be the stream's state of one moment."""
    return DocumentProblem(
        "The document changed, but its date did not.",
        code="stream-changed-in-place",
        where=where,
        expected=f"a date after {_day(updated)}, or the same content",
        got="different content with the same date",
        next_step=f"Contact the publisher. If it was on purpose, {ACCEPT}",
    )


def check_belongs(
    entry: IndexEntry,
    document: ProductsDocument,
    *,
    where: str,
    is_signed: bool = True,
    confirmed: Collection[str] = (),
) -> None:
    """Hold a products document against the index that names it (mix and match).

    is_signed: an unsigned document may be newer than the index; a MAAS region writes
    both at each request. confirmed: products on which they may disagree.
    Raises DocumentProblem (stream-mixed), Disagreement when it's about products.
    """
    if document.content_id != entry.content_id:
        raise _mixed(where, f"content id {entry.content_id}", document.content_id, LATER)
    is_dated = entry.updated is not None and document.updated is not None
    if entry.updated is not None and document.updated is not None:
        is_newer = document.updated > entry.updated and not is_signed
        if entry.updated != document.updated and not is_newer:
            raise _mixed(
                where, f"the state of {_day(entry.updated)}", _day(document.updated), LATER
            )
    if not entry.products:
        return
    listed = set(entry.products)
    found = {product.name for product in document.products}
    found |= {one.product for one in document.left_out if not one.version}
    missing, more = listed - found - set(confirmed), found - listed - set(confirmed) - {""}
    if missing or more:
        raise Disagreement(
            _MIXED,
            missing,
            more,
            where=where,
            expected=f"the {len(listed)} products that the index lists",
            got=_disagreement(missing, more),
            next_step=BY_HAND if is_dated else MAYBE,
        )


def _disagreement(missing: Collection[str], more: Collection[str]) -> str:
    sides = (("not in the document", missing), ("not in the index", more))
    return "; ".join(
        f"{len(names)} {what}: {_some(sorted(names))}" for what, names in sides if names
    )


def undated_warning(
    updated: datetime | None, dated: datetime | None, *, where: str
) -> Problem | None:
    """Warn about an index without a date of its own."""
    if updated is not None:
        return None
    return Problem(
        "The index doesn't say when it was updated.",
        code="stream-undated",
        where=where,
        expected='a time under "updated"',
        got=f"only its signature's time, {_day(dated)}" if dated else "no date at all",
        next_step=""
        if dated
        else "Nothing shows whether this stream is current: check the mirror.",
    )


def left_out_warning(left_out: Sequence[Skipped], where: str) -> Problem | None:
    """Warn about parts of the stream that can't be used, with the reasons of the first few."""
    if not left_out:
        return None
    shown = [_name(one) + ": " + one.reason[:300] for one in left_out[:SHOWN_NAMES]]
    rest = f"; and {len(left_out) - SHOWN_NAMES} more" if len(left_out) > SHOWN_NAMES else ""
    count = len(left_out)
    return Problem(
        f"{count} entr{'ies' if count > 1 else 'y'} of the stream can't be used and "
        f"{'are' if count > 1 else 'is'} left out; the rest is used.",
        code="stream-left-out",
        where=where,
        got="; ".join(shown) + rest,
        next_step="Contact the publisher of the stream.",
    )


def _name(one: Skipped) -> str:
    version = f", version {one.version}" if one.version else ""
    return f"{ascii(one.product)[1:-1][:100]}{version}"


def stale_warning(
    updated: datetime | None, *, now: datetime, stale_days: int, where: str
) -> Problem | None:
    """Warn about a stream that hasn't changed for long (rule: freeze-is-reported)."""
    if updated is None or now - updated <= timedelta(days=stale_days):
        return None
    return Problem(
        f"The stream hasn't changed for {(now - updated).days} days.",
        code="stream-stale",
        where=where,
        expected=f"a change at least every {stale_days} days",
        got=_day(updated),
        next_step="Compare it with the publisher's own mirror. This one may have stopped updating.",
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
        next_step="Get the publisher's renewed key and add it to the keyring before that day.",
    )


def skipped_warning(entries: Sequence[IndexEntry], *, where: str) -> Problem | None:
    """Say which documents of the index are of a kind that we do not read."""
    if not entries:
        return None
    return Problem(
        f"{len(entries)} documents of the index are of an unsupported kind.",
        code="stream-entry-skipped",
        where=where,
        expected="products:1.0 documents of images",
        got=_some([f"{e.content_id} ({e.format} {e.datatype})" for e in entries]),
    )


def empty_warning(where: str) -> Problem:
    """Nothing in the stream can be used."""
    return Problem(
        "The stream doesn't offer any usable images.",
        code="stream-empty",
        where=where,
        next_step="Check the URL. Another stream of this mirror may have the images.",
    )


def _mixed(where: str, expected: str, got: str, next_step: str) -> DocumentProblem:
    return DocumentProblem(
        _MIXED,
        code="stream-mixed",
        where=where,
        expected=expected,
        got=got,
        next_step=next_step,
    )


def _some(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    shown = ", ".join(ascii(name)[1:-1][:100] for name in names[:SHOWN_NAMES])
    return shown + (f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
