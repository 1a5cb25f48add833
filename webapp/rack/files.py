# SPDX-License-Identifier: Apache-2.0
"""The whole rack port as one WSGI callable: published files, and nothing else.

Machines ask in storms, so a request is answered without building a Flask
request: one lookup in the published map, one open file, one sendfile. No
path of the file system is ever made from a URL.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from webapp.rack.bodies import FileBody, StreamBody, fit_buffer
from webapp.rack.boot import BootFiles
from webapp.rack.conditions import Decision, Facts, decide
from webapp.rack.gate import Caller, Gate
from webapp.rack.parts import Documents, Events, Names, Opener, Signatures, VersionUse
from webapp.rack.requests import PREFIX, Environ, Headers, Request, content, type_of, validators
from webapp.services.images.published import Located, PublishedNames
from webapp.services.images.serving import NamesUnread
from webapp.services.system.events import REFUSED
from webapp.storage.base import BlobReader, BlobStore
from webapp.storage.errors import StoreProblem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

ADDRESS_S = 3600  # seconds that a machine has to begin fetching from the object storage
SMALL = 64 << 10  # bytes up to which reading a file is cheaper than sendfile
RETRY_AFTER_S = "5"
CHECKSUM = ".sha256"
SIGNATURE = ".sig"

_FETCHED = "image.fetched"
_SELF_ANSWERED = frozenset({"HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE"})


class Files:
    """Answers GET and HEAD of published names."""

    def __init__(
        self,
        published: Names,
        store: BlobStore,
        recorder: Events,
        proofs: Opener,
        fetches: VersionUse,
        tree: Documents,
        signatures: Signatures,
        *,
        accel_prefix: str = "",
        trusted_proxies: int = 0,
        boot: BootFiles | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.published = published
        self.recorder = recorder
        self._store = store
        self.proofs = proofs
        self.fetches = fetches
        self._tree = tree
        self._signatures = signatures
        self.boot = boot
        self.gate = gate or Gate()
        self._accel_prefix = accel_prefix
        self.is_accelerated = bool(accel_prefix)  # the web server in front sends the bytes
        self._trusted_proxies = trusted_proxies

    def mirror_of(self, path: str) -> str:
        """The prefix of the local mirror, with its slashes, if a path is below it; else ""."""
        prefix = f"/{self._tree.current().prefix}"
        return prefix if path.startswith(prefix) else ""

    def close(self) -> None:
        """Write what was seen and end the threads."""
        self.recorder.close()
        self.fetches.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        is_image = path.startswith(PREFIX)
        mirror = "" if is_image else self.mirror_of(path)
        request = Request(environ, start_response, self._actor(environ), mirror)
        if request.method not in ("GET", "HEAD"):
            return request.say(405, "Only GET and HEAD.", [("Allow", "GET, HEAD")])
        try:
            if not is_image and not mirror:
                caller = self._caller(environ)
                answer = self.boot.answer(request, caller) if self.boot else None
                return request.say(404, "There is nothing here.") if answer is None else answer
            if request.is_of_mirror:
                answer = self._document(request)
                if answer is not None:
                    return answer
            found = self._locate(request, self.published.names(), request.name)
            if found is None:
                return self._beside(request)
            answer = self._answer(request, found)
            return self._answer_again(request, found) if answer is None else answer
        except NamesUnread as problem:
            return request.say(503, problem.what, [("Retry-After", RETRY_AFTER_S)])

    def _locate(self, request: Request, names: PublishedNames, name: str) -> Located | None:
        """What a name means for whoever asks; None, too, for an image that's kept from it."""
        found = request.locate(names, name)
        if found is None or found.restriction is None:
            return found
        if request.is_of_mirror:
            reader = request.environ.get("HTTP_AUTHORIZATION", "")
            return found if self._tree.current().is_rack(reader) else None
        why = self.gate.refusal(found.restriction, self._caller(request.environ))
        if why:
            self._record(REFUSED, request, found.version, 404, 0, why=why)
        return None if why else found

    def _document(self, request: Request) -> Iterable[bytes] | None:
        """A signed document of the local mirror; None when it may be an item."""
        tree = self._tree.current(request.name)
        reader = request.environ.get("HTTP_AUTHORIZATION", "")
        if tree.documents is None or not (tree.is_on and tree.may_read(reader)):
            return request.say(404, "The local mirror is off, or not published yet.")
        found = tree.documents.get(request.name)
        if found is None:
            return None
        if not tree.may_read(reader, found):
            return request.say(404, "Only enrolled racks get this document.")
        body, status, sent = request.give(
            found.content,
            found.sha256,
            int(found.published_at.timestamp()),
            type_of(request.name),
            is_fixed=found.is_fixed,
        )
        self._record(_FETCHED, request, "", status, sent)
        return body

    def _beside(self, request: Request) -> Iterable[bytes]:
        """What is given out beside a file: its checksum and its signature."""
        name, dot, kind = request.name.rpartition(".")
        is_beside = dot + kind in (CHECKSUM, SIGNATURE)
        names = self.published.names()
        found = self._locate(request, names, name) if is_beside else None
        if found is None:
            return request.say(404, "No image of this name is published.")
        if dot + kind == SIGNATURE:
            return self._signature(request, found, names.serial)
        # As sha256sum writes and checks it (rule: checksum-files).
        line = f"{found.sha256}  {name.rpartition('/')[2]}\n".encode("latin-1")
        digest, kind = hashlib.sha256(line).hexdigest(), "text/plain; charset=utf-8"
        is_fixed = found.is_pinned and found.restriction is None
        return request.give(line, digest, found.modified, kind, is_fixed=is_fixed)[0]

    def _signature(self, request: Request, found: Located, serial: int) -> Iterable[bytes]:
        """A detached signature for iPXE's imgverify (rule: ipxe-imgverify)."""
        signed = self._signatures.of(found.sha256, serial)
        if signed is None:
            again = [("Retry-After", RETRY_AFTER_S)]
            return request.say(503, "The file isn't signed yet.", again)
        kind = "application/pkcs7-signature"
        # Another key may sign it tomorrow.
        return request.give(signed.content, signed.sha256, found.modified, kind, is_fixed=False)[0]

    def _answer(self, request: Request, found: Located) -> Iterable[bytes] | None:
        """Answer with the bytes found; None when the store does not have them."""
        etag = f'"{found.sha256}"'
        facts = Facts(found.size, etag, found.modified, found.is_date_strong)
        decision = decide(request.method, request.environ, facts)
        headers = validators(found, etag)
        if decision.status == 304:
            request.start(304, headers)
            return ()
        if decision.status == 412:
            return request.say(412, "The file has changed.", [("ETag", etag)])
        if decision.status == 416:
            size = ("Content-Range", f"bytes */{found.size}")
            return request.say(416, f"The file has {found.size} bytes.", [("ETag", etag), size])
        headers += content(request.name, found, decision)
        if self._accel_prefix and request.method == "GET":
            answer = self._hand_over(request, found, decision, headers)
            if answer is not None:
                return answer
        reader = self.proofs.open(found) if found.is_ready else None
        if reader is None:
            return None
        if request.method == "HEAD":
            reader.close()
            request.start(200, headers)
            return ()
        is_sent_away = found.size > SMALL and not request.is_of_mirror and not found.restriction
        address = reader.address(ADDRESS_S) if is_sent_away else None
        if address:
            reader.close()
            return self._send_away(request, found, address)
        return self._send(request, found, decision, headers, reader)

    def _send_away(self, request: Request, found: Located, address: str) -> Iterable[bytes]:
        """Let the machine fetch the bytes from the object storage; how many, it doesn't tell us.

        Nothing may keep the address: it's valid for a while only, and for everyone.
        """
        headers = [("Location", address), ("Cache-Control", "no-store"), ("Content-Length", "0")]
        request.start(302, headers)
        self._record("image.fetched", request, found.version, 302, 0)
        return ()

    def _answer_again(self, request: Request, found: Located) -> Iterable[bytes]:
        """Decide what it means that named bytes are not in the store.

        Either the name stopped meaning them within the last second, or we lost them.
        """
        now_found = self._locate(request, self.published.names(refresh=True), request.name)
        if now_found is None:
            return request.say(404, "No image of this name is published.")
        answer = self._answer(request, now_found) if now_found != found else None
        if answer is not None:
            return answer
        self.proofs.report(now_found)
        self._record("image.unavailable", request, now_found.version, 503, 0)
        return request.say(
            503, "The file is damaged or missing here.", [("Retry-After", RETRY_AFTER_S)]
        )

    def _send(
        self,
        request: Request,
        found: Located,
        decision: Decision,
        headers: Headers,
        reader: BlobReader,
    ) -> Iterable[bytes] | None:
        """Send the bytes decided on; None when not even the first of them can be read."""
        length = decision.stop - decision.start
        handle = reader.fileno()
        wrapper = request.environ.get("wsgi.file_wrapper")
        begun = time.monotonic()

        def done(sent: int) -> None:
            reader.close()
            self.fetches.end(found.set_id)
            spent = {"took_s": time.monotonic() - begun, "missing": length - sent}
            self._delivered(request, found, decision, sent, **spent)

        if length > SMALL and request.socket is not None:
            fit_buffer(request.socket)
        if handle is not None and wrapper is not None and length > SMALL:
            self.fetches.begin(found.set_id)
            request.start(decision.status, headers)
            body = FileBody(handle, decision.start, decision.stop, request.cut, done)
            hand_over = request.environ.get("slipway.hand_over")
            if hand_over is not None:
                hand_over(body)  # the event loop sends it, and this thread is free
                return ()
            sent_file: Iterable[bytes] = wrapper(body, 1 << 20)
            return sent_file
        chunks = reader.chunks(decision.start, decision.stop)
        try:
            first = next(chunks, b"")
        except StoreProblem:
            reader.close()
            return None
        self.fetches.begin(found.set_id)
        request.start(decision.status, headers)
        if len(first) == length:
            done(length)
            return (first,)
        pieces = self.proofs.watched(chain((first,), chunks), found)
        return StreamBody(pieces, length, request.cut, done)

    def _hand_over(
        self, request: Request, found: Located, decision: Decision, headers: Headers
    ) -> Iterable[bytes] | None:
        """Let nginx send the file, ranges included; None when that cannot be.

        nginx does not know our ETag while it evaluates If-Match, so those few
        requests are answered by ourselves. The promised length stays in the
        header: a client that came here past nginx sees a cut body, not an empty file.
        """
        path = self._store.relative_path(found.sha256)
        if path is None or not _SELF_ANSWERED.isdisjoint(request.environ):
            return None
        if not found.is_ready or not self.proofs.is_proved(found):
            return None  # it is opened, and hashed, before anything is handed over
        # nginx makes the range headers itself, from the client's own Range.
        ours = ("Content-Length", "Content-Range", "Accept-Ranges")
        whole = [header for header in headers if header[0] not in ours]
        whole.append(("Content-Length", str(found.size)))
        whole.append(("X-Accel-Redirect", quote(self._accel_prefix + path)))
        request.start(200, whole)
        self.fetches.begin(found.set_id)
        self.fetches.end(found.set_id)
        self._delivered(request, found, decision, decision.stop - decision.start)
        return StreamBody(iter(()), found.size, request.cut, lambda sent: None)

    def note_whole(self, peer: str, name: str, found: Located, sent: int, took_s: float) -> None:
        """Count a fetch of a whole file that was answered without a thread."""
        spent = {"took_s": took_s, "missing": found.size - sent}
        self._add(_FETCHED, peer, name, found.version, 200, sent, **spent)

    def note_fetch(self, environ: Environ, name: str, sha256: str, status: int, sent: int) -> None:
        """Count a fetch that another server answered, from the links to our blobs."""
        names = self.published.names()
        found = names.locate(name)
        if found is None or found.sha256 != sha256:  # replaced meanwhile
            folder, _, file = name.rpartition("/")
            same = (
                files[file]
                for path, files in names.folders.items()
                if path.startswith(f"{folder}/") and file in files
            )
            found = next((one for one in same if one.sha256 == sha256), None)
        if found is not None:
            self.fetches.begin(found.set_id)
            self.fetches.end(found.set_id)
        version = found.version if found else ""
        self._add(_FETCHED, self._actor(environ), name, version, status, sent)

    def _delivered(
        self, request: Request, found: Located, decision: Decision, sent: int, **spent: Any
    ) -> None:
        self._record(_FETCHED, request, found.version, decision.status, sent, **spent)

    def _record(
        self, kind: str, request: Request, version: str, status: int, sent: int, **spent: Any
    ) -> None:
        name = request.name
        if request.is_of_mirror and kind == _FETCHED:
            # One row for each reader and state of the stream, whatever it reads of it.
            kind, version, name = "mirror.read", str(self._tree.current().revision), f"/{name}"
        self._add(kind, request.actor, name, version, status, sent, **spent)

    def _add(
        self, kind: str, actor: str, name: str, version: str, status: int, sent: int, **spent: Any
    ) -> None:
        """Have one counted. spent: took_s, missing and why, see ``Events.add``."""
        if not name.isascii():  # as users write it, not as WSGI does
            name = name.encode("latin-1").decode("utf-8", "replace")
        image, _, file = name.rpartition("/")
        image = "mirror" if kind == "mirror.read" else image
        self.recorder.add(
            kind, actor, image, version=version, status=status, size=sent, file=file, **spent
        )

    def _actor(self, environ: Environ) -> str:
        """The machine's address; behind trusted proxies the one that the outermost saw."""
        hops = self._hops(environ)
        peer: str = environ.get("REMOTE_ADDR", "") or (hops[-1] if hops else "")
        if len(hops) < max(1, self._trusted_proxies):
            return peer
        try:
            return str(ipaddress.ip_address(hops[0]))
        except ValueError:
            return peer

    def _caller(self, environ: Environ) -> Caller:
        peer: str = environ.get("REMOTE_ADDR", "")  # "" where it comes from a socket of ours
        return Caller(self._actor(environ), (*self._hops(environ), *filter(None, (peer,))))

    def _hops(self, environ: Environ) -> list[str]:
        """The last words of X-Forwarded-For, as many as there are trusted proxies."""
        told = environ.get("HTTP_X_FORWARDED_FOR", "")
        if not told or not self._trusted_proxies:
            return []
        return [hop.strip() for hop in told.split(",")[-self._trusted_proxies :]]
