# SPDX-License-Identifier: Apache-2.0
"""python-libmaas 0.6.8, installed from the package registry, drives a real Slipway."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.mirror.maker import make_mirror
from tests.mirror.server import MirrorServer
from tests.support import venvs
from tests.support.live import ADMIN, PASSWORD, LiveSlipway
from tests.support.signed import SigningKey

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python() -> Path:
    """The client's own interpreter."""
    return venvs.installed("libmaas", HERE / "libmaas.txt") / "python"


def test_a_script_with_libmaas_does_all_it_can_do_with_images(
    node: LiveSlipway, python: Path, tmp_path: Path, signing_key: SigningKey
) -> None:
    mirror = make_mirror(
        tmp_path, signing_key, kernels=1, loaders=False, centos=False, notification=False
    )
    key = node.cli("admin", "apikey", ADMIN).strip()
    with MirrorServer(mirror) as server:
        done = subprocess.run(
            [
                python,
                HERE / "libmaas_journey.py",
                f"{node.web_url}MAAS/",
                key,
                server.source_url,
                mirror.keyring,
                ADMIN,
                PASSWORD,
            ],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    files = seen.pop("files")
    signed = {item.sha256: item.size for item in mirror.newest()}
    assert files
    assert all(signed[sha256] == size for size, sha256 in files.values())
    assert seen.pop("year") == datetime.now(UTC).year
    assert list(json.loads(seen.pop("bad_source")[1])) == ["url", "__all__"]
    assert seen == {
        "whoami": [ADMIN, True],
        "version": [2, 9, 2],
        "signed_in": ADMIN,
        "source": server.source_url,
        "listed": [server.source_url],
        "keyring_filename": str(mirror.keyring),
        "defaults": [["*"], ["*"], ["*"]],
        "selections": [
            ["noble", ["amd64"], ["*"]],
            ["jammy", ["amd64"], ["stable", "*"]],
        ],
        "import": "Import of boot resources started",
        "names": ["ubuntu/jammy", "ubuntu/noble"],
        "complete": True,
        "stop": "Import of boot resources is being stopped",
        "uploaded": ["mine", "Uploaded", True],
        "fractions": [0.41, 0.82, 1.0],
        "whole": True,
        "sent_once": True,
        "reserved": 400,
        "deleted": [404, "Not Found"],
        "commissioning": 400,
        "left": ["noble"],
        "no_source": [404, "Not Found"],
        "new_key": ADMIN,
        "revoked": 401,
    }
