# SPDX-License-Identifier: Apache-2.0
"""A stranger's large documents are refused within a bound of memory, by a real web process."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mirror.maker import Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.live import ADMIN, PASSWORD, LiveSlipway

MIB = 1 << 20
SIZE = 58 * MIB  # of 64 that are fetched
MOST = 300 * MIB
VALUES = 500_000


def peak(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) << 10


def preview(slipway: LiveSlipway, token: str, server: MirrorServer, mirror: Mirror) -> str:
    """Check a source, and return the code of what's wrong with it."""
    keyring = mirror.key.public_armored.decode()
    request = urllib.request.Request(
        f"{slipway.web_url}api/v1/sources/preview",
        data=json.dumps({"url": server.source_url, "keyring": keyring}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=120).close()
    except urllib.error.HTTPError as answer:
        with answer:
            return str(json.load(answer)["code"])
    return ""


@pytest.mark.slow
def test_large_signed_documents_are_refused_in_little_memory(
    make_live: Callable[..., LiveSlipway], tmp_path: Path, signing_key: signed.SigningKey
) -> None:
    only_ubuntu = {"loaders": False, "centos": False, "notification": False}
    mirror = make_mirror(tmp_path / "mirror", signing_key, **only_ubuntu)
    slipway = make_live({"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"})
    slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    token = slipway.cli("admin", "token", ADMIN, "--scope", "all").strip()
    (name,) = mirror.documents
    file = mirror.stream / "streams/v1" / f"{name}.sjson"
    start = json.dumps(mirror.documents[name], indent=1).removesuffix("}").rstrip()
    texts = ",\n".join(f'"more {n}": "{"x" * 9980}"' for n in range(SIZE // 10_000))
    many = ",\n".join(f'"{n:0{SIZE // VALUES - 6}}":1' for n in range(VALUES))
    large = signed.clearsign(mirror.key, f"{start},\n{texts}\n}}\n")
    assert 57 * MIB < len(large) < 64 * MIB
    with MirrorServer(mirror) as server:
        file.write_bytes(large.replace(b"noble", b"nable", 1))
        assert preview(slipway, token, server, mirror) == "signature-bad"
        file.write_bytes(signed.clearsign(mirror.key, f'{start},\n"more": {{{many}}}\n}}\n'))
        assert preview(slipway, token, server, mirror) == "document-too-many-values"
    worker = slipway.pids("web")[-1]
    assert peak(worker) <= MOST, f"{peak(worker) // MIB} MiB"
