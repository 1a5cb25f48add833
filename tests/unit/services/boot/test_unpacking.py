# SPDX-License-Identifier: Apache-2.0
"""Archives of boot loaders are unpacked within limits (rule: boot-loader-archives)."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable

import pytest

from webapp.errors import Problem
from webapp.services.boot import unpacking
from webapp.services.boot.unpacking import unpack


def archive(files: dict[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


FILES = {"bootx64.efi": b"MZ" * 700, "ldlinux.c32": b"", "lpxelinux.0": b"x" * 513}


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress, bytes], ids=["xz", "gzip", "plain"])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_the_files_at_the_top_are_unpacked(pack: Callable[[bytes], bytes], step: int) -> None:
    packed = pack(archive({f"./{name}": content for name, content in FILES.items()}))
    pieces = [packed[at : at + step] for at in range(0, len(packed), step)]
    if step == 1:
        pieces[:8] = [b"".join(pieces[:8])]  # the store's first piece is never that short
    assert unpack(pieces, "here") == FILES


@pytest.mark.parametrize(
    "name", ["../bootx64.efi", "/bootx64.efi", "a/b.efi", ".hidden", "a b", "a\nb", "x" * 65, "é"]
)
def test_names_that_no_loader_asks_for_are_left_out(name: str) -> None:
    assert unpack([archive({name: b"x", "grubx64.efi": b"y"})], "here") == {"grubx64.efi": b"y"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_links_devices_and_folders_are_left_out(kind: bytes) -> None:
    assert unpack([archive({"grubx64.efi": b""}, kind, "/etc/passwd")], "here") == {}


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (lzma.compress(archive(FILES))[:-20], "a damaged archive"),
        (lzma.compress(archive(FILES)[:700]), "a truncated archive"),
        (lzma.compress(b"no tar" * 500), "a damaged archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "a damaged archive"),
        (lzma.compress(archive({f"{n}": b"" for n in range(301)})), "more than 300 files"),
        (lzma.compress(archive({"a": bytes(33 << 20)}), preset=0), "more than 32 MiB"),
        (lzma.compress(archive({"a/b": bytes(33 << 20)}), preset=0), "more than 32 MiB"),
    ],
    ids=["cut", "short", "text", "zstd", "many", "large", "large-elsewhere"],
)
def test_what_breaks_the_limits_is_refused_in_words(packed: bytes, words: str) -> None:
    with pytest.raises(Problem) as caught:
        unpack([packed], "uefi amd64 20260105 shim.tar.xz")
    assert caught.value.got == words
    assert caught.value.where == "uefi amd64 20260105 shim.tar.xz"


def sparse(files: dict[str, tuple[str, int]]) -> bytes:
    """An archive of files that have a map of their pieces, a size, and a byte of data."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (places, size) in files.items():
            info = tarfile.TarInfo(name)
            info.pax_headers = {"GNU.sparse.map": places, "GNU.sparse.size": str(size)}
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    return file.getvalue()


def test_holes_count_as_bytes() -> None:
    assert unpack([sparse({"a": ("999,1", 1000)})], "here") == {"a": bytes(999) + b"x"}
    with pytest.raises(Problem) as caught:
        unpack([sparse({f"{n}": (f"{20 << 20},1", (20 << 20) + 1) for n in range(9)})], "here")
    assert caught.value.got == "more than 32 MiB"


@pytest.mark.parametrize("places", ["1000,0,0,1", "1000,1"], ids=["backwards", "behind-the-end"])
def test_pieces_that_are_out_of_place_are_refused(places: str) -> None:
    with pytest.raises(Problem) as caught:
        unpack([sparse({"a": (places, 1000)})], "here")
    assert caught.value.got == "a damaged archive"


def test_a_file_with_a_hole_at_the_end_of_the_world_takes_no_memory() -> None:
    assert unpacking.MAX_BYTES < 1 << 26
    huge = archive({"a": b""})
    block = bytearray(huge[:512])
    block[156:157] = b"S"
    with pytest.raises(Problem):
        unpack([bytes(block) + huge[512:]], "here")
