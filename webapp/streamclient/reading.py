# SPDX-License-Identifier: Apache-2.0
"""Bring the documents of one stream here, and refuse what does not fit together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from webapp.errors import Problem
from webapp.fetch import Fetched, Fetcher, FetchProblem, NotModified
from webapp.streamclient import freshness
from webapp.streamclient.model import KnownDocument, SignedDocument, Snapshot, StreamSource
from webapp.streams.documents import (
    Index,
    IndexEntry,
    ProductsDocument,
    parse_index,
    parse_products,
)
from webapp.streams.errors import DocumentProblem
from webapp.streams.mapping import map_products
from webapp.streams.urls import join
from webapp.trust.signatures import verify_clearsigned

STALE_DAYS = 14
MAX_DOCUMENTS = 100
# What publishers call documents of images and notices; some leave it out.
DATATYPES = {"image-ids", "image-downloads", "release-notifications", ""}

_Parsed = TypeVar("_Parsed", Index, ProductsDocument)


def read_stream(
    source: StreamSource,
    fetcher: Fetcher,
    known: Mapping[str, KnownDocument],
    *,
    stale_days: int = STALE_DAYS,
    now: datetime | None = None,
    wants_all: bool = False,
) -> Snapshot:
    """Read the whole stream, or say that it is the known one.

    known: what the last good read gave, by path. It is verified again, since keys
    expire and are withdrawn. An unchanged index costs one request in all.
    wants_all: fill the snapshot from the known documents when it is unchanged.
    Raises FetchProblem, SignatureProblem and DocumentProblem; then nothing of the
    new state is to be used, and what is known stays good.
    """
    return _Reader(source, fetcher, known, now or datetime.now(UTC)).read(stale_days, wants_all)


@dataclass(frozen=True)
class _Text:
    """What a document says, and who says so when."""

    payload: bytes
    fingerprint: str
    signed_at: datetime | None


@dataclass(frozen=True)
class _Document(Generic[_Parsed]):
    """A document that passed all checks of its own."""

    document: SignedDocument
    parsed: _Parsed
    is_known: bool


class _Reader:
    """One read of one stream."""

    def __init__(
        self,
        source: StreamSource,
        fetcher: Fetcher,
        known: Mapping[str, KnownDocument],
        now: datetime,
    ) -> None:
        self._source = source
        self._fetcher = fetcher
        self._known = known
        self._now = now
        self._index_path = source.document_path(source.url.index_path)
        self._bytes = 0
        self._texts: dict[str, _Text] = {}
        self._warnings: list[Problem | None] = []

    def read(self, stale_days: int, wants_all: bool) -> Snapshot:
        """Index first, then what it names, then how all of it fits together."""
        where = self._where(self._index_path)
        is_complete = self._is_complete()
        index = self._get(self._index_path, parse_index, may_ask=is_complete)
        updated, keyring = index.parsed.updated, self._source.keyring
        fingerprint = index.document.fingerprint
        self._warnings += (
            freshness.stale_warning(updated, now=self._now, stale_days=stale_days, where=where),
            freshness.key_warning(keyring, fingerprint, now=self._now),
        )
        is_unchanged = is_complete and index.is_known
        documents: list[SignedDocument] = []
        parsed: list[ProductsDocument] = []
        if wants_all or not is_unchanged:
            documents.append(index.document)
            for entry in self._chosen(index.parsed):
                products = self._products(entry, is_known=is_unchanged)
                documents.append(products.document)
                parsed.append(products.parsed)
        mapped = map_products(parsed)
        if documents and not mapped.offers:
            self._warnings.append(freshness.empty_warning(where))
        return Snapshot(
            is_unchanged=is_unchanged,
            documents=tuple(documents),
            offers=mapped.offers,
            skipped=mapped.skipped,
            index_updated_at=updated,
            signed_at=index.document.signed_at,
            fingerprint=fingerprint,
            warnings=tuple(warning for warning in self._warnings if warning),
            keys=keyring.keys if keyring else (),
            notifications=mapped.notifications,
            parsed=tuple(parsed),
        )

    def _is_complete(self) -> bool:
        """Whether the known index still counts and all that it names is known, too."""
        known = self._known.get(self._index_path)
        if known is None:
            return False
        try:
            where = self._where(known.path)
            index = parse_index(self._text(known.content, where).payload, where=where)
        except Problem:
            return False  # e.g. another keyring by now: what comes must prove itself anew
        return all(self._path(entry) in self._known for entry in index.entries if _is_read(entry))

    def _chosen(self, index: Index) -> list[IndexEntry]:
        """The entries to read. Raises DocumentProblem for an index that leads in circles."""
        where = self._where(self._index_path)
        for entry in index.entries:
            if self._path(entry) == self._index_path:
                raise DocumentProblem(
                    "The index names itself.",
                    code="stream-index-loop",
                    where=where,
                    got=ascii(entry.content_id)[:100],
                    next_step="Tell the publisher of the stream.",
                )
        chosen = [entry for entry in index.entries if _is_read(entry)]
        if len(chosen) > MAX_DOCUMENTS:
            raise DocumentProblem(
                "The index names too many documents.",
                code="stream-too-large",
                where=where,
                expected=f"at most {MAX_DOCUMENTS}",
                got=str(len(chosen)),
                next_step="Check the address; a mirror of images has a handful.",
            )
        others = [entry for entry in index.entries if not _is_read(entry)]
        self._warnings.append(freshness.skipped_warning(others, where=where))
        return chosen

    def _products(self, entry: IndexEntry, *, is_known: bool) -> _Document[ProductsDocument]:
        path = self._path(entry)
        if is_known:
            return self._document(self._known[path], parse_products)
        known = self._known.get(path)
        try:
            document = self._get(path, parse_products, may_ask=known is not None)
        except FetchProblem as problem:
            if known is None or problem.status != 404:
                raise
            if entry.updated is None or entry.updated != known.updated_at:
                raise
            # The very state that the index asks for is here already.
            self._warnings.append(problem)
            document = self._document(known, parse_products)
        freshness.check_belongs(entry, document.parsed, where=self._where(path))
        return document

    def _get(
        self, path: str, parse: Callable[..., _Parsed], *, may_ask: bool
    ) -> _Document[_Parsed]:
        """Fetch a document, check it and hold it against the known one."""
        known = self._known.get(path)
        where = self._where(path)
        asked = known if known and may_ask else None
        answer = self._fetcher.metadata(
            where,
            etag=asked.etag if asked else "",
            last_modified=asked.last_modified if asked else "",
        )
        if isinstance(answer, NotModified):
            return self._document(self._known[path], parse)
        self._count(answer.content, where)
        document = self._document(_unchecked(path, answer), parse)
        if known is not None and not document.is_known:
            self._check_newer(known, document, where)
        return document

    def _document(self, found: KnownDocument, parse: Callable[..., _Parsed]) -> _Document[_Parsed]:
        """Verify and parse a document, be it new or known."""
        where = self._where(found.path)
        text = self._text(found.content, where)
        parsed = parse(text.payload, where=where)
        freshness.check_not_ahead(parsed.updated, now=self._now, where=where)
        known = self._known.get(found.path)
        document = SignedDocument(
            path=found.path,
            content_id=parsed.content_id if isinstance(parsed, ProductsDocument) else "",
            content=found.content,
            sha256=found.sha256,
            etag=found.etag,
            last_modified=found.last_modified,
            updated_at=parsed.updated,
            signed_at=text.signed_at,
            fingerprint=text.fingerprint,
            fetched_at=self._now,
        )
        return _Document(document, parsed, known is not None and known.sha256 == found.sha256)

    def _check_newer(self, known: KnownDocument, document: _Document[_Parsed], where: str) -> None:
        updated = document.parsed.updated
        freshness.check_not_older(updated, known=known.updated_at, where=where)
        if updated != known.updated_at:
            return
        try:
            before = self._text(known.content, where).payload
        except Problem:
            return  # by a key that does not count any more, so it is no yardstick
        # Signing the same text once more is no change.
        if before != self._text(document.document.content, where).payload:
            raise freshness.changed_in_place(updated, where=where)

    def _text(self, content: bytes, where: str) -> _Text:
        """What the document says as far as it is signed. Raises SignatureProblem."""
        digest = _sha256(content)
        if digest not in self._texts:
            keyring = self._source.keyring
            if keyring is None:
                self._texts[digest] = _Text(content, "", None)
            else:
                limit = self._fetcher.limits.metadata_bytes
                verified = verify_clearsigned(
                    content, keyring, what=where, now=self._now, max_bytes=limit
                )
                self._texts[digest] = _Text(
                    verified.payload, verified.fingerprint, verified.signed_at
                )
        return self._texts[digest]

    def _count(self, content: bytes, where: str) -> None:
        """Bound what all documents together take of our memory."""
        self._bytes += len(content)
        most = 2 * self._fetcher.limits.metadata_bytes
        if self._bytes > most:
            raise DocumentProblem(
                "The documents of the stream are too large together.",
                code="stream-too-large",
                where=where,
                expected=f"at most {most} bytes",
                got="more",
                next_step="If the stream is right, raise the limit of metadata in the settings.",
            )

    def _path(self, entry: IndexEntry) -> str:
        return self._source.document_path(entry.path)

    def _where(self, path: str) -> str:
        return join(self._source.url.root, path)


def _is_read(entry: IndexEntry) -> bool:
    return entry.format == "products:1.0" and entry.datatype in DATATYPES


def _unchecked(path: str, answer: Fetched) -> KnownDocument:
    """A fetched document of which nothing is known yet."""
    return KnownDocument(
        path=path,
        content=answer.content,
        sha256=_sha256(answer.content),
        etag=answer.etag,
        last_modified=answer.last_modified,
        updated_at=None,
        signed_at=None,
        fingerprint="",
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
