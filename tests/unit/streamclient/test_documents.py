# SPDX-License-Identifier: Apache-2.0
"""Documents of a stream that don't fit together, or that a mirror spoils."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.mirror.maker import Documents, Mirror, stamp
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.signed import SigningKey
from tests.unit.streamclient.reading import (
    IMPATIENT,
    INDEX,
    LIMITS,
    UBUNTU,
    codes,
    known_of,
    read,
    refused,
    republish_index,
    source_of,
)
from webapp.errors import Problem
from webapp.fetch import FetchProblem
from webapp.streams.errors import DocumentProblem

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
    assert ("won't heal by itself" if is_final else "middle of an update") in caught[0].next_step


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
    ("gzip bomb", {"gzip_bomb": 1 << 40}, {"http-too-large"}),
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
    is_silent = fault.keys() & {"stall", "hang"}
    limits = IMPATIENT if is_silent else replace(LIMITS, retries=0)
    with pytest.raises(Problem) as caught:
        read(source_of(still, signing_key), limits=limits)
    if where == "index.sjson" and fault.get("status") in (403, 404):
        expected = {"signature-missing"}  # index.json is there
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
