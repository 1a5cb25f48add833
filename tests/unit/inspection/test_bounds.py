# SPDX-License-Identifier: Apache-2.0
"""Inspection is bounded: memory, work and patience, whatever the bytes are."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import disks
from tests.support.disks import GIB, MIB
from tests.unit.inspection.inspecting import codes, gz, pieces, whole, xz
from webapp.inspection import HEAD, Declared, inspect, inspect_head


def zeros_gz(gib: int) -> Iterator[bytes]:
    """Zeros, packed as they are asked for."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = bytes(16 * MIB)
    for _ in range(gib * 64):
        if made := packer.compress(block):
            yield made
    yield packer.flush()


def test_a_bomb_is_refused_in_bounded_memory() -> None:
    big_tar = disks.tarball({"bin/sh": disks.elf(62)})[:-1024]
    header = io.BytesIO()
    info = tarfile.TarInfo("zeros")
    info.size = 5 * GIB
    header.write(info.tobuf(tarfile.GNU_FORMAT))
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)

    def bomb() -> Iterator[bytes]:
        yield packer.compress(big_tar + header.getvalue())
        block = bytes(16 * MIB)
        for _ in range(5 * 64):
            if made := packer.compress(block):
                yield made

    report = inspect(bomb(), Declared("tgz"))
    assert codes(report) == ["bomb"]
    assert report.raw_size < 4.1 * GIB


def test_a_first_verdict_reads_no_more_than_it_needs() -> None:
    empty = disks.tarball({"bin/dash": disks.elf(62), "f": b""})[:-9000][:1536]
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = packer.compress(empty[:1024] + empty[1024:] * 300_000) + packer.flush()
    report = inspect_head(packed[:HEAD], Declared("tgz"), 1 << 40)
    assert report.raw_size < 32 * MIB
    assert report.root is not None
    assert report.root.has_shell
    padded = gz(disks.esxi_head("8.0.2-0.0.22380479") + bytes(300 * MIB))
    report = inspect_head(padded[:HEAD], Declared("ddgz"), 1 << 40)
    assert report.raw_size < 256 * MIB
    assert report.esxi is not None
    assert report.esxi.version == "8.0.2"


def test_memory_stays_flat() -> None:
    head = disks.gpt_disk(GIB, [disks.Part(1, disks.LINUX, 64, 99)], keep=MIB)

    def stream() -> Iterator[bytes]:
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        yield packer.compress(head)
        for _ in range(63):
            yield packer.compress(bytes(16 * MIB))
        yield packer.flush()

    tracemalloc.start()
    inspect(stream(), Declared("ddgz"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * MIB


def test_a_huge_member_and_a_huge_pax_header_are_refused_at_once() -> None:
    info = tarfile.TarInfo("huge")
    info.size = 1 << 45
    assert codes(whole(gz(info.tobuf(tarfile.GNU_FORMAT) + bytes(50000)))) == ["too-large"]
    pax = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    pax[156:157] = b"x"
    pax[124:136] = b"77777777777\0"
    pax[148:156] = b"        "
    pax[148:156] = f"{sum(pax[:512]):06o}\0 ".encode()
    assert codes(whole(gz(bytes(pax) + bytes(50000)))) == ["tar"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_bytes_break_it(data: Any) -> None:
    """Any bytes, and good files with any bytes changed, give a verdict."""
    base = data.draw(st.sampled_from(_bases()))
    changed = bytearray(base)
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, max(0, len(base) - 1)), st.integers(0, 255)), max_size=8)
    ):
        if place < len(changed):
            changed[place] = byte
    changed += data.draw(st.binary(max_size=64))
    said = Declared(data.draw(st.sampled_from(["", "tgz", "ddgz", "ddraw", "nonsense"])), "esxi")
    for report in (
        inspect(pieces(bytes(changed)), said),
        inspect_head(bytes(changed), said, 1 << 40),
    ):
        assert report.verdict in ("ok", "warn", "reject")
        assert report.words
        json.dumps(report.as_dict())


@cache
def _bases() -> list[bytes]:
    head = disks.esxi_head("8.0.2-0.0.22380479")[: 300 << 10]
    root = disks.root_tar()
    return [b"", head, gz(head), root, gz(root), xz(root), disks.linux_disk(MIB)]
