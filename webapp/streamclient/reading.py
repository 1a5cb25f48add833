# SPDX-License-Identifier: Apache-2.0
"""Bring the documents of one stream here, and refuse what does not fit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from webapp.errors import Problem
from webapp.fetch import Fetcher, FetchProblem
from webapp.streamclient import freshness
from webapp.streamclient.documents import Documents, Found, payload_of
from webapp.streamclient.model import KnownDocument, SignedDocument, Snapshot, StreamSource
from webapp.streams.documents import (
    Index,
    IndexEntry,
    ProductsDocument,
    parse_index,
    parse_products,
    reason_of,
)
from webapp.streams.errors import DocumentProblem
from webapp.streams.mapping import map_products
from webapp.streams.offers import Skipped

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
    keeps_content: bool = True,
) -> Snapshot:
    """Read the whole stream, or say that it is the known one.

    known: what the last good read gave, by path. It is verified again, since keys
    expire and are withdrawn. An unchanged index costs one request in all.
    wants_all: fill the snapshot from the known documents when it is unchanged.
    keeps_content: False leaves out the bytes of the documents, which are large, where
    nothing is stored.
    Raises FetchProblem, SignatureProblem and DocumentProblem; then nothing of the
    new state is to be used, and what is known stays good.
    """
    now = now or datetime.now(UTC)
    try:
        documents = Documents(source, fetcher, known, now, keeps_content=keeps_content)
        return _Reader(source, documents, now).read(stale_days, wants_all)
    except Problem as problem:
        _drop_frames(problem)
        raise


def _drop_frames(problem: Problem) -> None:
    """Let go of what tracebacks hold, all bytes of the documents, before someone waits for gc."""
    error: BaseException | None = problem
    while error is not None:
        error.__traceback__, error = None, error.__context__


@dataclass(frozen=True)
class _Document(Generic[_Parsed]):
    """A document that passed all checks of its own.

    files: the document, and the file of its signature if that's a second one.
    """

    files: tuple[SignedDocument, ...]
    parsed: _Parsed
    is_known: bool

    @property
    def main(self) -> SignedDocument:
        """The document itself."""
        return self.files[0]


@dataclass(frozen=True)
class _Unusable:
    """A document that is signed as it should be, but isn't one that can be read."""

    content_id: str
    flaw: DocumentProblem
    files: tuple[SignedDocument, ...]


