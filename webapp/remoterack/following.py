# SPDX-License-Identifier: Apache-2.0
"""Follow a region's signed tree: read it, verify it, keep its exact bytes, never go back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from webapp import durable
from webapp.durable import sync_folder
from webapp.errors import Problem
from webapp.fetch import Fetched, Fetcher, FetchProblem, NotModified
from webapp.remoterack import jsonfiles
from webapp.remoterack.errors import RackProblem
from webapp.streams import racks
from webapp.streams.model import INDEX_PATH
from webapp.streams.racks import FOR_RACKS, RACK_PATH, RESTRICTED_PATH, RackDocument
from webapp.trust.keyrings import Keyring, load_keyring
from webapp.trust.signatures import verify_clearsigned

log = structlog.get_logger(__name__)

KEY_PATH = "gpg.key"
MAX_AHEAD = timedelta(days=1)
MAX_KEPT = 4  # trees: the one in force, and those whose pinned names still work


@dataclass(frozen=True)
class SignedTree:
    """One verified state of a region. documents: path -> exact bytes, the signed list included."""

    document: RackDocument
    documents: Mapping[str, bytes]
    etag: str = ""

    @property
    def updated(self) -> datetime:
        """The state's own date."""
        return self.document.updated

    @property
    def index_sha256(self) -> str:
        """The digest of its signed index, by which a region names a state."""
        return self.document.documents.get(INDEX_PATH, "")


class Trust:
    """The keys that may sign a region's tree: the pinned one, and what it led to since.

    Raises RackProblem when the folder follows another region already.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._path = folder / "trusted.key"
        self._pinned = fingerprint.upper()
        self.keyring: Keyring | None = None
        if self._path.exists():
            self.keyring = load_keyring(self._path.read_bytes())
            known = jsonfiles.read(folder / "pinned.json").get("fingerprint", "")
            if self._pinned not in (known, *self.keyring.fingerprints):
                raise RackProblem(
                    "This data folder belongs to a rack of another region.",
                    code="rack-key",
                    where=str(folder),
                    expected=f"the fingerprint {known}",
                    got=self._pinned,
                    next_step="Set SLIPWAY_DATA_DIR to another folder, or remove this one.",
                )

    def verify(self, raw: bytes, where: str, offered: bytes | None = None) -> bytes:
        """What was signed. offered: keys of the region, of which the pinned one counts at first.

        Raises SignatureProblem, KeyringProblem, RackProblem.
        """
        keyring = self.keyring or load_keyring(offered or b"")
        found = verify_clearsigned(raw, keyring, what=where)
        trusted = self.keyring.fingerprints if self.keyring else (self._pinned,)
        if found.fingerprint not in trusted:
            raise RackProblem(
                "The region's tree is signed by a key that this rack doesn't trust.",
                code="rack-key",
                where=where,
                expected=f"a signature by {', '.join(trusted)}",
                got=f"one by {found.fingerprint}",
                next_step="Compare the fingerprint with the region's page Local mirror. If the "
                "region changed its key at once, stop this rack, remove it from the page Racks and "
                "its folder rack in SLIPWAY_DATA_DIR, and enrol it with a new line: slipway rack "
                "enrol. Its files stay.",
            )
        return found.payload

    def learn(self, keys: bytes) -> None:
        """Trust exactly these keys from now on; a trusted key signed their digest."""
        keyring = load_keyring(keys)
        if self.keyring is None or keyring.fingerprints != self.keyring.fingerprints:
            jsonfiles.write(self._path.parent / "pinned.json", {"fingerprint": self._pinned}, 0o600)
            durable.write(self._path, keys, mode=0o600)
            self.keyring = keyring


def read_tree(
    root: str, fetcher: Fetcher, trust: Trust, held: SignedTree | None, *, is_enrolled: bool = False
) -> SignedTree | None:
    """The tree as an upstream has it; None when it's the one held. Nothing is kept.

    is_enrolled: the upstream knows this rack, and gives it what is for enrolled racks alone.
    Raises a Problem: then the held one stays in force.
    """
    for is_last in (False, True):
        try:
            return _read(root, fetcher, trust, held, is_enrolled)
        except RackProblem as problem:
            if problem.code != "rack-mixed" or is_last:
                raise
    return None


def _read(
    root: str, fetcher: Fetcher, trust: Trust, held: SignedTree | None, is_enrolled: bool
) -> SignedTree | None:
    where = root + RACK_PATH
    answer = fetcher.metadata(where, etag=held.etag if held else "")
    if isinstance(answer, NotModified):
        return None
    if held is not None and answer.content == held.documents[RACK_PATH]:
        return None
    offered = None if trust.keyring else _fetched(fetcher, root + KEY_PATH).content
    document = racks.parse(trust.verify(answer.content, where, offered), where=where)
    _check_date(document, held, where)
    documents = {RACK_PATH: answer.content}
    for path, sha256 in document.documents.items():
        known = held.documents.get(path) if held else None
        if known is None or hashlib.sha256(known).hexdigest() != sha256:
            try:
                known = _fetched(fetcher, root + path).content
            except FetchProblem as problem:
                # Not with one in force, which nobody on the way can take away like this.
                is_refused = problem.status == 404 and path in FOR_RACKS and known is None
                if is_enrolled or not is_refused:
                    raise
                continue
        if hashlib.sha256(known).hexdigest() != sha256:
            raise RackProblem(
                "A document of the region's tree isn't the one that was signed.",
                code="rack-mixed",
                where=root + path,
                expected=f"sha256 {sha256}",
                got=hashlib.sha256(known).hexdigest(),
                next_step="The tree is being replaced, or something alters it in transit. The "
                "rack tries again and keeps serving what it has.",
            )
        documents[path] = known
    return SignedTree(_whole(document, documents, root), documents, answer.etag)


def _whole(document: RackDocument, documents: Mapping[str, bytes], where: str) -> RackDocument:
    """The list, with the images that aren't for everyone if this rack may know them."""
    content = documents.get(RESTRICTED_PATH)
    if content is None:
        return document
    return racks.with_restricted(document, content, where=where + RESTRICTED_PATH)


