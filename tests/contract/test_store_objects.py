# SPDX-License-Identifier: Apache-2.0
"""What only the object store can get wrong, on a real server with faults before it
(rule: every-step-may-fail)."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from tests.contract.stores import MIB, Blob, Harness, Place, make_blob
from tests.support.faulty import FaultyProxy
from tests.support.objects import ACCESS_KEY, READER_KEY, READER_SECRET, SECRET_KEY, ObjectServer
from webapp.storage import bucket, hashing, object_keys, object_requests, running
from webapp.storage.bucket import BucketOptions
from webapp.storage.errors import BlobBusy, BlobMissing, StoreProblem, StoreUnusable
from webapp.storage.tables import blob_chunk, blob_store

SMALL = make_blob(1000)
LARGE = make_blob(11 * MIB + 17)  # two parts and a bit


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PAUSE_S", 0.01)


@pytest.fixture(scope="module")
def proxy(object_server: ObjectServer) -> Iterator[FaultyProxy]:
    with FaultyProxy(object_server.ports["s3.port"]) as running:
        yield running


@pytest.fixture
def place(proxy: FaultyProxy, object_place: BucketOptions, tmp_path: Path) -> Place:
    """A store whose requests pass the proxy, without a fault at first."""
    proxy.plan = lambda method, path: ""
    proxy.seen.clear()
    options = replace(object_place, endpoint=proxy.endpoint)
    return Place("s3", tmp_path / "store", f"sqlite:///{tmp_path / 'region.db'}", options)


@pytest.mark.parametrize("fault", ["lost", "late"])
@pytest.mark.parametrize(
    ("method", "mark"),
    [("POST", "uploads"), ("PUT", "partNumber=1"), ("PUT", "partNumber=3"), ("POST", "uploadId")],
)
def test_a_request_without_an_answer_costs_nothing(
    harness: Harness, proxy: FaultyProxy, method: str, mark: str, fault: str
) -> None:
    proxy.strike(method, mark, fault)
    harness.put(LARGE)
    done = [path for got, path in proxy.seen if got == method and mark in path]
    # Only what makes an object is looked for first: sending a part again replaces it.
    is_again = fault == "late" and (mark == "uploads" or "part" in mark)
    assert len(done) == (2 if is_again else 1)
    assert harness.get(LARGE) == LARGE.data
    if mark == "uploads":  # the upload whose name never came is swept a day later
        sweep(harness)


@pytest.mark.parametrize("fault", ["lost", "late"])
def test_a_small_blob_is_put_once(harness: Harness, proxy: FaultyProxy, fault: str) -> None:
    proxy.strike("PUT", SMALL.sha256, fault)
    harness.put(SMALL)
    assert len([path for got, path in proxy.seen if got == "PUT" and SMALL.sha256 in path]) == 1
    assert harness.get(SMALL) == SMALL.data


def test_an_answer_that_breaks_off_is_asked_for_from_there(
    harness: Harness, proxy: FaultyProxy
) -> None:
    harness.put(LARGE)
    proxy.strike("GET", LARGE.sha256, "cut")
    assert harness.get(LARGE) == LARGE.data
    assert len([path for got, path in proxy.seen if got == "GET" and LARGE.sha256 in path]) == 2


def test_a_server_that_stays_away_is_told_and_the_writer_goes_on_later(
    harness: Harness, proxy: FaultyProxy
) -> None:
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data[: 6 * MIB])
        proxy.plan = lambda method, path: "lost"
        with pytest.raises(StoreUnusable) as caught:
            writer.write(LARGE.data[writer.offset :])
        assert caught.value.code == "store-unreachable"
        assert caught.value.next_step
    proxy.plan = lambda method, path: ""
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        assert writer.offset >= 5 * MIB
        writer.write(LARGE.data[writer.offset :])
        writer.commit()
    assert harness.get(LARGE) == LARGE.data


def test_parts_that_the_server_lost_are_sent_again(harness: Harness) -> None:
    harness.start(LARGE, 8 * MIB)
    key = object_keys.blob(LARGE.sha256)
    [begun] = harness.bucket.pages("list_multipart_uploads", "Uploads", Prefix=key)
    harness.bucket.ask("abort_multipart_upload", Key=key, UploadId=begun["UploadId"])
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        assert writer.offset == 0
        writer.write(LARGE.data)
        writer.commit()
    assert harness.get(LARGE) == LARGE.data


def test_a_tail_that_someone_altered_is_not_published(harness: Harness) -> None:
    harness.start(LARGE, 8 * MIB)
    folder = object_keys.PARTIALS
    [tail] = harness.bucket.pages("list_objects_v2", "Contents", Prefix=folder)
    name = folder + str(tail["Key"]).partition(folder)[2]
    harness.bucket.ask("put_object", Key=name, Body=bytes(int(tail["Size"])))
    finish(harness)
    assert harness.store.verify(LARGE.sha256)


def test_a_piece_of_an_upload_that_someone_altered_is_not_published(harness: Harness) -> None:
    token = "ab" * 32
    with harness.store.receiver(token, LARGE.size) as receiver:
        receiver.write(LARGE.data)
        receiver.settle()
    folder = object_keys.PARTIALS
    pieces = list(harness.bucket.pages("list_objects_v2", "Contents", Prefix=folder))
    name = folder + str(pieces[0]["Key"]).partition(folder)[2]
    harness.bucket.ask("put_object", Key=name, Body=bytes(int(pieces[0]["Size"])))
    running._settled.clear()  # as in another process
    with harness.store.receiver(token, LARGE.size) as receiver, pytest.raises(BlobMissing):
        receiver.digest()
    with harness.store.open_upload(token) as reader, pytest.raises(BlobMissing):
        b"".join(reader.chunks())
    harness.store.drop_upload(token)


def test_a_part_that_someone_altered_is_not_published(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.start(LARGE, 8 * MIB)
    key = object_keys.blob(LARGE.sha256)
    [begun] = harness.bucket.pages("list_multipart_uploads", "Uploads", Prefix=key)
    place = {"Key": key, "UploadId": begun["UploadId"], "PartNumber": 1}
    good = list(harness.bucket.pages("list_parts", "Parts", Key=key, UploadId=begun["UploadId"]))
    other = bytes(bucket.MIN_PART)
    proof = object_requests.checksum(other)
    answer = harness.bucket.ask("upload_part", Body=other, ChecksumSHA256=proof, **place)
    etag = answer["ETag"]
    ask = bucket.Bucket.ask

    def careless(self: bucket.Bucket, operation: str, **parameters: Any) -> Any:
        """A server that lists what it had, and takes the part that came last."""
        if operation == "list_parts":
            return {"Parts": good}
        if operation == "complete_multipart_upload":
            parameters["MultipartUpload"]["Parts"][0] |= {"ETag": etag, "ChecksumSHA256": proof}
        return ask(self, operation, **parameters)

    with monkeypatch.context() as patch:
        patch.setattr(bucket.Bucket, "ask", careless)
        with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
            assert writer.offset == 8 * MIB
            writer.write(LARGE.data[writer.offset :])
            with pytest.raises(StoreUnusable) as caught:
                writer.commit()
    assert "other bytes" in caught.value.what
    assert caught.value.next_step
    assert harness.store.stat(LARGE.sha256) is None
    finish(harness)
    assert harness.store.verify(LARGE.sha256)


@pytest.mark.parametrize("received", [0, 5 * MIB, 10 * MIB])
@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 10 * MIB])
def test_sizes_at_the_edges_of_parts_are_written_and_resumed(
    harness: Harness, size: int, received: int
) -> None:
    blob = make_blob(size)
    harness.start(blob, min(received, size))
    finish(harness, blob)
    assert harness.get(blob) == blob.data
    assert list(harness.store.partials()) == []


def test_a_partial_starts_over_where_no_hash_can_be_continued(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_library", lambda: None)
    harness.start(LARGE, 8 * MIB)
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        assert writer.offset == 0
        writer.write(LARGE.data)
        writer.commit()
    assert harness.get(LARGE) == LARGE.data


def test_what_no_row_knows_is_swept(harness: Harness) -> None:
    key = object_keys.blob(LARGE.sha256)
    harness.bucket.ask("create_multipart_upload", Key=key)
    harness.bucket.ask("put_object", Key=object_keys.new_partial(7), Body=b"left")
    harness.store.check()
    assert len(harness.leftovers()) == 1, "an upload that may just begin stays for a day"
    sweep(harness)


@pytest.mark.parametrize("end", ["close", "discard", "write", "commit"])
def test_a_writer_whose_lease_ended_takes_nothing_from_the_next(harness: Harness, end: str) -> None:
    late = harness.store.writer(LARGE.sha256, LARGE.size)
    late.write(LARGE.data[: 6 * MIB] if end != "commit" else LARGE.data)
    with harness.engine.begin() as connection:
        connection.execute(update(blob_store).values(touched_at=0))
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data[writer.offset : max(writer.offset, 7 * MIB)])
        writer.flush()
        if end == "write":
            with pytest.raises(BlobBusy):
                late.write(LARGE.data[late.offset :])
        elif end == "commit":  # it has the right bytes, whoever is to write them
            late.commit()
        getattr(late, "discard" if end == "discard" else "close")()
        if end != "commit":
            writer.write(LARGE.data[writer.offset :])
            writer.commit()
    assert harness.store.verify(LARGE.sha256)
    for partial in list(harness.store.partials()):
        harness.store.drop_partial(partial.sha256)
    sweep(harness)


def test_listings_are_read_to_their_end(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = [make_blob(size) for size in (10, 20, 30)]
    for blob in blobs:
        harness.put(blob)
        harness.start(make_blob(6 * MIB, blob.size), 5 * MIB + blob.size)
    limits = {"list_objects_v2": "MaxKeys", "list_parts": "MaxParts"}
    limits["list_multipart_uploads"] = "MaxUploads"
    ask = bucket.Bucket.ask

    def one_by_one(self: bucket.Bucket, operation: str, **parameters: Any) -> Any:
        if operation in limits:
            parameters[limits[operation]] = 1
        return ask(self, operation, **parameters)

    monkeypatch.setattr(bucket.Bucket, "ask", one_by_one)
    assert list(harness.store.digests()) == sorted(blob.sha256 for blob in blobs)
    finish(harness)
    with harness.engine.begin() as connection:
        connection.execute(delete(blob_chunk))
        connection.execute(delete(blob_store))
    sweep(harness)


def test_a_bucket_with_versions_is_a_store(
    object_server: ObjectServer, object_place: BucketOptions, tmp_path: Path
) -> None:
    name = f"versions-{object_place.prefix}"
    client = object_server.client()
    client.create_bucket(Bucket=name)
    enabled = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration=enabled)
    url = f"sqlite:///{tmp_path / 'region.db'}"
    harness = Harness(Place("s3", tmp_path, url, replace(object_place, bucket=name)))
    for _ in range(2):
        harness.put(LARGE)
        assert harness.get(LARGE) == LARGE.data
    harness.store.delete(LARGE.sha256)
    assert harness.store.stat(LARGE.sha256) is None
    assert list(harness.store.digests()) == []
    sweep(harness)
    harness.engine.dispose()


def test_a_bucket_that_is_not_ours_is_refused(object_place: BucketOptions, tmp_path: Path) -> None:
    place = Place("s3", tmp_path, f"sqlite:///{tmp_path / 'region.db'}", object_place)
    bucket.Bucket(object_place).ask("put_object", Key="of/others", Body=b"x")
    assert refusal(place).code == "store-foreign"
    assert refusal(replace(place, bucket=replace(object_place, bucket="none"))).code == (
        "store-missing"
    )
    assert "SLIPWAY_S3_BUCKET" in refusal(replace(place, bucket=None)).next_step


def test_credentials_are_in_no_problem_and_no_log(
    object_place: BucketOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for wrong in (
        replace(object_place, secret_key=f"{SECRET_KEY}-wrong"),
        replace(object_place, access_key=f"{ACCESS_KEY}W"),
        replace(object_place, access_key=READER_KEY, secret_key=READER_SECRET),
        replace(object_place, access_key="", secret_key=""),
    ):
        place = Place("s3", tmp_path, f"sqlite:///{tmp_path / 'region.db'}", wrong)
        problem = refusal(place)
        assert problem.code == "store-denied"
        told = f"{problem} {problem.as_dict()} {problem.__cause__} {wrong!r} {caplog.text}"
        for secret in (SECRET_KEY, ACCESS_KEY, READER_KEY, READER_SECRET):
            assert secret not in told


def test_a_state_of_the_hash_is_continued() -> None:
    first = hashing.KeptHash()
    first.update(LARGE.data[:1001])
    second = hashing.KeptHash(first.state())
    second.update(bytearray(LARGE.data[1001:]))
    assert second.hexdigest() == LARGE.sha256
    assert not hashing.can_resume(b"another kind of machine" + bytes(112))


def test_boto3_is_imported_with_the_first_request_only() -> None:
    script = (
        "import sys; sys.argv = ['slipway', '--help']\n"
        "from webapp.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import webapp.storage.opening\n"
        "assert not {'boto3', 'botocore', 's3transfer'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def finish(harness: Harness, blob: Blob = LARGE) -> None:
    """Write what is missing of a partial."""
    with harness.store.writer(blob.sha256, blob.size) as writer:
        writer.write(memoryview(blob.data)[writer.offset :])
        writer.commit()


def refusal(place: Place) -> StoreProblem:
    """What opening the store and checking it says."""
    with pytest.raises(StoreProblem) as caught:
        place.open().check()
    return caught.value


def sweep(harness: Harness) -> None:
    """Remove at once what would be removed a day later."""
    store = harness.store
    store.sweep(orphan_s=0)  # type: ignore[attr-defined]
    assert harness.leftovers() == []
