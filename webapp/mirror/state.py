# SPDX-License-Identifier: Apache-2.0
"""What a mirror remembers between two pulls, in ``.slipway`` of its folder.

The documents of the last good pull, against rollback and for conditional
requests, and of every file when it was found right, so that an unchanged
mirror is not hashed again. The documents change only after all of a pull went well.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from webapp import durable
from webapp.mirror.folder import FileStat
from webapp.mirror.model import MirrorProblem, WantedFile
from webapp.streamclient import KnownDocument

VERSION = 1
TIMES = ("updated_at", "signed_at")


@dataclass(frozen=True)
class KnownFile:
    """A file that was right when it had this size and these times."""

    wanted: WantedFile
    stat: FileStat


@dataclass
class State:
    """All of it.

    root: the source's address, whose ETags the documents bear. unwanted: since when
    files of earlier pulls haven't been wanted.
    """

    root: str = ""
    documents: dict[str, KnownDocument] = field(default_factory=dict)
    files: dict[str, KnownFile] = field(default_factory=dict)
    unwanted: dict[str, datetime] = field(default_factory=dict)

    def copy(self) -> State:
        """The same, for comparison after this one changed."""
        return State(self.root, dict(self.documents), dict(self.files), dict(self.unwanted))


def load(folder: Path) -> State:
    """Read the state; a new one when there is none.

    Raises MirrorProblem (mirror-state): a damaged state is never passed over in
    silence, since it is what protects against old documents.
    """
    try:
        tree = json.loads((folder / "state.json").read_bytes())
        if tree["version"] != VERSION:
            raise ValueError(f"version {tree['version']}")
        documents = [_document(folder, entry) for entry in tree["documents"]]
        files = [
            KnownFile(WantedFile(path, size, sha256), FileStat(size, mtime_ns))
            for path, size, mtime_ns, sha256 in tree["files"]
        ]
        return State(
            root=tree["root"],
            documents={document.path: document for document in documents},
            files={file.wanted.path: file for file in files},
            unwanted={
                path: datetime.fromisoformat(since)
                for path, since in tree.get("unwanted", {}).items()
            },
        )
    except FileNotFoundError:
        if (folder / "state.json").exists():
            raise _damaged(folder, "a document is missing") from None
        return State()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, type(error).__name__) from error


def save(folder: Path, state: State) -> None:
    """Replace what is remembered, in one step. May raise OSError."""
    for document in state.documents.values():
        path = _content_path(folder, document.sha256)
        if not path.exists():
            durable.write(path, document.content)
    tree = {
        "version": VERSION,
        "root": state.root,
        "documents": [_entry(document) for document in state.documents.values()],
        "files": [
            [path, file.stat.size, file.stat.mtime_ns, file.wanted.sha256]
            for path, file in sorted(state.files.items())
        ],
        "unwanted": {path: since.isoformat() for path, since in state.unwanted.items()},
    }
    durable.write(folder / "state.json", json.dumps(tree, indent=0).encode())
    kept = {_content_path(folder, document.sha256) for document in state.documents.values()}
    for leftover in set(folder.glob("document-*")) - kept:
        leftover.unlink(missing_ok=True)


def _content_path(folder: Path, sha256: str) -> Path:
    return folder / f"document-{sha256}"


def _entry(document: KnownDocument) -> dict[str, Any]:
    entry = asdict(document)
    del entry["content"]
    for name in TIMES:
        entry[name] = entry[name].isoformat() if entry[name] else None
    return entry


def _document(folder: Path, entry: dict[str, Any]) -> KnownDocument:
    content = _content_path(folder, entry["sha256"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ValueError("a document was changed")
    times = {name: datetime.fromisoformat(entry[name]) if entry[name] else None for name in TIMES}
    return KnownDocument(**{**entry, **times, "content": content})


def _damaged(folder: Path, got: str) -> MirrorProblem:
    return MirrorProblem(
        "The state of this mirror is damaged.",
        code="mirror-state",
        where=str(folder),
        got=got,
        next_step="Compare the source with its publisher's, then remove this folder. "
        "The next pull checks every file again.",
    )
