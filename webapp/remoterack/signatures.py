# SPDX-License-Identifier: Apache-2.0
"""Signatures of files for iPXE, asked of an upstream; iPXE itself verifies them."""

from __future__ import annotations

from webapp.errors import Problem
from webapp.fetch import Fetched
from webapp.remoterack.names import wanted_of
from webapp.remoterack.trees import HeldTrees
from webapp.remoterack.upstreams import Upstreams
from webapp.services.mirror.signatures import KnownSignatures

MAX_BYTES = 64 << 10


class RegionSignatures(KnownSignatures):
    """Those that upstreams have."""

    def __init__(self, trees: HeldTrees, upstreams: Upstreams) -> None:
        super().__init__()
        self._trees = trees
        self._upstreams = upstreams

    def _read(self, sha256: str) -> bytes | None:
        files = (one for named in self._trees.names().folders.values() for one in named.values())
        file = next((one for one in files if one.sha256 == sha256), None)
        if file is None:
            return None
        wanted = wanted_of(file)
        for upstream in self._upstreams.usable(is_restricted=wanted.is_restricted):
            try:
                answer = upstream.fetcher.metadata(f"{upstream.root}{wanted.path}.sig")
            except Problem:
                continue
            if isinstance(answer, Fetched) and 0 < len(answer.content) <= MAX_BYTES:
                return answer.content
        return None
