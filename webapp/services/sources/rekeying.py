# SPDX-License-Identifier: Apache-2.0
"""A source whose publisher signs with another key: find it, show it beside the old, accept it.

Nothing is trusted by finding it. The images of the source stay in service throughout
(rule: keep-last-good), and so do its selections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from webapp.errors import Conflict, Problem
from webapp.extensions import settings
from webapp.fetch import FetchProblem
from webapp.models import BootSource
from webapp.services.sources import sources
from webapp.streamclient import StreamSource
from webapp.streamclient.documents import Documents
from webapp.streams.urls import normalise
from webapp.trust.errors import KeyringProblem, SignatureProblem
from webapp.trust.keyrings import KeyInfo, Keyring, decoded, load_keyring

KEYRING_FOLDER = Path("/usr/share/keyrings")
MAX_FILES = 50
MAX_KEYRING_BYTES = 1 << 20
# Why a refresh failed, when another key may be what's missing.
KEY_TROUBLES = frozenset({"signature-unknown-key", "key-expired", "key-revoked"})


@dataclass(frozen=True)
class KeyChange:
    """The keys that a source trusts, and a keyring that its stream is signed by now.

    fingerprint: of the new key that signed. found_in: the file, "" for one that was entered.
    new: every key of that keyring; accepting it trusts them all and drops the old ones.
    """

    old: tuple[KeyInfo, ...]
    new: tuple[KeyInfo, ...]
    fingerprint: str
    signed_at: datetime | None
    found_in: str
    keyring: bytes


def is_due(source: BootSource) -> bool:
    """Whether a new key may be what the source needs."""
    return source.is_enabled and source.error_code in KEY_TROUBLES


def propose(source: BootSource, entered: bytes = b"") -> KeyChange:
    """Check the stream's signature with a keyring that was entered, else with this server's files.

    Reads the index alone and saves nothing. Raises KeyringProblem, SignatureProblem
    and FetchProblem.
    """
    refused: Problem | None = None
    with sources.fetcher_for(source) as fetcher:
        for found_in, data in [("", decoded(entered))] if entered else _on_this_server():
            try:
                keyring = load_keyring(data)
                stream = StreamSource(normalise(source.url), keyring)
                documents = Documents(stream, fetcher, {}, datetime.now(UTC))
                found = documents.fetch(stream.document_path(stream.url.index_path), may_ask=False)
            except FetchProblem:
                raise
            except (KeyringProblem, SignatureProblem) as problem:
                refused = problem
                continue
            return KeyChange(
                old=_known_keys(source),
                new=keyring.keys,
                fingerprint=found.fingerprint,
                signed_at=found.signed_at,
                found_in=found_in,
                keyring=data,
            )
    if entered and refused is not None:
        raise refused
    raise KeyringProblem(
        "No keyring on this server has the key that signs this stream now.",
        code="keyring-missing",
        where=source.url,
        got=source.error_got,
        next_step="Get the new public key from a page of the publisher that you trust, and "
        "enter it here.",
    )


def accept(source: BootSource, fingerprint: str, actor: str, entered: bytes = b"") -> KeyChange:
    """Trust the keyring whose key was shown, in place of the old one.

    fingerprint: as it was shown. Raises what ``propose`` raises, and Conflict when
    another key signs by now.
    """
    change = propose(source, entered)
    if change.fingerprint != fingerprint.replace(" ", "").upper():
        raise Conflict(
            "The stream is signed by another key than the one that was shown.",
            where=source.url,
            expected=fingerprint[:100],
            got=change.fingerprint,
            next_step="Compare the fingerprint with the publisher's, and accept it again.",
        )
    draft = replace(
        sources.draft_of(source),
        keyring_filename="",
        keyring_data=change.keyring,
        is_unsigned=False,
    )
    sources.update_source(source, draft, actor)
    return change


def _known_keys(source: BootSource) -> tuple[KeyInfo, ...]:
    try:
        keyring: Keyring | None = sources.keyring_of(source)
    except KeyringProblem:
        return ()
    return keyring.keys if keyring else ()


def _on_this_server() -> Iterator[tuple[str, bytes]]:
    """The keyrings that packages install, the default one first."""
    paths = [Path(settings().default_keyring)] if settings().default_keyring else []
    if KEYRING_FOLDER.is_dir():
        paths += sorted(KEYRING_FOLDER.glob("*.gpg"))[:MAX_FILES]
    for path in dict.fromkeys(paths):
        try:
            if path.is_file() and path.stat().st_size <= MAX_KEYRING_BYTES:
                yield str(path), path.read_bytes()
        except OSError:
            continue  # one that can't be read offers nothing
