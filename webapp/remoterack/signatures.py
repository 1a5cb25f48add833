# SPDX-License-Identifier: Apache-2.0
"""Signatures of files for iPXE, asked of an upstream; iPXE itself verifies them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from webapp.errors import Problem
from webapp.fetch import Fetched
from webapp.remoterack.names import wanted_of
from webapp.remoterack.trees import HeldTrees
from webapp.remoterack.upstreams import Upstreams
from webapp.services.mirror.signatures import Signature

MAX_KNOWN = 1000
MAX_BYTES = 64 << 10


class RegionSignatures:
    """Gives the signatures that upstreams have; what was given once, also without them."""

    def __init__(self, trees: HeldTrees, upstreams: Upstreams) -> None:
        self._trees = trees
        self._upstreams = upstreams
        self._known: OrderedDict[str, Signature] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, sha256: str, serial: int) -> Signature | None:
        """The signature of the file with this digest; None if there's none yet."""
        known = self._known.get(sha256)
        if known is not None and known.serial == serial:
            return known
        content = self._ask(sha256)
        if content is None:
            return known
        found = Signature(content, hashlib.sha256(content).hexdigest(), serial)
        with self._lock:
            self._known[sha256] = found
            self._known.move_to_end(sha256)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found

    def _ask(self, sha256: str) -> bytes | None:
        files = (one for named in self._trees.names().folders.values() for one in named.values())
        file = next((one for one in files if one.sha256 == sha256), None)
        if file is None:
            return None
        for upstream in self._upstreams.usable():
            try:
                answer = upstream.fetcher.metadata(f"{upstream.root}{wanted_of(file).path}.sig")
            except Problem:
                continue
            if isinstance(answer, Fetched) and 0 < len(answer.content) <= MAX_BYTES:
                return answer.content
        return None
