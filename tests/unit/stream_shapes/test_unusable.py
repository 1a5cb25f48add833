# SPDX-License-Identifier: Apache-2.0
"""One of several documents is signed and can't be read: the rest counts (rule: odd-entries)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import signed
from tests.unit.stream_shapes.published import CONTENT, NOBLE, Stream, names, pulled, read
from webapp.errors import Problem

OTHER = "com.example.maas:daily:v3:download"
OTHER_PATH = "streams/v1/other"
BROKEN = {
    "cut": (b'{"format": "products:1.0", "content_id":', "document-not-json"),
    "plain text": (b"Sign in", "document-not-json"),
    "a key twice": (b'{"format": "products:1.0", "format": 1}', "document-duplicate-key"),
    "another format": (b'{"format": "products:2.0"}', "document-wrong-format"),
    "no products": (b'{"format": "products:1.0", "content_id": "x"}', "document-wrong-type"),
    "a list": (b"[]", "document-wrong-format"),
}


def write(stream: Stream, raw: bytes) -> None:
    """Publish a second document beside that of the stream."""
    stream.others = {OTHER: {"format": "products:1.0", "path": f"{OTHER_PATH}.json"}}
    stream.publish()
    made = {".sjson": signed.clearsign(stream.key, raw), ".json": raw}
    made[".json.gpg"] = signed.detach(stream.key, raw)
    for form in stream.forms:
        (stream.root / (OTHER_PATH + form)).write_bytes(made[form])


@pytest.fixture
def noble(stream: Stream) -> Stream:
    stream.products = {NOBLE: stream.ubuntu()}
    return stream


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("forms", [(".sjson", ".json"), (".json", ".json.gpg"), (".json",)])
def test_a_document_that_cannot_be_read_is_left_out_with_its_reason(
    noble: Stream, name: str, forms: tuple[str, ...]
) -> None:
    noble.forms = forms
    write(noble, BROKEN[name][0])
    found = read(noble, is_signed=forms != (".json",))
    assert names(found) == ["ubuntu/noble/amd64/ga-24.04"]
    (left_out,) = found.skipped
    assert left_out.product == OTHER
    assert left_out.reason
    (warning,) = [w for w in found.warnings if w.code == "stream-left-out"]
    assert left_out.reason[:40] in warning.got
    # It isn't known, so it's asked for again until it can be read.
    assert {d.path.partition(".")[0] for d in found.documents} == {
        "streams/v1/index",
        f"streams/v1/{CONTENT.partition('.')[0]}",
    }
    again = read(noble, found, is_signed=forms != (".json",))
    assert (again.is_unchanged, len(again.skipped)) == (False, 1)


@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_of_which_no_document_can_be_read_is_refused(noble: Stream, name: str) -> None:
    raw, code = BROKEN[name]
    path = noble.publish().root / f"streams/v1/{CONTENT}.sjson"
    path.write_bytes(signed.clearsign(noble.key, raw))
    with pytest.raises(Problem) as caught:
        read(noble)
    assert caught.value.code == code


def test_a_document_that_is_not_signed_is_never_merely_left_out(noble: Stream) -> None:
    write(noble, b"{")
    (noble.root / f"{OTHER_PATH}.sjson").write_bytes(b"{")
    with pytest.raises(Problem) as caught:
        read(noble)
    assert caught.value.code.startswith("signature-")


def test_a_mirror_copies_it_and_prunes_nothing_meanwhile(noble: Stream, tmp_path: Path) -> None:
    folder = tmp_path / "local"
    noble.products["second"] = noble.ubuntu() | {"release": "jammy"}
    noble.products["second"]["versions"] = {
        "20261119": {"items": {"squashfs": noble.item("jammy/squashfs", "squashfs")}}
    }
    noble.publish()
    pulled(noble, folder)
    del noble.products["second"]
    noble.dates = {}
    write(noble, b"{")
    report = pulled(noble, folder, prune_after=timedelta(0))
    assert (folder / "jammy/squashfs").exists()
    assert (folder / f"{OTHER_PATH}.sjson").exists()
    assert report.removed == ()
    noble.others = {}
    noble.publish()
    report = pulled(noble, folder, prune_after=timedelta(0))
    assert {file.path for file in report.removed} == {"jammy/squashfs", f"{OTHER_PATH}.sjson"}
