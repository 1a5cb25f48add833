# SPDX-License-Identifier: Apache-2.0
"""Read a boot source's stream: fetch, verify, parse, and never go back in time."""

from webapp.streamclient.model import (
    KnownDocument,
    SignedDocument,
    Snapshot,
    StreamSource,
)
from webapp.streamclient.reading import read_stream
from webapp.streamclient.samples import ItemCheck, check_items

__all__ = [
    "ItemCheck",
    "KnownDocument",
    "SignedDocument",
    "Snapshot",
    "StreamSource",
    "check_items",
    "read_stream",
]
