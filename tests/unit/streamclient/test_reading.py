# SPDX-License-Identifier: Apache-2.0
"""Reading a stream: whole, unchanged, and samples of its files."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.maker import Documents, Mirror, stamp
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.streamclient.reading import (
    IMPATIENT,
    INDEX,
    LIMITS,
    known_of,
    read,
    republish_index,
    source_of,
)
from webapp.fetch import Fetcher
from webapp.streamclient import (
    Snapshot,
    check_items,
    read_stream,
)
from webapp.streamclient.samples import KINDS

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


def test_a_stream_of_which_a_part_is_unknown_is_read_again(
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


# -- samples of the files


def test_a_whole_mirror_has_what_it_lists(shared_mirror: Mirror, signing_key: SigningKey) -> None:
    with MirrorServer(shared_mirror) as server, Fetcher(limits=LIMITS) as fetcher:
        source = source_of(server, signing_key)
        snapshot = read_stream(source, fetcher, {})
        server.reset()
        check = check_items(source, snapshot.offers, fetcher, sample=5)
        asked = [request.path for request in server.log]
        assert (check.asked, check.missing, check.other_size) == (len(asked), (), ())
        assert check.problem is None
        assert {request.method for request in server.log} == {"HEAD"}
        assert 5 < len(set(asked)) == len(asked) <= 5 * KINDS


@pytest.mark.parametrize("kind", ["boot-kernel", "boot-initrd", "squashfs"])
def test_one_missing_file_of_any_kind_is_noticed(
    mirror: Mirror, signing_key: SigningKey, kind: str
) -> None:
    gone = mirror.newest(release="jammy", arch="amd64", subarch="ga-22.04", ftype=kind)[0].path
    (mirror.stream / gone).unlink()
    with MirrorServer(mirror) as server, Fetcher(limits=LIMITS) as fetcher:
        source = source_of(server, signing_key)
        check = check_items(source, read_stream(source, fetcher, {}).offers, fetcher)
    assert check.missing == (gone,)


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
        with Fetcher(limits=IMPATIENT) as impatient:
            check = check_items(source, offers, impatient, sample=8, seconds=0.5)
    assert (check.asked, check.missing, check.problem) == (0, (), None)
