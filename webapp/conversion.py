# SPDX-License-Identifier: Apache-2.0
"""Convert uploads into bytes that machines can boot, in a child process with few rights.

``run`` starts this module as a child: without network where the kernel allows it, with
limits on memory, processor time, time and the size of what it writes. The child either
unpacks (zstd, lz4, gzip, xz, bzip2, or the largest file of a tarball), packs with gzip, or
becomes qemu-img.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from webapp.inspection import unpacking
from webapp.inspection.convertible import PACK

OURS = ("zstd", "lz4", "gzip", "xz", "bzip2", "tar", PACK)  # others are qemu-img's
_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_MEMORY = 2 << 30  # bytes of address space
_WINDOW = 128 << 20  # of zstd: what `zstd -d` takes without --long=31
_SECONDS = 4 * 3600
_ZSTD_PIECE = 4 << 10  # unpacks to 128 MiB at the most
_LZ4 = (b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18")
_LZ4_LEGACY, _LZ4_BLOCK = b"\x02\x21\x4c\x18", 8 << 20
_POLL_S = 0.2
_TOO_LARGE, _DAMAGED, _FULL = 10, 11, 12  # exit codes
_HEAD, _VHD = 1 << 20, 512
_VHD_DIFFERENCING = b"\0\0\0\4"
_PARENT = re.compile(rb"^[ \t]*parentCID[ \t]*=[ \t]*([0-9a-fA-F]+)", re.MULTILINE)
_LENGTH, _OFFSET = re.compile(rb'"length": (\d+)'), re.compile(rb'"offset": (\d+)')
_BACKED = ("qcow", "qcow2", "qed", "vmdk")  # formats that may name another file


class Failed(Exception):
    """It couldn't be converted.

    code: damaged, encrypted, too-large, full, slow, unsafe or window.
    """

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Step:
    """One conversion. kind: one of OURS, or qemu-img's name of a format."""

    kind: str
    source: Path
    target: Path
    max_size: int  # bytes of the target


def has_qemu() -> bool:
    """Whether qemu-img is installed."""
    return shutil.which("qemu-img") is not None


def run(step: Step, on_wait: Callable[[], None], seconds: float = _SECONDS) -> None:
    """Do a step; on_wait is called several times a second, and may raise to stop it.

    Raises Failed; the target is incomplete then.
    """
    if step.kind not in OURS:
        check_alone(step.kind, step.source)
    words = [step.kind, str(step.source), str(step.target), str(step.max_size)]
    child = subprocess.Popen(
        [*_without_network(), sys.executable, "-m", "webapp.conversion", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        start_new_session=True,
    )
    until = time.monotonic() + seconds
    try:
        while True:
            try:
                _, output = child.communicate(timeout=_POLL_S)
                break
            except subprocess.TimeoutExpired:
                on_wait()
                if time.monotonic() > until:
                    raise Failed("slow", f"it took more than {seconds:.0f} seconds") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    _judge(step, child.returncode, output.decode("utf-8", "replace").strip()[-300:])


def check_alone(kind: str, source: Path) -> None:
    """A disk that takes its data from another file would read this server's. Raises Failed."""
    with source.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, source.stat().st_size - _VHD))
        tail = file.read(_VHD)
    is_named = {
        "qcow": any(head[8:16]),
        "qcow2": any(head[8:16]) or bool(head[4:8] >= b"\0\0\0\3" and head[79] & 4),
        "qed": bool(head[16] & 1),
        "vmdk": head[:4] != b"KDMV" or not any(head[12:20]) or _has_vmdk_parent(head),
        "vpc": any(end[:8] == b"conectix" and end[60:64] == _VHD_DIFFERENCING
                   for end in (head, tail)),
    }  # fmt: skip
    if is_named.get(kind, False):
        raise Failed("unsafe", "it takes its data from another file, which isn't part of it")
    if (kind == "qcow2" and any(head[32:36])) or (kind == "qcow" and any(head[36:40])):
        raise Failed("encrypted", "it is encrypted")


def _has_vmdk_parent(head: bytes) -> bool:
    """Whether the description in the file names a parent, or other extents than itself."""
    start, count = (int.from_bytes(head[at : at + 8], "little") * 512 for at in (28, 36))
    text = head[start : start + count] if start else b""
    if b"createType" not in text:
        return True  # an extent of a disk in pieces, whose description is another file
    parent = _PARENT.search(text)
    return parent is not None and parent[1].lower() != b"ffffffff"


def _judge(step: Step, code: int, output: str) -> None:
    if code == 0:
        return
    size = step.target.stat().st_size if step.target.exists() else 0
    if code in (_TOO_LARGE, -signal.SIGXFSZ) or "File too large" in output or size >= step.max_size:
        raise Failed("too-large", f"it becomes more than {step.max_size} bytes")
    if code == _FULL or "No space left" in output:
        raise Failed("full", "no space is left on this server")
    if code == -signal.SIGXCPU:
        raise Failed("slow", "it took too much processor time")
    if "requires too much memory" in output:
        raise Failed("window", f"unpacking it takes more than {_WINDOW >> 20} MiB of memory")
    lines = output.splitlines()
    # qemu-img repeats how it was called, and then says what is wrong.
    words = lines[-1].rpartition("': ")[2] if lines else f"it ended with code {code}"
    raise Failed("damaged", words.removeprefix("qemu-img: ").rstrip("."))


