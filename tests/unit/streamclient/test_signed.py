# SPDX-License-Identifier: Apache-2.0
"""Signatures of a stream, and states older than the one we had."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from tests.mirror.maker import Mirror, dump, stamp
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from tests.unit.streamclient.reading import (
    INDEX,
    UBUNTU,
    codes,
    known_of,
    read,
    refused,
    republish_index,
    source_of,
)
from webapp.trust.errors import SignatureProblem

# -- signatures


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


def test_a_stream_without_any_signature_is_told_as_unsigned(
    small: Mirror, server: MirrorServer, signing_key: SigningKey
) -> None:
    (small.stream / INDEX).unlink()
    with refused("signature-missing") as caught:
        read(source_of(server, signing_key))
    assert caught[0].what == "The stream isn't signed."
    assert "unsigned" in caught[0].next_step
    assert "update" not in caught[0].next_step


def test_another_keyring_makes_an_unchanged_stream_be_verified_again(
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
