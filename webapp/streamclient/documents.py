# SPDX-License-Identifier: Apache-2.0
"""Fetch the documents of a stream and verify them, whichever way they are signed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from webapp.errors import Problem
from webapp.fetch import Fetched, Fetcher, FetchProblem, NotModified
from webapp.streamclient.model import KnownDocument, StreamSource
from webapp.streams.errors import DocumentProblem
from webapp.streams.urls import join
from webapp.trust.errors import SignatureProblem
from webapp.trust.signatures import Verified, verify_clearsigned, verify_detached

NOT_THERE = {403, 404, 410}  # object stores answer 403 for a name they don't have


@dataclass(frozen=True)
class Found:
    """A verified document: its content, who signed it, and when.

    signature: the file of a detached signature, None for a clear-signed document
    and for an unsigned one. payload: what was signed.
    """

    document: KnownDocument
    signature: KnownDocument | None
    payload: bytes
    fingerprint: str
    signed_at: datetime | None

    @property
    def digests(self) -> tuple[str, str]:
        """What distinguishes two fetched states of the document."""
        return self.document.sha256, self.signature.sha256 if self.signature else ""


class Documents:
    """The documents of one stream, by the path of their clear-signed form.

    A signed document is read as ``x.sjson``; where that isn't published, as ``x.json``
    with its detached signature ``x.json.gpg``. Without a keyring it's ``x.json`` alone.
    """

    def __init__(
        self,
        source: StreamSource,
        fetcher: Fetcher,
        known: Mapping[str, KnownDocument],
        now: datetime,
        *,
        keeps_content: bool = True,
    ) -> None:
        self._keeps_content = keeps_content
        self._source = source
        self._fetcher = fetcher
        self._known = known
        self._now = now
        self._bytes = 0
        self._verified: dict[tuple[str, str], Found] = {}

    def where(self, path: str) -> str:
        """The address of a document, for messages."""
        return join(self._source.url.root, path)

    def has(self, path: str) -> bool:
        """Whether the document is known, in either form."""
        return path in self._known or self._is_pair(path)

    def date(self, path: str) -> datetime | None:
        """The known document's own date, None when it's undated or unknown."""
        known = self._known.get(_bare(path) if self._is_pair(path) else path)
        return known.updated_at if known else None

    def signed_at(self, path: str) -> datetime | None:
        """When the known document was signed, None when it's unsigned or unknown."""
        known = self._known.get(_bare(path) if self._is_pair(path) else path)
        return known.signed_at if known else None

    def digests(self, path: str) -> tuple[str, str]:
        """The known document as ``Found.digests``, two empty texts when it's unknown."""
        if self._is_pair(path):
            return self._known[_bare(path)].sha256, self._known[_signature(path)].sha256
        return self._known[path].sha256 if path in self._known else "", ""

    def known(self, path: str) -> Found:
        """The known document, verified again, since keys expire and are withdrawn.

        Raises KeyError when it isn't known, and SignatureProblem.
        """
        if self._is_pair(path):
            return self._proved(self._known[_bare(path)], self._known[_signature(path)])
        return self._proved(self._known[path], None)

    def fetch(self, path: str, *, may_ask: bool) -> Found:
        """The document as it's published now.

        may_ask: the server may answer that the known one is still current.
        Raises FetchProblem, SignatureProblem, and DocumentProblem when it's too large.
        """
        if self._source.keyring is None:
            return self._proved(self._get(path, may_ask), None)
        if self._is_pair(path):
            try:
                return self._pair(path, may_ask)
            except FetchProblem as problem:
                if problem.status not in NOT_THERE:
                    raise
                return self._proved(self._get(path, may_ask=False), None)
        try:
            return self._proved(self._get(path, may_ask), None)
        except FetchProblem as problem:
            if problem.status not in NOT_THERE or not path.endswith(".sjson"):
                raise
            try:
                return self._pair(path, may_ask)
            except FetchProblem as second:
                if second.status not in NOT_THERE:
                    raise second from None
                raise self._absent(path, problem) from None

    def _pair(self, path: str, may_ask: bool) -> Found:
        """The bare document with its detached signature.

        They may be of two updates, when one comes in between the two requests, so
        they get a second chance.
        """
        signature = self._get(_signature(path), may_ask)
        document = self._get(_bare(path), may_ask)
        try:
            return self._proved(document, signature)
        except SignatureProblem:
            signature = self._get(_signature(path), may_ask=False)
            document = self._get(_bare(path), may_ask=False)
            return self._proved(document, signature)

    def _absent(self, path: str, missing: FetchProblem) -> Problem:
        """Why no signed form of a document is there: it's unsigned, or missing altogether."""
        source, where = self._source, self.where(_bare(path))
        if path != source.document_path(source.url.index_path):
            return missing  # a signed index names it, so the mirror lacks it
        try:
            is_unsigned = self._fetcher.head(where).status == 200
        except FetchProblem:
            return missing
        if not is_unsigned:
            return missing
        return SignatureProblem(
            "The stream isn't signed.",
            code="signature-missing",
            where=where,
            expected=f"{_name(path)} or {_name(_signature(path))} beside it",
            got=f"{_name(where)} alone; HTTP status {missing.status} for {_name(path)}",
            next_step="Ask the mirror's operator to publish the signed documents as well. If the "
            "stream has none, mark its source as unsigned: no one vouches for its images then.",
        )

    def _is_pair(self, path: str) -> bool:
        names = (_bare(path), _signature(path))
        is_signed = self._source.keyring is not None and path.endswith(".sjson")
        return is_signed and path not in self._known and all(name in self._known for name in names)

    def _get(self, path: str, may_ask: bool) -> KnownDocument:
        asked = self._known.get(path) if may_ask else None
        where = self.where(path)
        answer = self._fetcher.metadata(
            where,
            etag=asked.etag if asked else "",
            last_modified=asked.last_modified if asked else "",
        )
        if isinstance(answer, NotModified):
            return self._known[path]
        self._count(answer.content, where)
        return _unchecked(path, answer)

    def _proved(self, document: KnownDocument, signature: KnownDocument | None) -> Found:
        """The document as far as it's signed. Raises SignatureProblem."""
        key = (_sha256(document.content), _sha256(signature.content) if signature else "")
        if key not in self._verified:
            verified = self._verify(document, signature)
            self._verified[key] = Found(
                self._lean(document),
                signature,
                payload=verified.payload if verified else document.content,
                fingerprint=verified.fingerprint if verified else "",
                signed_at=verified.signed_at if verified else None,
            )
        found = self._verified[key]
        return replace(found, document=self._lean(document), signature=signature)

    def _lean(self, document: KnownDocument) -> KnownDocument:
        """The document without its bytes, if nobody wants to store them."""
        return document if self._keeps_content else replace(document, content=b"")

    def forget(self, found: Found) -> None:
        """Keep a document that was read no longer: all of a stream together are large."""
        self._verified = {
            key: one for key, one in self._verified.items() if one.payload is not found.payload
        }

    def _verify(self, document: KnownDocument, signature: KnownDocument | None) -> Verified | None:
        keyring, limit = self._source.keyring, self._fetcher.limits.metadata_bytes
        if keyring is None:
            return None
        where = self.where(document.path)
        if signature is None:
            return verify_clearsigned(
                document.content, keyring, what=where, now=self._now, max_bytes=limit
            )
        return verify_detached(
            document.content,
            signature.content,
            keyring,
            what=where,
            now=self._now,
            max_bytes=limit,
        )

    def _count(self, content: bytes, where: str) -> None:
        """Bound what all documents together take of our memory."""
        self._bytes += len(content)
        most = 2 * self._fetcher.limits.metadata_bytes
        if self._bytes > most:
            raise DocumentProblem(
                "The documents of the stream are too large in total.",
                code="stream-too-large",
                where=where,
                expected=f"at most {most} bytes",
                got="more",
                next_step="If the stream is right, raise SLIPWAY_METADATA_MAX_MB.",
            )


def payload_of(documents: Documents, path: str) -> bytes | None:
    """The payload of the known document, None when it no longer verifies."""
    try:
        return documents.known(path).payload
    except Problem:
        return None


def _bare(path: str) -> str:
    return path.removesuffix(".sjson") + ".json"


def _signature(path: str) -> str:
    return _bare(path) + ".gpg"


def _name(path: str) -> str:
    return path.rpartition("/")[2]


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