@cache
def _without_network() -> tuple[str, ...]:
    """Words in front of a command that take the network away, where the kernel allows that."""
    for words in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        try:
            if not subprocess.run([*words, "true"], capture_output=True, timeout=10).returncode:
                return words
        except (OSError, subprocess.TimeoutExpired):
            continue
    return ()


# -- in the child


def _limit(max_size: int) -> None:
    for what, value in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_FSIZE, max_size),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (value, value))


def _rewrite(step: Step) -> int:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    written = 0
    with step.source.open("rb") as source, step.target.open("wb") as target:
        for piece in _pieces(source, step.kind):
            written += len(piece)
            if written > step.max_size:
                return _TOO_LARGE
            if piece == _ZEROS[: len(piece)]:
                target.seek(len(piece), os.SEEK_CUR)
            else:
                target.write(piece)
        target.truncate(written)
    return 0


def _pieces(source: BinaryIO, kind: str) -> Iterator[bytes]:
    if kind == PACK:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # without a time: the same bytes each time
        for piece in _read(source):
            yield packer.compress(piece)
        yield packer.flush()
    elif kind == "zstd" and _first_frame(source) not in _LZ4:
        yield from _zstd(source)
    elif kind in ("zstd", "lz4"):
        yield from _lz4(source)
    elif kind == "tar":
        import tarfile

        with tarfile.open(fileobj=source, mode="r:") as archive:
            largest = max((m for m in archive if m.isreg()), key=lambda m: m.size)
            member = archive.extractfile(largest)
            if member is not None:
                yield from _read(member)
    else:
        yield from unpacking.raw(_read(source), kind)


def _read(source: Any) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        yield piece


def _first_frame(source: BinaryIO) -> bytes:
    """The mark of the first frame that isn't to be skipped: zstd and lz4 have the same such."""
    place = 0
    while (head := source.read(8))[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:
        place += 8 + int.from_bytes(head[4:8], "little")
        source.seek(place)
    source.seek(0)
    return head[:4]


def _zstd(source: BinaryIO) -> Iterator[bytes]:
    """Frame after frame; the reader of the library would take a truncated one for its end."""
    import zstandard

    frames = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    decoder = frames.decompressobj()
    is_inside = False
    while piece := source.read(_ZSTD_PIECE):
        while piece:
            yield decoder.decompress(piece)
            is_inside = not decoder.eof
            piece = b"" if is_inside else decoder.unused_data
            decoder = decoder if is_inside else frames.decompressobj()
    if is_inside:
        raise ValueError("the zstd stream is truncated")


def _lz4(source: BinaryIO) -> Iterator[bytes]:
    """Frames, and what `lz4 -l` makes: a mark, then blocks behind their sizes."""
    import lz4.block
    import lz4.frame

    if source.read(4) != _LZ4_LEGACY:
        source.seek(0)
        yield from _read(lz4.frame.LZ4FrameFile(source))
        return
    while size := source.read(4):
        if size == _LZ4_LEGACY:
            continue  # files in a row
        length = int.from_bytes(size, "little")
        block = source.read(length) if length <= 2 * _LZ4_BLOCK else b""
        if len(size) < 4 or len(block) < length or not block:
            raise ValueError("the lz4 stream is truncated or damaged")
        yield lz4.block.decompress(block, uncompressed_size=_LZ4_BLOCK)


def _become_qemu(step: Step) -> int:
    """Convert with qemu-img; returns only when that isn't possible."""
    node: dict[str, object] = {
        "driver": step.kind,
        "file": {"driver": "file", "filename": str(step.source)},
    }
    if step.kind in _BACKED:
        node["backing"] = None
    source = "json:" + json.dumps(node)
    if _end_of_data(source) > step.source.stat().st_size + _slack(step):
        print("the file is truncated", file=sys.stderr)
        return _DAMAGED
    os.execvp(  # noqa: S606
        "qemu-img", ["qemu-img", "convert", "-O", "raw", source, str(step.target)]
    )


def _end_of_data(source: str) -> int:
    """Where in the file the last data ends: qemu-img reads zeros behind the end of a file."""
    command = ["qemu-img", "map", "--output=json", source]
    end = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        for line in child.stdout or ():
            length, offset = _LENGTH.search(line), _OFFSET.search(line)
            if length is not None and offset is not None:
                end = max(end, int(offset[1]) + int(length[1]))
    return end  # what can't be read is for the conversion to tell


def _slack(step: Step) -> int:
    """How far data may be stated to go behind the end: qcow2 with subclusters needn't fill one."""
    if step.kind != "qcow2":
        return 0
    with step.source.open("rb") as file:
        head = file.read(80)
    has_subclusters = head[4:8] >= b"\0\0\0\3" and bool(head[79] & 16)
    return 1 << min(int.from_bytes(head[20:24], "big"), 21) if has_subclusters else 0


def main(words: list[str]) -> int:
    """Do the step that the command line names; returns the exit code."""
    step = Step(words[0], Path(words[1]), Path(words[2]), int(words[3]))
    _limit(step.max_size)
    try:
        if step.kind not in OURS:
            return _become_qemu(step)
        return _rewrite(step)
    except OSError as error:
        print(error, file=sys.stderr)
        return _FULL if error.errno == 28 else _TOO_LARGE if error.errno == 27 else _DAMAGED
    except Exception as error:
        print(error or type(error).__name__, file=sys.stderr)
        return _DAMAGED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