def _fetched(fetcher: Fetcher, url: str) -> Fetched:
    answer = fetcher.metadata(url)
    assert isinstance(answer, Fetched)  # noqa: S101 - no validators were sent
    return answer


def _check_date(document: RackDocument, held: SignedTree | None, where: str) -> None:
    """Refuse a tree that's played again, or dated so that none could follow it."""
    latest = datetime.now(UTC) + MAX_AHEAD
    if document.updated > latest:
        raise RackProblem(
            "The region's tree is dated in the future.",
            code="rack-future",
            where=where,
            expected=f"at most {latest:%Y-%m-%d %H:%M} UTC",
            got=f"{document.updated:%Y-%m-%d %H:%M} UTC",
            next_step="Check the clocks of this rack and of the region.",
        )
    if held is not None and document.updated <= held.updated:
        is_older = document.updated < held.updated
        raise RackProblem(
            "The upstream has an older tree than this rack."
            if is_older
            else "The region's tree changed, but its date did not.",
            code="rack-rollback" if is_older else "rack-changed",
            where=where,
            expected=f"a date after {held.updated:%Y-%m-%d %H:%M:%S} UTC",
            got=f"{document.updated:%Y-%m-%d %H:%M:%S} UTC",
            next_step="The rack keeps what it has. A region that was restored from a backup "
            "passes this date with its next change.",
        )


class KeptTrees:
    """The trees on the disk: a folder each, written whole before it gets its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)

    def load(self, trust: Trust) -> list[SignedTree]:
        """Those that verify, the newest first."""
        found = []
        for folder in self._folder.glob("[0-9]*"):
            try:
                found.append(_loaded(folder, trust))
            except (Problem, OSError, LookupError) as error:
                log.warning("a kept tree was left out", folder=str(folder), error=str(error))
        return sorted(found, key=lambda tree: tree.updated, reverse=True)

    def save(self, tree: SignedTree) -> None:
        """Keep a tree, and forget the oldest. May raise OSError."""
        final = self._folder / f"{int(tree.updated.timestamp()):012d}"
        fresh = self._folder / f".new-{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        for path, content in tree.documents.items():
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            durable.write(target, content)
        for folder in (fresh / "streams", fresh):
            with suppress(FileNotFoundError):
                sync_folder(folder)
        shutil.rmtree(final, ignore_errors=True)
        os.rename(fresh, final)
        sync_folder(self._folder)
        kept: Sequence[Path] = sorted(self._folder.glob("[0-9]*"), reverse=True)
        for old in kept[MAX_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


def _loaded(folder: Path, trust: Trust) -> SignedTree:
    raw = (folder / RACK_PATH).read_bytes()
    keys = (folder / KEY_PATH).read_bytes()
    document = racks.parse(trust.verify(raw, str(folder), keys), where=str(folder))
    documents = {RACK_PATH: raw}
    for path, sha256 in document.documents.items():
        if path in FOR_RACKS and not (folder / path).exists():
            continue  # it wasn't for this rack
        content = (folder / path).read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise LookupError(f"{path} was changed")
        documents[path] = content
    return SignedTree(_whole(document, documents, f"{folder}/"), documents)
