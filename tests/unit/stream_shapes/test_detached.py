# SPDX-License-Identifier: Apache-2.0
"""Streams edited by hand, and bare documents with detached signatures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.stream_shapes.published import (
    CONTENT,
    DATE,
    LATER,
    NOBLE,
    Stream,
    Tree,
    names,
    pulled,
    read,
    refused,
)
from webapp.errors import Problem

# -- edited by hand


def edited(stream: Stream, dates: Tree) -> str:
    gone = NOBLE.replace("24.04", "22.04")
    stream.products, stream.dates = {NOBLE: stream.ubuntu()}, dates
    stream.listed = [NOBLE, gone]
    stream.publish()
    return gone


@pytest.mark.parametrize("dates", [{"updated": DATE}, {}])
def test_a_product_that_only_the_index_has_is_named(stream: Stream, dates: Tree) -> None:
    gone = edited(stream, dates)
    with refused("stream-mixed") as caught:
        read(stream)
    assert f"1 not in the document: {gone}" in caught[0].got
    assert "won't heal by itself" in caught[0].next_step
    assert ("isn't an update in progress" in caught[0].next_step) == bool(dates)


@pytest.mark.parametrize("dates", [{"updated": DATE}, {}])
def test_a_product_that_is_missing_may_be_confirmed_by_name(stream: Stream, dates: Tree) -> None:
    gone = edited(stream, dates)
    assert names(read(stream, confirmed=frozenset({gone}))) == ["ubuntu/noble/amd64/ga-24.04"]
    with refused("stream-mixed"):
        read(stream, confirmed=frozenset({"another"}))
    stream.listed = [gone]  # the index lost another one as well
    stream.publish()
    with refused("stream-mixed") as caught:
        read(stream, confirmed=frozenset({gone}))
    assert caught[0].got == f"1 not in the index: {NOBLE}"


# -- bare documents with detached signatures


@pytest.fixture
def detached(stream: Stream) -> Stream:
    stream.products, stream.forms = {NOBLE: stream.ubuntu()}, (".json", ".json.gpg")
    return stream.publish()


def test_a_stream_with_detached_signatures_is_read(detached: Stream) -> None:
    found = read(detached)
    assert names(found) == ["ubuntu/noble/amd64/ga-24.04"]
    assert found.fingerprint == detached.key.fingerprint
    assert [document.path.partition(".json")[2] for document in found.documents] == [
        "",
        ".gpg",
        "",
        ".gpg",
    ]
    assert read(detached, found).is_unchanged


def test_a_stream_with_detached_signatures_is_mirrored_and_is_one_again(
    detached: Stream, tmp_path: Path
) -> None:
    assert len(pulled(detached, tmp_path / "local").fetched) == 3
    copy = Stream(tmp_path / "copy", detached.key)
    copy.root = tmp_path / "local"
    assert names(read(copy)) == ["ubuntu/noble/amd64/ga-24.04"]
    assert pulled(detached, tmp_path / "local").is_unchanged


@pytest.mark.parametrize("name", ["index", CONTENT])
def test_an_altered_document_is_refused_by_its_detached_signature(
    detached: Stream, name: str
) -> None:
    path = detached.root / f"streams/v1/{name}.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with refused("signature-bad"):
        read(detached)


@pytest.mark.parametrize(
    "signature", [b"", b"-----BEGIN PGP SIGNATURE-----\n", b"{}", b"\x89\x01" * 40_000]
)
def test_a_signature_that_is_none_is_refused(detached: Stream, signature: bytes) -> None:
    (detached.root / "streams/v1/index.json.gpg").write_bytes(signature)
    with pytest.raises(Problem) as caught:
        read(detached)
    assert caught.value.code.startswith("signature-")


def test_a_missing_signature_is_never_a_reason_to_read_unsigned(detached: Stream) -> None:
    (detached.root / "streams/v1/index.json.gpg").unlink()
    with refused("signature-missing"):
        read(detached)


def test_detached_documents_never_go_back(detached: Stream) -> None:
    old = {path: path.read_bytes() for path in (detached.root / "streams/v1").iterdir()}
    detached.dates = {"updated": LATER}
    found = read(detached.publish())
    for path, content in old.items():
        path.write_bytes(content)
    with refused("stream-rollback"):
        read(detached, found)


def test_detached_documents_of_two_states_are_refused(detached: Stream) -> None:
    names_of = [detached.root / f"streams/v1/{CONTENT}.json{end}" for end in ("", ".gpg")]
    old = {path: path.read_bytes() for path in names_of}
    detached.dates = {"updated": LATER}
    detached.publish()
    for path, content in old.items():
        path.write_bytes(content)
    with refused("stream-mixed"):
        read(detached)


def test_a_publisher_may_change_the_form_of_the_signature(detached: Stream) -> None:
    first = read(detached)
    detached.forms = (".sjson", ".json")
    detached.dates = {"updated": LATER}
    for path in (detached.root / "streams/v1").glob("*.gpg"):
        path.unlink()
    second = read(detached.publish(), first)
    assert all(document.path.endswith(".sjson") for document in second.documents)
    assert read(detached, second).is_unchanged
