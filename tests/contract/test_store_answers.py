# SPDX-License-Identifier: Apache-2.0
"""Answers of an S3 server that no client wants, each in place of a real server's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.contract.stores import MIB, Blob, Harness, Place, make_blob
from tests.support.faulty import Answer, FaultyProxy
from tests.support.objects import ObjectServer
from webapp.storage import bucket
from webapp.storage.bucket import Bucket, BucketOptions
from webapp.storage.errors import BlobMissing, StoreFull, StoreProblem, StoreUnusable

SMALL = make_blob(1000)
LARGE = make_blob(11 * MIB + 17)  # two parts and a bit
OTHER = bytes(SMALL.size)


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


@pytest.fixture(autouse=True)
def _calm(harness: Harness, proxy: FaultyProxy) -> Iterator[None]:
    """No fault when what was left behind is looked for."""
    yield
    proxy.plan = lambda method, path: ""


def error(code: str) -> bytes:
    """The body of a refusal."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()


# -- reading


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (206, {}),
        (206, {"Content-Range": f"bytes 0-989/{SMALL.size}"}),
        (206, {"Content-Range": "bytes of an object"}),
    ],
)
def test_an_answer_with_other_bytes_than_were_asked_for_is_refused(
    harness: Harness, proxy: FaultyProxy, status: int, headers: dict[str, str]
) -> None:
    harness.put(SMALL)
    answer = Answer(status, SMALL.data[:990], headers)
    with harness.store.open(SMALL.sha256) as reader:
        proxy.strike("GET", SMALL.sha256, answer)
        with pytest.raises(StoreUnusable) as caught:
            b"".join(reader.chunks(10))
    assert "ranges" in caught.value.next_step


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"other"', "Content-Range": f"bytes 0-{SMALL.size - 1}/{SMALL.size}"},
        {"Content-Range": f"bytes 0-{SMALL.size - 1}/{SMALL.size + 1}"},
    ],
)
def test_another_object_from_a_server_that_ignores_if_match_is_refused(
    harness: Harness, proxy: FaultyProxy, headers: dict[str, str]
) -> None:
    harness.put(SMALL)
    with harness.store.open(SMALL.sha256) as reader:
        proxy.strike("GET", SMALL.sha256, Answer(206, OTHER, headers))
        with pytest.raises(BlobMissing):
            b"".join(reader.chunks())


def test_of_a_longer_answer_only_what_was_asked_for_is_read(
    harness: Harness, proxy: FaultyProxy
) -> None:
    harness.put(SMALL)
    found = harness.bucket.ask("head_object", Key=f"sha256/{SMALL.sha256[:2]}/{SMALL.sha256}")
    headers = {"ETag": found["ETag"], "Content-Range": f"bytes 2-{SMALL.size - 1}/{SMALL.size}"}
    with harness.store.open(SMALL.sha256) as reader:
        proxy.strike("GET", SMALL.sha256, Answer(206, SMALL.data[2:], headers))
        assert b"".join(reader.chunks(2, 5)) == SMALL.data[2:5]
        proxy.strike("GET", SMALL.sha256, Answer(200, SMALL.data, {"ETag": found["ETag"]}))
        assert b"".join(reader.chunks(0, 5)) == SMALL.data[:5]


# -- refusals


