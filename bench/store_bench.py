# SPDX-License-Identifier: Apache-2.0
"""Storing and reading bytes: files, rows of SQLite, and objects of a real S3 server.

Side by side in one run, alternating, all on this machine:

    filesystem, database, s3   a writer filled in pieces of 1 MiB, hashed, checked, committed;
                               a reader, in pieces of 1 MiB
    boto3 alone                a loop of upload_part with parts of the same size, without a
                               hash of ours; get_object, read in pieces of 1 MiB

Prints medians, and the ratio of s3 to boto3 alone; asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from bench.children import ROOT
from tests.support.objects import ObjectServer
from webapp.database import prepare_engine
from webapp.storage.base import BlobStore
from webapp.storage.opening import open_store
from webapp.storage.tables import storage_metadata

MIB = 1 << 20
PART = 16 * MIB
GOAL = 0.9


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=256)
    options = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder, ObjectServer() as server:
        run(Path(folder), server, options.rounds, options.mib)


def run(folder: Path, server: ObjectServer, rounds: int, mebibytes: int) -> None:
    """Each way in turn, in each round."""
    engine = create_engine(f"sqlite:///{folder / 'region.db'}")
    prepare_engine(engine)
    storage_metadata.create_all(engine)
    place = replace(server.place(), part=PART)
    ways: dict[str, Callable[[bytes, int], tuple[float, float]]] = {}
    for kind in ("filesystem", "database", "s3"):
        store = open_store(kind, folder / "store", engine, bucket=place)
        ways[kind] = lambda block, count, store=store: through(store, block, count)  # type: ignore[misc]
    client = server.client()
    ways["boto3 alone"] = lambda block, count: alone(client, place.bucket, block, count)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        block = random.Random(number).randbytes(MIB)
        for name, way in ways.items():
            times[name].append(way(block, mebibytes))
    print(f"{mebibytes} MiB, {rounds} rounds, medians{'':6} write       read")
    for name, pairs in times.items():
        write, read = (statistics.median(mebibytes / one[i] for one in pairs) for i in (0, 1))
        print(f"{name:32} {write:6.0f} MiB/s {read:6.0f} MiB/s")
    ratios = [
        statistics.median(
            b[i] / a[i] for a, b in zip(times["s3"], times["boto3 alone"], strict=True)
        )
        for i in (0, 1)
    ]
    print(f"ratio s3 / boto3 alone: write {ratios[0]:.2f}, read {ratios[1]:.2f} (goal >= {GOAL})")


def through(store: BlobStore, block: bytes, count: int) -> tuple[float, float]:
    """Seconds to store and to read a blob."""
    found = hashlib.sha256()
    for _ in range(count):
        found.update(block)
    sha256 = found.hexdigest()
    begun = time.perf_counter()
    with store.writer(sha256, count * MIB) as writer:
        for _ in range(count):
            writer.write(block)
        writer.commit()
    written = time.perf_counter()
    with store.open(sha256) as reader:
        for _ in reader.chunks():
            pass
    read = time.perf_counter()
    store.delete(sha256)
    return written - begun, read - written


def alone(client: Any, bucket: str, block: bytes, count: int) -> tuple[float, float]:
    """Seconds that the library alone takes for the same bytes."""
    name: dict[str, Any] = {"Bucket": bucket, "Key": "alone"}
    begun = time.perf_counter()
    upload = client.create_multipart_upload(**name)["UploadId"]
    parts = []
    for start in range(0, count * MIB, PART):
        body = block * (min(PART, count * MIB - start) // MIB)
        number = len(parts) + 1
        answer = client.upload_part(**name, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
    written = time.perf_counter()
    body = client.get_object(**name)["Body"]
    while body.read(MIB):
        pass
    read = time.perf_counter()
    client.delete_object(**name)
    return written - begun, read - written


if __name__ == "__main__":
    main()
