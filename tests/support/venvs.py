# SPDX-License-Identifier: Apache-2.0
"""Programs of others that drive Slipway, each in a virtual environment of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent.parent / "build"


def installed(name: str, requirements: Path) -> Path:
    """The folder of the programs; installed once for each state of their requirements."""
    folder = BUILD / name
    stamp = folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv = [sys.executable, "-m", "venv", "--without-pip", "--clear", folder]
        subprocess.run(venv, check=True, timeout=120)
        install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
        install += ["--quiet", "--require-hashes", "-r", requirements]
        subprocess.run(install, check=True, timeout=400)
        stamp.write_text(wanted)
    return folder / "bin"