class _Reader:
    """One read of one stream."""

    def __init__(self, source: StreamSource, documents: Documents, now: datetime) -> None:
        self._source = source
        self._documents = documents
        self._now = now
        self._index_path = source.document_path(source.url.index_path)
        self._warnings: list[Problem | None] = []
        self._unusable: list[_Unusable] = []

    def read(self, stale_days: int, wants_all: bool) -> Snapshot:
        """Index first, then what it names, then how all of it fits together."""
        where = self._documents.where(self._index_path)
        is_complete = self._is_complete()
        index = self._get(self._index_path, parse_index, may_ask=is_complete)
        dated = index.parsed.updated or index.main.signed_at
        keyring, fingerprint = self._source.keyring, index.main.fingerprint
        self._warnings += (
            freshness.undated_warning(index.parsed.updated, dated, where=where),
            freshness.stale_warning(dated, now=self._now, stale_days=stale_days, where=where),
            freshness.key_warning(keyring, fingerprint, now=self._now),
        )
        is_unchanged = is_complete and index.is_known
        files: list[SignedDocument] = []
        parsed: list[ProductsDocument] = []
        if wants_all or not is_unchanged:
            files += index.files
            for entry in self._chosen(index.parsed):
                products = self._products(entry, is_known=is_unchanged)
                if products is not None:
                    files += products.files
                    parsed.append(products.parsed)
            if self._unusable and not parsed:
                raise self._unusable[0].flaw
        mapped = map_products(parsed)
        odd = [Skipped(one.product or "index", one.reason) for one in index.parsed.left_out]
        odd += [Skipped(one.content_id, reason_of(one.flaw)) for one in self._unusable]
        if files:
            count = len(odd) + sum(len(document.left_out) for document in parsed)
            self._warnings.append(
                freshness.left_out_warning((*odd, *mapped.skipped)[:count], where)
            )
            if not mapped.offers:
                self._warnings.append(freshness.empty_warning(where))
        return Snapshot(
            is_unchanged=is_unchanged,
            documents=tuple(files),
            offers=mapped.offers,
            skipped=(*odd, *mapped.skipped),
            index_updated_at=dated,
            signed_at=index.main.signed_at,
            fingerprint=fingerprint,
            warnings=tuple(warning for warning in self._warnings if warning),
            keys=keyring.keys if keyring else (),
            notifications=mapped.notifications,
            parsed=tuple(parsed),
            unusable=tuple(file for one in self._unusable for file in one.files),
        )

    def _is_complete(self) -> bool:
        """Whether the known index still counts and all that it names is known, too."""
        if not self._documents.has(self._index_path):
            return False
        try:
            where = self._documents.where(self._index_path)
            payload = self._documents.known(self._index_path).payload
            index = parse_index(payload, where=where)
        except Problem:
            return False  # e.g. another keyring by now: verify what comes again
        return all(self._documents.has(self._path(e)) for e in index.entries if _is_read(e))

    def _chosen(self, index: Index) -> list[IndexEntry]:
        """The entries to read. Raises DocumentProblem for an index that leads in circles."""
        where = self._documents.where(self._index_path)
        for entry in index.entries:
            if self._path(entry) == self._index_path:
                raise DocumentProblem(
                    "The index lists itself.",
                    code="stream-index-loop",
                    where=where,
                    got=ascii(entry.content_id)[:100],
                    next_step="Contact the publisher of the stream.",
                )
        chosen = [entry for entry in index.entries if _is_read(entry)]
        if len(chosen) > MAX_DOCUMENTS:
            raise DocumentProblem(
                "The index lists too many documents.",
                code="stream-too-large",
                where=where,
                expected=f"at most {MAX_DOCUMENTS}",
                got=str(len(chosen)),
                next_step="Check the URL. An image mirror has only a few.",
            )
        others = [entry for entry in index.entries if not _is_read(entry)]
        self._warnings.append(freshness.skipped_warning(others, where=where))
        return chosen

    def _products(self, entry: IndexEntry, *, is_known: bool) -> _Document[ProductsDocument] | None:
        """A document of the index; None when it's left out, since it can't be read."""
        path = self._path(entry)
        found = self._documents.known(path) if is_known else self._found(entry, path)
        try:
            document = self._checked(path, found, parse_products)
        except DocumentProblem as flaw:
            if not flaw.code.startswith("document-"):
                raise  # it is a good document, but of another time
            files = self._files(found, entry.content_id, None)
            self._unusable.append(_Unusable(entry.content_id, flaw, files))
            self._documents.forget(found)
            return None
        if not is_known:
            self._check_newer(path, found, document)
            freshness.check_belongs(
                entry,
                document.parsed,
                where=self._documents.where(path),
                is_signed=self._source.keyring is not None,
                confirmed=self._source.confirmed,
            )
        self._documents.forget(found)
        return document

    def _found(self, entry: IndexEntry, path: str) -> Found:
        try:
            return self._documents.fetch(path, may_ask=self._documents.has(path))
        except FetchProblem as problem:
            known_date = self._documents.date(path)
            if problem.status != 404 or entry.updated is None or entry.updated != known_date:
                raise
            # The very state that the index asks for is here already.
            self._warnings.append(problem)
            return self._documents.known(path)

    def _get(
        self, path: str, parse: Callable[..., _Parsed], *, may_ask: bool
    ) -> _Document[_Parsed]:
        """Fetch a document, check it and hold it against the known one."""
        found = self._documents.fetch(path, may_ask=may_ask)
        document = self._checked(path, found, parse)
        self._check_newer(path, found, document)
        return document

    def _checked(
        self, path: str, found: Found, parse: Callable[..., _Parsed]
    ) -> _Document[_Parsed]:
        """Parse a document, be it new or known."""
        where = self._documents.where(found.document.path)
        parsed = parse(found.payload, where=where)
        if parsed.updated is not None:
            freshness.check_not_ahead(parsed.updated, now=self._now, where=where)
        content_id = parsed.content_id if isinstance(parsed, ProductsDocument) else ""
        files = self._files(found, content_id, parsed.updated)
        digests = self._documents.digests(path)
        return _Document(files, parsed, digests == found.digests)

    def _files(
        self, found: Found, content_id: str, updated: datetime | None
    ) -> tuple[SignedDocument, ...]:
        return tuple(
            SignedDocument(
                path=file.path,
                content_id=content_id,
                content=file.content,
                sha256=file.sha256,
                etag=file.etag,
                last_modified=file.last_modified,
                updated_at=updated,
                signed_at=found.signed_at,
                fingerprint=found.fingerprint,
                fetched_at=self._now,
            )
            for file in (found.document, found.signature)
            if file is not None
        )

    def _check_newer(self, path: str, found: Found, document: _Document[_Parsed]) -> None:
        """Hold a changed document against the known one: by their dates, else by their signatures.

        Raises DocumentProblem.
        """
        if document.is_known or not self._documents.has(path):
            return
        where = self._documents.where(found.document.path)
        updated, before = document.parsed.updated, self._documents.date(path)
        if updated is None or before is None:
            signed = self._documents.signed_at(path)
            if found.signed_at is not None:
                freshness.check_not_older(found.signed_at, known=signed, where=where)
            return
        freshness.check_not_older(updated, known=before, where=where)
        if updated != before:
            return
        # Signing the same text once more is no change. A known document that no longer
        # proves itself, e.g. by a withdrawn key, doesn't count.
        if payload_of(self._documents, path) not in (None, found.payload):
            raise freshness.changed_in_place(updated, where=where)

    def _path(self, entry: IndexEntry) -> str:
        return self._source.document_path(entry.path)


def _is_read(entry: IndexEntry) -> bool:
    return entry.format == "products:1.0" and entry.datatype in DATATYPES
