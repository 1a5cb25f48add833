# SPDX-License-Identifier: Apache-2.0
"""Convert uploads into bytes that machines can boot, in a child process with few rights.

``run`` starts this module as a child: without network where the kernel allows it, with
limits on memory, processor time, time and the size of what it writes. The child either
unpacks (zstd, lz4, gzip, xz, bzip2, or the largest file of a tarball) or becomes qemu-img.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from webapp.inspection import unpacking

UNPACKED = ("zstd", "lz4", "gzip", "xz", "bzip2", "tar")
_PIECE = 1 << 20
_MEMORY = 2 << 30  # bytes of address space
_WINDOW = 128 << 20  # of zstd: what `zstd -d` takes without --long=31
_SECONDS = 4 * 3600
_POLL_S = 0.2
_TOO_LARGE, _DAMAGED, _FULL = 10, 11, 12  # exit codes
_BACKED = ("qcow", "qcow2", "qed", "vmdk")  # formats that may name another file


class Failed(Exception):
    """It couldn't be converted. code: damaged, too-large, full, slow or unsafe."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Step:
    """One conversion. kind: one of UNPACKED, or qemu-img's name of a format."""

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
    if step.kind not in UNPACKED:
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
        head = file.read(512)
    is_named = {
        "qcow": any(head[8:16]),
        "qcow2": any(head[8:16]) or bool(head[4:8] >= b"\0\0\0\3" and head[79] & 4),
        "qed": bool(head[16] & 1),
        "vmdk": head[:4] != b"KDMV" or not any(head[12:20]),
    }
    if is_named.get(kind, False):
        raise Failed("unsafe", "it takes its data from another file, which isn't part of it")


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
    lines = output.replace(str(step.source.parent), "").splitlines()
    raise Failed("damaged", lines[-1] if lines else f"it ended with code {code}")


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


def _unpack(step: Step) -> int:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    written = 0
    with step.source.open("rb") as source, step.target.open("wb") as target:
        for piece in _pieces(source, step.kind):
            written += len(piece)
            if written > step.max_size:
                return _TOO_LARGE
            if any(piece):
                target.write(piece)
            else:
                target.seek(len(piece), os.SEEK_CUR)
        target.truncate(written)
    return 0


def _pieces(source: BinaryIO, kind: str) -> Iterator[bytes]:
    if kind == "zstd":
        import zstandard

        decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        reader = decoder.stream_reader(source, read_across_frames=True)
    elif kind == "lz4":
        import lz4.frame

        reader = lz4.frame.LZ4FrameFile(source)
    elif kind == "tar":
        import tarfile

        with tarfile.open(fileobj=source, mode="r:") as archive:
            largest = max((m for m in archive if m.isreg()), key=lambda m: m.size)
            member = archive.extractfile(largest)
            while member is not None and (piece := member.read(_PIECE)):
                yield piece
        return
    else:
        yield from unpacking.raw(iter(lambda: source.read(_PIECE), b""), kind)
        return
    while piece := reader.read(_PIECE):
        yield piece


def _become_qemu(step: Step) -> None:
    node: dict[str, object] = {
        "driver": step.kind,
        "file": {"driver": "file", "filename": str(step.source)},
    }
    if step.kind in _BACKED:
        node["backing"] = None
    os.execvp(  # noqa: S606
        "qemu-img",
        ["qemu-img", "convert", "-O", "raw", "json:" + json.dumps(node), str(step.target)],
    )


def main(words: list[str]) -> int:
    """Do the step that the command line names; returns the exit code."""
    step = Step(words[0], Path(words[1]), Path(words[2]), int(words[3]))
    _limit(step.max_size)
    try:
        if step.kind not in UNPACKED:
            _become_qemu(step)
        return _unpack(step)
    except OSError as error:
        print(error, file=sys.stderr)
        return _FULL if error.errno == 28 else _TOO_LARGE if error.errno == 27 else _DAMAGED
    except Exception as error:
        print(error or type(error).__name__, file=sys.stderr)
        return _DAMAGED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
