# SPDX-License-Identifier: Apache-2.0
"""OpenSSL's program, as people use it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(*words: object) -> str:
    """Run it; gives what it printed."""
    done = _run(words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def is_verified(folder: Path, content: bytes, signature: bytes, root: bytes) -> bool:
    """Whether it takes a detached signature, trusting only this root."""
    for name, data in (("file", content), ("file.sig", signature), ("ca.crt", root)):
        (folder / name).write_bytes(data)
    words = (
        *("cms", "-verify", "-binary", "-inform", "DER", "-in", folder / "file.sig"),
        *("-content", folder / "file", "-CAfile", folder / "ca.crt", "-purpose", "any"),
        *("-out", "/dev/null"),
    )
    return _run(words).returncode == 0


def _run(words: tuple[object, ...]) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)
