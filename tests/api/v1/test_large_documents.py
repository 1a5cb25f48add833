# SPDX-License-Identifier: Apache-2.0
"""A stranger's large documents are read or refused in little memory by a real web process."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mirror.maker import Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.live import ADMIN, PASSWORD, LiveSlipway

MIB = 1 << 20
SIZE = 58 * MIB  # of 64 that are fetched
MOST = 300 * MIB
ESCAPED = "\\n" * 4_990


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


def texts(text: str) -> str:
    """Keys without a meaning, with long texts."""
    return ",\n".join(f'"more {n}": "{text}"' for n in range(SIZE // len(text.encode())))


def names(count: int) -> str:
    """Long keys without a meaning, each once."""
    return ",\n".join(f'"{n:0{SIZE // count - 6}}":1' for n in range(count))


def products(count: int, items: int) -> str:
    """Images with tiny files, a long space before each."""
    return ",\n".join(
        f'"it:v3:r{n}": {{"os": "ubuntu", "arch": "amd64", "release": "r{n}", "label": "stable",'
        f'"subarch": "generic", "versions": {{"20260101": {{"items": {{\n'
        + ",\n".join(
            f'{" " * (SIZE // (count * items) - 190)}"i{at}": {{"ftype": "archive.tar.xz", '
            f'"path": "r{n}/{at}", "size": 1, "sha256": "{n * items + at:064x}"}}'
            for at in range(items)
        )
        + "\n}}}}"
        for n in range(count)
    )


def documents(content_id: str) -> Iterator[tuple[str, str, str]]:
    """Name, text and outcome of the worst documents that may be fetched."""
    start = f'{{"format": "products:1.0", "content_id": "{content_id}", "products": {{\n'
    yield "texts", f"{start}}},\n{texts('x' * 9980)}\n}}", "document-too-much-content"
    odd = "x" * 9976 + "\U0001f680"  # makes a str of Python four times as large
    yield "odd texts", f"{start}}},\n{texts(odd)}\n}}", "document-too-much-content"
    yield "escapes", f"{start}}},\n{texts(ESCAPED)}\n}}", ""
    yield "names", f"{start}}},\n{names(390_000)}\n}}", "document-too-much-content"
    numbers = ",\n".join(["1," * 7_000 + "1"] * 4_000)
    yield "numbers", f'{start}}},\n"more": [{numbers}]\n}}', "document-too-many-values"
    few = ",\n".join(f'{" " * 17_000}"{n}": 1' for n in range(3_500))
    yield "spaces", f"{start}}},\n{few}\n}}", ""
    yield "items", f"{start}{products(6_000, 10)}\n}}}}", ""
    keys = ",\n".join(f'"key {n}": "x"' for n in range(50_000))
    yield "inherited keys", f"{start}{products(3_000, 10)}\n}},\n{keys}\n}}", ""


@pytest.mark.slow
def test_large_signed_documents_are_read_or_refused_in_little_memory(
    make_live: Callable[..., LiveSlipway], tmp_path: Path, signing_key: signed.SigningKey
) -> None:
    only_ubuntu = {"loaders": False, "centos": False, "notification": False}
    mirror = make_mirror(tmp_path / "mirror", signing_key, **only_ubuntu)
    slipway = make_live({"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"})
    slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    token = slipway.cli("admin", "token", ADMIN, "--scope", "all").strip()
    (name,) = mirror.documents
    folder = mirror.stream / "streams/v1"
    file = folder / f"{name}.sjson"
    entry = {"path": f"streams/v1/{file.name}", "format": "products:1.0"}
    index = json.dumps({"format": "index:1.0", "index": {name: entry}})
    (folder / "index.sjson").write_bytes(signed.clearsign(mirror.key, index))
    worker = slipway.pids("web")[-1]
    peaks, outcomes = {}, {}
    with MirrorServer(mirror) as server:
        for kind, text, _ in documents(name):
            document = signed.clearsign(mirror.key, text)
            assert 21 * MIB < len(document) < 64 * MIB, kind
            file.write_bytes(document)
            Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak starts again
            outcomes[kind] = preview(slipway, token, server, mirror)
            peaks[kind] = peak(worker) // MIB
        file.write_bytes(document.replace(b"ubuntu", b"ubuntu2", 1))
        assert preview(slipway, token, server, mirror) == "signature-bad"
    assert outcomes == {kind: outcome for kind, _, outcome in documents(name)}
    assert max(peaks.values()) <= MOST // MIB, peaks
    assert peak(worker) <= MOST
