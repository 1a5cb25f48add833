# SPDX-License-Identifier: Apache-2.0
"""Where the blob of these tests lies."""

from __future__ import annotations

from tests.contract.stores import make_blob

BLOB = make_blob(1000)
PATH = f"sha256/{BLOB.sha256[:2]}/{BLOB.sha256}"
PART = f"partial/{BLOB.sha256}.part"
