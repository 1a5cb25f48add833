# SPDX-License-Identifier: Apache-2.0
"""Verify a document in a file, as ``slipway verify`` does: the same code as an import's."""

from __future__ import annotations

from webapp.trust import cleartext
from webapp.trust.errors import SignatureProblem
from webapp.trust.files import read_bounded, shown
from webapp.trust.keyrings import read_keyring
from webapp.trust.signatures import MAX_BYTES, Verified, verify_clearsigned, verify_detached


def verify_file(path: str, keyring_path: str, detached_path: str | None = None) -> Verified:
    """Check a clear-signed file, or any file against a detached signature.

    Reads regular files only, up to their limits. Raises KeyringProblem,
    SignatureProblem or GpgProblem.
    """
    keyring = read_keyring(keyring_path)
    raw = read_bounded(path, max_bytes=MAX_BYTES, what="document", problem=SignatureProblem)
    if detached_path is None:
        return verify_clearsigned(raw, keyring, what=shown(path))
    signature = read_bounded(
        detached_path,
        max_bytes=cleartext.MAX_SIGNATURE_BYTES,
        what="signature file",
        problem=SignatureProblem,
    )
    return verify_detached(raw, signature, keyring, what=shown(path))
