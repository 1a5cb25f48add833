# SPDX-License-Identifier: Apache-2.0
"""Peak memory of an import, for files of several sizes: it should be the same for all.

Each size is one file, sparse but for a few random blocks, from nginx on loopback, imported by
a process of its own with the code of the worker. It needs as much room on the disk as the
largest size. Asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.children import ROOT, add_source, measured, peak_mib, region, timed_run
from bench.import_bench import GIB, serving
from tests.support import signed

BLOCK = 1 << 20


def main() -> None:
    """Import each size and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1,10", help="in GiB, e.g. 0.5,4")
    parser.add_argument("--pairs", type=int, help=argparse.SUPPRESS)  # as the others take it
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    (ROOT / "build").mkdir(exist_ok=True)
    for text in options.sizes.split(","):
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
            report = measure(Path(folder), float(text))
        rate = float(text) * GIB / report["seconds"] / 1e6
        print(
            f"{text:>5} GiB: {report['peak_mib']:4.0f} MiB at most (goal <= 150), {rate:.0f} MB/s"
        )


def measure(folder: Path, gib: float) -> dict[str, float]:
    """Make the file and its stream, and import it in another process."""
    make_stream(folder / "mirror", folder / "key.gpg", int(gib * GIB))
    with serving(folder / "mirror", folder) as (address, _):
        task = {"data": str(folder / "data"), "url": address, "keyring": str(folder / "key.gpg")}
        found = measured("bench.memory_bench", task)
    shutil.rmtree(folder / "data")
    return found


def make_stream(root: Path, keyring: Path, size: int) -> None:
    """One signed product with one file of this size."""
    streams = root / "streams" / "v1"
    streams.mkdir(parents=True)
    path = root / "large"
    with path.open("wb") as file:
        file.truncate(size)
        for start in range(0, size, size // 16 or 1):
            file.seek(min(start, size - BLOCK))
            file.write(secrets.token_bytes(BLOCK))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    key = signed.new_key()
    keyring.write_bytes(key.public)
    at = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} +0000"
    name, content = "bench:centos70:amd64", "bench:download"
    item = {"ftype": "root-tgz", "path": "large", "size": size, "sha256": digest}
    product = {
        "os": "centos",
        "release": "centos70",
        "arch": "amd64",
        "label": "stable",
        "versions": {"20260101": {"items": {"root-tgz": item}}},
    }
    common = {"datatype": "image-downloads", "updated": at, "format": "products:1.0"}
    entry = {**common, "path": "streams/v1/products.sjson", "products": [name]}
    index = {"format": "index:1.0", "updated": at, "index": {content: entry}}
    document = {**common, "content_id": content, "products": {name: product}}
    for title, tree in (("index", index), ("products", document)):
        (streams / f"{title}.sjson").write_bytes(signed.clearsign(key, json.dumps(tree, indent=1)))


def child(task: dict[str, str]) -> None:
    """The measured process: the very code that the worker runs."""
    with region(task["data"]):
        add_source(task["url"], task["keyring"], [("centos", "centos70")])
        seconds = timed_run()
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