def test_a_busy_server_is_left_alone_for_a_while_and_asked_again(
    harness: Harness, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(bucket.time, "sleep", pauses.append)
    proxy.strike("PUT", SMALL.sha256, Answer(503, error("SlowDown")), times=2)
    harness.put(SMALL)
    proxy.strike("HEAD", SMALL.sha256, Answer(429))
    assert harness.get(SMALL) == SMALL.data
    assert pauses == [bucket.BUSY * 0.01, bucket.BUSY * 0.02, bucket.BUSY * 0.01]
    proxy.plan = lambda method, path: Answer(503, error("SlowDown"))
    problem = refusal(harness)
    assert (problem.what, problem.got) == ("The object storage is too busy.", "503")


@pytest.mark.parametrize("answer", [Answer(507), Answer(403, error("QuotaExceeded"))])
def test_a_full_server_is_a_full_store_at_once(
    harness: Harness, proxy: FaultyProxy, answer: Answer
) -> None:
    harness.start(LARGE, 6 * MIB)
    proxy.plan = lambda method, path: answer if method == "PUT" else ""
    proxy.seen.clear()
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        with pytest.raises(StoreFull) as caught:
            writer.write(LARGE.data[writer.offset :])
        assert caught.value.needed
        assert [method for method, _ in proxy.seen].count("PUT") == 1
    proxy.plan = lambda method, path: ""
    finish(harness)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(
    harness: Harness, proxy: FaultyProxy, object_server: ObjectServer, status: int
) -> None:
    with FaultyProxy(object_server.ports["s3.port"]) as elsewhere:
        away = {"Location": f"{elsewhere.endpoint}/slipway/x", "x-amz-bucket-region": "eu-west-9"}
        proxy.plan = lambda method, path: Answer(status, b"", away)
        problem = refusal(harness)
        assert elsewhere.seen == []
    assert problem.what == "The bucket is somewhere else."
    assert "SLIPWAY_S3_REGION" in problem.next_step


def test_a_clock_that_differs_is_told_even_by_an_answer_without_a_body(
    harness: Harness, proxy: FaultyProxy
) -> None:
    proxy.plan = lambda method, path: Answer(403)
    assert refusal(harness).code == "store-denied"
    late = {"Date": formatdate(time.time() - 3600, usegmt=True)}
    proxy.plan = lambda method, path: Answer(403, b"", late)
    assert "clock" in refusal(harness).what


def test_a_server_that_never_answers_is_given_up(
    harness: Harness, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "READ_S", 0.3)
    bucket._clients.forget()
    proxy.plan = lambda method, path: "hung"
    proxy.seen.clear()
    assert refusal(harness).code == "store-unreachable"
    assert len(proxy.seen) == bucket.TRIES
    monkeypatch.setattr(bucket, "PATIENCE_S", 0)
    assert refusal(harness).code == "store-unreachable"
    assert len(proxy.seen) == bucket.TRIES + 1
    bucket._clients.forget()


@pytest.mark.parametrize(
    ("blob", "method", "mark"),
    [(LARGE, "POST", "uploadId"), (SMALL, "PUT", SMALL.sha256)],
    ids=["parts", "small"],
)
def test_what_took_too_long_is_looked_for_before_it_is_given_up(
    harness: Harness,
    proxy: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    blob: Blob,
    method: str,
    mark: str,
) -> None:
    monkeypatch.setattr(bucket, "PATIENCE_S", -1)
    proxy.strike(method, mark, "late")
    harness.put(blob)
    assert harness.get(blob) == blob.data


def test_what_a_server_cannot_do_is_asked_for_once(harness: Harness, proxy: FaultyProxy) -> None:
    proxy.seen.clear()
    proxy.plan = lambda method, path: Answer(501, error("NotImplemented"))
    with pytest.raises(StoreUnusable) as caught:
        harness.store.stat(SMALL.sha256)
    assert (caught.value.what, caught.value.got) == (
        "The object storage refused a request.",
        "501",  # the answer to a HEAD has no body
    )
    assert len(proxy.seen) == 1


def test_text_of_the_server_is_bounded_in_what_people_read(
    harness: Harness, proxy: FaultyProxy
) -> None:
    proxy.plan = lambda method, path: Answer(400, error("\x1b[31m".replace("\x1b", "&#10;") * 99))
    with pytest.raises(StoreUnusable) as caught:
        list(harness.store.stats())
    assert caught.value.got == "400"


@pytest.mark.parametrize("status", [404, 412, 416])
def test_no_refusal_escapes_as_anything_but_a_problem(
    harness: Harness, proxy: FaultyProxy, status: int
) -> None:
    answer = Answer(status)
    for method, mark in (("POST", "uploads"), ("PUT", "partNumber=1"), ("PUT", "partial")):
        proxy.strike(method, mark, answer)
        with pytest.raises(StoreProblem):
            start_and_flush(harness)
    proxy.strike("GET", "list-type", answer)
    with pytest.raises(StoreProblem):
        list(harness.store.stats())
    proxy.plan = lambda method, path: ""
    finish(harness)


@pytest.mark.parametrize("code", ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"])
def test_parts_that_the_server_takes_no_more_are_sent_again(
    harness: Harness, proxy: FaultyProxy, code: str
) -> None:
    proxy.strike("POST", "uploadId", Answer(400, error(code)))
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data)
        with pytest.raises(StoreUnusable, match="lost parts"):
            writer.commit()
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        assert writer.offset == 0
    finish(harness)


def test_a_listing_without_an_end_is_left(harness: Harness, proxy: FaultyProxy) -> None:
    head = "<?xml version='1.0'?><ListBucketResult><IsTruncated>true</IsTruncated>"
    token = "<NextContinuationToken>again</NextContinuationToken>"
    for more in ("", token):
        page = Answer(200, f"{head}{more}</ListBucketResult>".encode())
        proxy.plan = lambda method, path, page=page: page if "list-type" in path else ""  # type: ignore[misc]
        with pytest.raises(StoreUnusable, match="half of a listing"):
            list(harness.store.stats())


# -- the client


def test_settings_of_other_programs_change_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-9\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "someone")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    bucket._clients.forget()
    harness.put(SMALL)
    assert harness.get(SMALL) == SMALL.data
    bucket._clients.forget()


def test_an_etag_is_no_md5(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where objects are encrypted: tags that say nothing, different for equal parts."""
    ask, count = Bucket.ask, iter(range(1000))

    def tagged(self: Bucket, operation: str, **parameters: Any) -> Any:
        if operation == "complete_multipart_upload":
            for part in parameters["MultipartUpload"]["Parts"]:
                part["ETag"] = real[part["ETag"]]
        answer = ask(self, operation, **parameters)
        if operation == "upload_part":
            tag = f'"tag {next(count)}"'
            real[tag] = answer["ETag"]
            return answer | {"ETag": tag}
        return answer

    real: dict[str, str] = {}
    monkeypatch.setattr(Bucket, "ask", tagged)
    harness.put(LARGE)
    assert harness.get(LARGE) == LARGE.data


def refusal(harness: Harness) -> StoreProblem:
    """What checking the store says; nothing of it is a secret."""
    with pytest.raises(StoreProblem) as caught:
        harness.store.check()
    assert caught.value.next_step
    return caught.value


def start_and_flush(harness: Harness) -> None:
    """Write a part and a bit."""
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data[writer.offset : 6 * MIB])
        writer.flush()


def finish(harness: Harness) -> None:
    """Write what is missing of a partial."""
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(memoryview(LARGE.data)[writer.offset :])
        writer.commit()
    assert harness.store.verify(LARGE.sha256)
    harness.store.sweep(orphan_s=0)  # type: ignore[attr-defined]
