# SPDX-License-Identifier: Apache-2.0
"""Reading a stream: what is signed, of one state, and never older than what we had."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.maker import Documents, Mirror, dump, make_mirror, stamp
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from webapp.errors import Problem
from webapp.fetch import Fetcher, FetchProblem, Limits
from webapp.streamclient import (
    KnownDocument,
    Snapshot,
    StreamSource,
    check_items,
    read_stream,
)
from webapp.streams.errors import DocumentProblem
from webapp.streams.urls import normalise
from webapp.trust.errors import SignatureProblem
from webapp.trust.keyrings import Keyring, load_keyring

INDEX = "streams/v1/index.sjson"
UBUNTU = "com.ubuntu.maas:stable:v3:download"
LIMITS = Limits(
    metadata_bytes=4 << 20, connect_s=2, read_s=1, total_metadata_s=5, retries=1, backoff_s=0.01
)


def make_small(folder: Path, key: SigningKey) -> Mirror:
    """One kernel and the notice: two documents and an index."""
    return make_mirror(
        folder,
        key,
        releases=["noble"],
        arches=["amd64"],
        kernels=1,
        loaders=False,
        centos=False,
    )


@pytest.fixture
def small(tmp_path: Path, signing_key: SigningKey) -> Mirror:
    """A small mirror of its own."""
    return make_small(tmp_path / "small", signing_key)


@pytest.fixture(scope="module")
def still_server(
    tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey
) -> Iterator[MirrorServer]:
    """A small mirror, made once, whose files nobody changes."""
    with MirrorServer(make_small(tmp_path_factory.mktemp("still"), signing_key)) as running:
        yield running


@pytest.fixture
def still(still_server: MirrorServer) -> MirrorServer:
    """The same without faults and log."""
    still_server.set_faults()
    still_server.reset()
    return still_server


@pytest.fixture
def server(small: Mirror) -> Iterator[MirrorServer]:
    with MirrorServer(small) as running:
        yield running


def source_of(server: MirrorServer, *keys: SigningKey, path: str = "") -> StreamSource:
    return StreamSource(normalise(server.source_url + path), keyring_of(*keys))


@functools.cache
def keyring_of(*keys: SigningKey) -> Keyring | None:
    return load_keyring(signed.keyring_of(*keys)) if keys else None


def read(
    source: StreamSource,
    known: Mapping[str, KnownDocument] | None = None,
    *,
    limits: Limits = LIMITS,
    **options: Any,
) -> Snapshot:
    with Fetcher(limits=limits) as fetcher:
        return read_stream(source, fetcher, known or {}, **options)


def known_of(snapshot: Snapshot) -> dict[str, KnownDocument]:
    """What a caller keeps of a good read."""
    return {
        document.path: KnownDocument(
            **{name: getattr(document, name) for name in KnownDocument.__dataclass_fields__}
        )
        for document in snapshot.documents
    }


@contextmanager
def refused(code: str) -> Iterator[list[Problem]]:
    """The block ends in this problem, and nothing in it echoes a body."""
    caught: list[Problem] = []
    with pytest.raises(Problem) as info:
        yield caught
    caught.append(info.value)
    assert info.value.code == code, info.value
    assert info.value.where


def codes(snapshot: Snapshot) -> list[str]:
    return [warning.code for warning in snapshot.warnings]


# -- what goes right


def test_a_whole_stream_is_read(shared_mirror: Mirror, signing_key: SigningKey) -> None:
    with MirrorServer(shared_mirror) as server:
        snapshot = read(source_of(server, signing_key))
    assert not snapshot.is_unchanged
    assert {d.content_id for d in snapshot.documents[1:]} == set(shared_mirror.documents)
    assert [d.content_id for d in snapshot.documents[:1]] == [""]
    for document in snapshot.documents:
        assert document.content == (shared_mirror.stream / document.path).read_bytes()
        assert document.updated_at == shared_mirror.updated
        assert document.fingerprint == signing_key.fingerprint
        assert document.etag
    newest = {item.sha256: item for item in shared_mirror.newest()}
    offered = {item.sha256 for offer in snapshot.offers for item in offer.items}
    assert offered <= set(newest)
    left_out = {newest[sha256].ftype for sha256 in set(newest) - offered}
    assert left_out == {"manifest", "notifications"}
    assert snapshot.fingerprint == signing_key.fingerprint
    assert snapshot.index_updated_at == shared_mirror.updated
    assert [key.fingerprint for key in snapshot.keys] == [signing_key.fingerprint]
    assert [notice.maas_version for notice in snapshot.notifications] == ["2.9.0"]
    assert snapshot.warnings == ()


def test_an_unchanged_stream_costs_one_request(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    first = read(source_of(server, signing_key))
    server.reset()
    second = read(source_of(server, signing_key), known_of(first))
    assert second.is_unchanged
    assert (second.documents, second.offers) == ((), ())
    assert second.index_updated_at == first.index_updated_at
    assert second.fingerprint == first.fingerprint
    assert [(r.path, r.status) for r in server.log] == [(f"/{small.path}{INDEX}", 304)]


def test_an_unchanged_stream_without_validators_costs_one_request(
    still: MirrorServer, signing_key: SigningKey
) -> None:
    known = {
        path: replace(document, etag="", last_modified="")
        for path, document in known_of(read(source_of(still, signing_key))).items()
    }
    still.reset()
    assert read(source_of(still, signing_key), known).is_unchanged
    assert [request.status for request in still.log] == [200]


def test_a_stream_of_which_a_part_is_unknown_is_read_anew(
    still: MirrorServer, signing_key: SigningKey
) -> None:
    first = read(source_of(still, signing_key))
    known = known_of(first)
    known.popitem()
    still.reset()
    again = read(source_of(still, signing_key), known)
    assert not again.is_unchanged
    assert again.offers == first.offers
    assert [request.status for request in still.log] == [200, 304, 200]


def test_after_an_update_unchanged_documents_cost_a_304(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    first = read(source_of(server, signing_key))
    notice = small.stream / "streams/v1/com.ubuntu.maas:stable:1:maas-notification.sjson"
    kept = notice.read_bytes(), notice.stat().st_mtime_ns
    small.publish_next(edit=lambda documents: keep_notice(documents, first))
    notice.write_bytes(kept[0])
    os.utime(notice, ns=(kept[1], kept[1]))
    server.reset()
    second = read(source_of(server, signing_key), known_of(first))
    assert {r.path.rpartition(":")[2]: r.status for r in server.log} == {
        f"/{small.path}{INDEX}": 200,
        "download.sjson": 200,
        "maas-notification.sjson": 304,
    }
    assert len(second.documents) == len(first.documents)
    assert second.offers[0].version > first.offers[0].version
    assert len(second.notifications) == 1


def keep_notice(documents: Documents, snapshot: Snapshot) -> None:
    """The notice stays what it was while the images are built anew."""
    documents["com.ubuntu.maas:stable:1:maas-notification"]["updated"] = stamp(
        snapshot.index_updated_at
    )


@pytest.mark.parametrize("path", ["", "streams/v1/", "streams/v1/index.json.gpg", INDEX])
def test_every_spelling_of_a_signed_source_reads_the_signed_files(
    still: MirrorServer, signing_key: SigningKey, path: str
) -> None:
    read(source_of(still, signing_key, path=path))
    assert {request.path.rpartition(".")[2] for request in still.log} == {"sjson"}


def test_a_signed_index_that_names_bare_documents_means_their_signed_twins(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    republish_index(small, lambda index: None, suffix=".json")
    snapshot = read(source_of(server, signing_key))
    assert all(document.path.endswith(".sjson") for document in snapshot.documents)
    assert all(request.path.endswith(".sjson") for request in server.log)


def test_a_bare_index_with_a_keyring_is_still_verified(
    still: MirrorServer, signing_key: SigningKey
) -> None:
    snapshot = read(source_of(still, signing_key, path="streams/v1/index.json"))
    assert snapshot.fingerprint == signing_key.fingerprint


@pytest.mark.parametrize("path", ["", "streams/v1/index.json"])
def test_without_a_keyring_the_bare_files_are_read_and_bear_no_name(
    still: MirrorServer, path: str
) -> None:
    snapshot = read(source_of(still, path=path))
    assert (snapshot.fingerprint, snapshot.signed_at, snapshot.keys) == ("", None, ())
    assert all(document.path.endswith(".json") for document in snapshot.documents)
    assert len(snapshot.offers) == 1
    again = read(source_of(still, path=path), known_of(snapshot))
    assert again.is_unchanged


# -- signatures


def republish_index(
    mirror: Mirror, edit: Any, *, suffix: str = ".sjson", key: SigningKey | None = None
) -> None:
    """Sign an edited index in place of the right one."""
    index = mirror.index(suffix)
    edit(index)
    path = mirror.stream / INDEX
    path.write_bytes(signed.clearsign(key or mirror.key, dump(index)))


def test_a_document_by_another_key_is_refused(still: MirrorServer, signing_key: SigningKey) -> None:
    other = signed.new_key("Somebody else <else@example.test>")
    with refused("signature-unknown-key"):
        read(source_of(still, other))


def test_an_altered_products_document_is_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    path = small.stream / f"streams/v1/{UBUNTU}.sjson"
    path.write_bytes(path.read_bytes().replace(b"noble", b"nable", 1))
    with refused("signature-bad"):
        read(source_of(server, signing_key))


def test_an_unsigned_document_of_a_signed_source_is_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    first = read(source_of(server, signing_key))
    small.publish_next()
    bare = (small.stream / "streams/v1/index.json").read_bytes()
    (small.stream / INDEX).write_bytes(bare)
    for known in ({}, known_of(first)):
        with pytest.raises(SignatureProblem):
            read(source_of(server, signing_key), known)


def test_another_keyring_makes_an_unchanged_stream_prove_itself_anew(
    still: MirrorServer, signing_key: SigningKey
) -> None:
    known = known_of(read(source_of(still, signing_key)))
    other = signed.new_key("Somebody else <else@example.test>")
    still.reset()
    with refused("signature-unknown-key"):
        read(source_of(still, other), known)
    assert [request.status for request in still.log] == [200]


def test_the_same_text_signed_by_a_new_key_is_no_change_of_history(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    known = known_of(read(source_of(server, signing_key)))
    new = signed.new_key("The same publisher, later <new@example.test>")
    small.key = new
    small.publish()
    for keys in ((signing_key, new), (new,)):
        snapshot = read(source_of(server, *keys), known)
        assert snapshot.fingerprint == new.fingerprint


def test_a_key_that_ends_soon_is_a_warning(small: Mirror, server: MirrorServer) -> None:
    small.key = signed.new_key("Short <short@example.test>", expires="20d")
    small.publish()
    assert codes(read(source_of(server, small.key))) == ["key-expires-soon"]


# -- time


def test_older_states_are_refused_in_any_order(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    states = []
    for number in range(4):
        folder = small.root.parent / f"state{number}"
        shutil.copytree(small.stream / "streams", folder)
        states.append(folder)
        small.publish_next()
    known = known_of(read(source_of(server, signing_key)))
    for folder in (states[2], states[0], states[3], states[1]):
        shutil.copytree(folder, small.stream / "streams", dirs_exist_ok=True)
        with refused("stream-rollback") as caught:
            read(source_of(server, signing_key), known)
        assert "UTC" in caught[0].expected
        assert "UTC" in caught[0].got
        assert caught[0].expected > caught[0].got


def test_an_older_products_document_under_a_new_index_is_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    path = small.stream / f"streams/v1/{UBUNTU}.sjson"
    old = path.read_bytes()
    small.publish_next()
    known = known_of(read(source_of(server, signing_key)))
    small.publish_next()
    path.write_bytes(old)
    with refused("stream-rollback") as caught:
        read(source_of(server, signing_key), known)
    assert UBUNTU in caught[0].where.replace("%3A", ":")


@pytest.mark.parametrize("name", ["index", UBUNTU])
def test_other_bytes_with_the_same_date_are_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey, name: str
) -> None:
    known = known_of(read(source_of(server, signing_key)))
    if name == "index":
        republish_index(small, lambda index: index.update(note="changed"))
    else:
        # The index has to be newer for the products document to be asked for.
        small.updated += timedelta(days=1)
        republish_index(small, lambda index: index.update(updated=stamp(small.updated)))
        document = {**small.documents[UBUNTU], "note": "changed"}
        path = small.stream / f"streams/v1/{UBUNTU}.sjson"
        path.write_bytes(signed.clearsign(small.key, dump(document)))
    with refused("stream-changed-in-place"):
        read(source_of(server, signing_key), known)


@pytest.mark.parametrize("name", ["index", UBUNTU])
def test_a_document_of_the_future_is_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey, name: str
) -> None:
    future = stamp(datetime(2099, 1, 1, tzinfo=UTC))
    if name == "index":
        republish_index(small, lambda index: index.update(updated=future))
    else:
        small.publish(edit=lambda documents: documents[name].update(updated=future))
    with refused("stream-in-future"):
        read(source_of(server, signing_key))


def test_a_few_hours_ahead_are_only_another_clock(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    small.updated = (datetime.now(UTC) + timedelta(hours=20)).replace(microsecond=0)
    small.publish()
    assert codes(read(source_of(server, signing_key))) == []


def test_a_stream_that_does_not_change_is_a_warning_and_no_failure(
    still: MirrorServer, signing_key: SigningKey
) -> None:
    first = read(source_of(still, signing_key))
    later = datetime.now(UTC) + timedelta(days=15)
    for known in ({}, known_of(first)):
        snapshot = read(source_of(still, signing_key), known, now=later)
        assert codes(snapshot) == ["stream-stale"]
    assert codes(read(source_of(still, signing_key), now=later, stale_days=30)) == []


# -- what does not fit together


def edit_entry(changes: dict[str, Any]) -> Any:
    def edit(index: dict[str, Any]) -> None:
        index["index"][UBUNTU].update(changes)

    return edit


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        (
            {"products": ["com.ubuntu.maas.stable:v3:boot:24.04:amd64:other"]},
            "1 not in the document",
        ),
        ({"updated": "Thu, 01 Jan 2026 00:00:00 +0000"}, "UTC"),
        (
            {"path": "streams/v1/com.ubuntu.maas:stable:1:maas-notification.sjson"},
            "maas-notification",
        ),
    ],
    ids=["other products", "other date", "another document"],
)
def test_an_index_and_documents_of_two_states_are_refused(
    small: Mirror,
    server: MirrorServer,
    signing_key: SigningKey,
    changes: dict[str, Any],
    got: str,
) -> None:
    republish_index(small, edit_entry(changes))
    with refused("stream-mixed") as caught:
        read(source_of(server, signing_key))
    assert got in caught[0].got
    is_final = "products" in changes  # the dates agree, so no update is in progress
    assert ("won't heal by itself" if is_final else "middle of an") in caught[0].next_step


def test_an_index_without_dates_and_product_lists_is_enough(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    def edit(index: dict[str, Any]) -> None:
        for entry in index["index"].values():
            del entry["updated"], entry["products"]

    republish_index(small, edit)
    assert len(read(source_of(server, signing_key)).offers) == 1


def test_a_missing_document_is_the_error_of_the_stream(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    first = read(source_of(server, signing_key))
    small.publish_next()
    (small.stream / f"streams/v1/{UBUNTU}.sjson").unlink()
    for known in ({}, known_of(first)):
        with refused("http-status") as caught:
            read(source_of(server, signing_key), known)
        assert isinstance(caught[0], FetchProblem)
        assert caught[0].status == 404


def test_a_missing_document_whose_very_state_is_known_is_a_warning(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    first = read(source_of(server, signing_key))
    republish_index(
        small, lambda index: index.update(updated=stamp(small.updated + timedelta(hours=1)))
    )
    (small.stream / f"streams/v1/{UBUNTU}.sjson").unlink()
    second = read(source_of(server, signing_key), known_of(first))
    assert codes(second) == ["http-status"]
    assert second.offers == first.offers


@pytest.mark.parametrize("path", [INDEX, "streams/v1/index.json"])
def test_an_index_that_names_itself_is_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey, path: str
) -> None:
    republish_index(small, edit_entry({"path": path}))
    with refused("stream-index-loop"):
        read(source_of(server, signing_key))
    assert len(server.log) == 1


def test_an_index_with_very_many_documents_is_refused_unread(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    def edit(index: dict[str, Any]) -> None:
        entry = index["index"][UBUNTU]
        index["index"] = {f"id{n}": {**entry, "path": f"streams/v1/{n}.sjson"} for n in range(1000)}

    republish_index(small, edit)
    with refused("stream-too-large"):
        read(source_of(server, signing_key))
    assert len(server.log) == 1


def test_documents_that_are_too_large_together_are_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    def edit(documents: Documents) -> None:
        for name in ("b", "c"):
            documents[name] = {**documents[UBUNTU], "content_id": name}

    small.publish(edit=edit)
    size = (small.stream / f"streams/v1/{UBUNTU}.sjson").stat().st_size
    with refused("stream-too-large"):
        read(source_of(server, signing_key), limits=replace(LIMITS, metadata_bytes=size + 100))


def test_documents_of_other_kinds_are_skipped_with_a_word(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    def edit(index: dict[str, Any]) -> None:
        entry = index["index"][UBUNTU]
        index["index"]["more"] = {**entry, "format": "index:1.0", "path": "streams/v1/x.sjson"}
        index["index"]["odd"] = {**entry, "datatype": "songs", "path": "streams/v1/y.sjson"}

    republish_index(small, edit)
    snapshot = read(source_of(server, signing_key))
    assert codes(snapshot) == ["stream-entry-skipped"]
    assert "songs" in snapshot.warnings[0].got
    assert len(server.log) == 3


def test_a_stream_without_images_is_a_warning(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    def edit(documents: Documents) -> None:
        documents[UBUNTU]["products"] = {}

    small.publish(edit=edit)
    assert codes(read(source_of(server, signing_key))) == ["stream-empty"]


# -- mirrors that spoil metadata (rule: bad-mirrors)


METADATA_FAULTS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("404", {"status": 404}, {"http-status"}),
    ("403", {"status": 403}, {"http-status"}),
    ("429", {"status": 429}, {"http-status"}),
    ("500", {"status": 500}, {"http-status"}),
    ("503", {"status": 503, "headers": {"Retry-After": "3600"}}, {"http-status"}),
    ("login page", {"body": "<html>", "headers": {"Content-Type": "text/html"}}, {"http-html"}),
    ("empty", {"body": b""}, {"signature-missing", "signature-not-a-document"}),
    ("one GB", {"repeat": ["x", 1 << 30]}, {"http-too-large"}),
    ("endless chunked", {"repeat": ["x", 1 << 40], "is_chunked": True}, {"http-too-large"}),
    ("brotli", {"headers": {"Content-Encoding": "br"}}, {"http-encoding"}),
    ("gzip bomb", {"gzip_bomb": 1 << 40}, {"http-too-large", "http-timeout"}),
    ("length too long", {"length": 1 << 20}, {"http-short"}),
    ("length too short", {"length": 500}, {"signature-cut-off"}),
    ("cut", {"cut": 200}, {"http-short"}),
    ("reset", {"reset": 200}, {"http-short", "http-connection"}),
    ("stall", {"stall": [200, 60]}, {"http-timeout"}),
    ("hang", {"hang": 60}, {"http-timeout"}),
    ("bit flip", {"flip": 300}, {"signature-bad"}),
    ("byte more", {"extra": 1}, {"signature-text-after"}),
    ("circle", {"redirect": "{base}{path}"}, {"http-redirect"}),
    ("to a file", {"redirect": "file:///etc/passwd"}, {"http-redirect"}),
    ("to metadata", {"redirect": "http://169.254.169.254/x"}, {"address-refused"}),
    ("not http", {"raw": "SSH-2.0-x\r\n\r\n"}, {"http-invalid"}),
]


@pytest.mark.parametrize("where", ["index.sjson", "download.sjson"])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [pytest.param(fault, expected, id=name) for name, fault, expected in METADATA_FAULTS],
)
def test_a_bad_mirror_is_refused_with_a_reason(
    still: MirrorServer,
    signing_key: SigningKey,
    where: str,
    fault: dict[str, Any],
    expected: set[str],
) -> None:
    still.set_faults([{"path": f"{where}$", **fault}])
    with pytest.raises(Problem) as caught:
        read(source_of(still, signing_key), limits=replace(LIMITS, retries=0, read_s=0.3))
    assert caught.value.code in expected
    assert caught.value.what
    assert still.canary_log == []


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 300 + b"]" * 300,
        b'{"format": "index:1.0", "format": "index:1.0"}',
        b'{"format": "index:1.0", "updated": NaN}',
        b'{"format": "products:1.0"}',
        b"not json",
    ],
    ids=["deep", "double key", "NaN", "products", "no json"],
)
def test_a_signed_document_that_is_none_is_refused(
    small: Mirror, server: MirrorServer, signing_key: SigningKey, payload: bytes
) -> None:
    (small.stream / INDEX).write_bytes(signed.clearsign(small.key, payload + b"\n"))
    with pytest.raises(DocumentProblem):
        read(source_of(server, signing_key))
    assert len(server.log) == 1


# -- samples of the files


def test_a_whole_mirror_has_what_it_lists(shared_mirror: Mirror, signing_key: SigningKey) -> None:
    with MirrorServer(shared_mirror) as server, Fetcher(limits=LIMITS) as fetcher:
        source = source_of(server, signing_key)
        snapshot = read_stream(source, fetcher, {})
        server.reset()
        check = check_items(source, snapshot.offers, fetcher, sample=5)
        assert (check.asked, check.missing, check.other_size, check.problem) == (5, (), (), None)
        assert [request.method for request in server.log] == ["HEAD"] * 5


def test_a_filtered_mirror_is_noticed_with_count_and_names(
    mirror: Mirror, signing_key: SigningKey
) -> None:
    gone = [item.path for item in mirror.newest(release="jammy")]
    for path in gone:
        (mirror.stream / path).unlink(missing_ok=True)
    spoilt = max(mirror.newest(release="noble", arch="amd64"), key=lambda item: item.size).path
    (mirror.stream / spoilt).write_bytes(b"short")
    with MirrorServer(mirror) as server, Fetcher(limits=LIMITS) as fetcher:
        source = source_of(server, signing_key)
        check = check_items(source, read_stream(source, fetcher, {}).offers, fetcher)
    assert set(check.missing) <= set(gone)
    assert len(check.missing) >= 4
    assert set(check.other_size) == {spoilt}
    problem = check.problem
    assert problem is not None
    assert problem.code == "stream-incomplete"
    assert str(len(check.missing)) in problem.what
    assert check.missing[0] in problem.where


@pytest.mark.parametrize("fault", [{"status": 405}, {"status": 500}, {"hang": 60}])
def test_what_cannot_be_asked_is_not_called_missing(
    shared_mirror: Mirror, signing_key: SigningKey, fault: dict[str, Any]
) -> None:
    with MirrorServer(shared_mirror) as server, Fetcher(limits=LIMITS) as fetcher:
        source = source_of(server, signing_key)
        offers = read_stream(source, fetcher, {}).offers
        server.set_faults([Fault(path=".", method="HEAD", **fault)])
        check = check_items(source, offers, fetcher, sample=8, seconds=0.5)
    assert (check.asked, check.missing, check.problem) == (0, (), None)
