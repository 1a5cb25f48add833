# SPDX-License-Identifier: Apache-2.0
"""Machines in crowds, at odd ranges and at a rack that restarts, while a rack fills its store."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from bench.fanout_bench import line as counted_line
from tests.rack import images
from tests.rack.server import LiveRack, received, request
from tests.remoterack.remote import Answer, Gate, Line, RemoteRack, fetch, publish
from tests.support import live
from tests.support.databases import Databases
from tests.torture.conftest import SEED, Show, scaled
from tests.torture.crowd import Download, kill_all, peak_mib, read_all
from webapp.extensions import db

MACHINES = scaled(1000, 40)
MIB = 1 << 20
SIZE = 2_000_000
RESTARTS = scaled(100, 3)
RANGED = scaled(10, 2)  # files; 50 ranges of each
OLD = '"' + 64 * "0" + '"'
PATH = "/images/ubuntu/amd64/ga-24.04/{}/stable"
MOST_MIB = 500

pytestmark = [pytest.mark.slow, pytest.mark.timeout(scaled(3600, 600))]


@pytest.fixture(scope="module")
def region(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> Iterator[LiveRack]:
    """A region with one small image."""
    folder = tmp_path_factory.mktemp("region")
    with LiveRack(folder, sqlite_databases.migrated(), rack_threads=64) as found:
        offer(found, "noble", images.FILES)
        yield found


def offer(region: LiveRack, release: str, files: dict[str, bytes]) -> str:
    """Publish an image; the fingerprint of the region's key."""
    with region.app.app_context():
        images.image(files, release=release, product=f"p:v3:{release}")
        db.session.remove()
    return publish(region)


def made(seed: str, size: int) -> bytes:
    """Random bytes; Python 3.11 makes less than 256 MiB of them at once."""
    chance = random.Random(seed)
    return b"".join(chance.randbytes(MIB) for _ in range(size // MIB))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("release", "files", "size", "pace"),
    [
        pytest.param("one", 1, scaled(300 * MIB, 3 * MIB), 0, id="one file"),
        pytest.param("five", 5, scaled(60 * MIB, MIB), 0, id="five files"),
        pytest.param("slow", 1, scaled(30 * MIB, MIB), MIB, id="at 1 MiB a second"),
    ],
)
def test_a_crowd_costs_one_fetch_of_each_file(
    release: str,
    files: int,
    size: int,
    pace: int,
    region: LiveRack,
    tmp_path: Path,
    show: Show,
) -> None:
    contents = [made(f"{SEED} {release} {n}", size) for n in range(files)]
    fingerprint = offer(region, release, {f"root-{n}": each for n, each in enumerate(contents)})
    folder = PATH.format(release)
    with (
        counted_line(region.port) as (port, sent, _),
        RemoteRack(tmp_path, f"http://{live.HOST}:{port}", fingerprint) as rack,
    ):
        rack.wait_for(f"{PATH.format('noble')}/boot-kernel")
        before = sent.value
        crowd = [
            Download(rack.port, f"{folder}/root-{n % files}", contents[n % files], pace // 8)
            for n in range(MACHINES)
        ]
        read_all(crowd, pace)
        fetched, memory = sent.value - before, peak_mib(rack.pids())
    waited = sorted(machine.waited_s for machine in crowd)
    show(
        f"{MACHINES} machines, {files} x {size / MIB:.0f} MiB, "
        f"{'at most 1 MiB a second each' if pace else 'as fast as they can'}",
        right=sum(machine.is_whole for machine in crowd),
        fetched=f"{fetched / size / files:.3f} times",
        refused=sum(machine.refused for machine in crowd),
        first_byte_p95=f"{waited[len(waited) * 95 // 100]:.2f} s",
        rack_memory=f"{memory} MiB",
    )
    assert all(machine.is_whole for machine in crowd)
    assert size * files <= fetched < size * files + size // 2
    assert memory <= MOST_MIB


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    names = [f"restart-{n}" for n in range(RESTARTS)] + [f"range-{n}" for n in range(RANGED)]
    found = {name: random.Random(f"{SEED} {name}").randbytes(SIZE) for name in names}
    return {**found, "patient": random.Random(SEED).randbytes(8 * MIB)}


@pytest.fixture(scope="module")
def line(region: LiveRack) -> Iterator[Line]:
    with Line(region.url) as found:
        yield found


@pytest.fixture(scope="module")
def rack(
    region: LiveRack,
    line: Line,
    contents: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RemoteRack]:
    """A rack that fetches when it's asked, and has the small image."""
    fingerprint = offer(region, "cold", contents)
    with RemoteRack(tmp_path_factory.mktemp("rack"), line.url, fingerprint) as found:
        found.wait_for(f"{PATH.format('noble')}/boot-kernel")
        found.wait_until(
            lambda: fetch(found.url, f"{COLD}/patient", method="HEAD").status == 200, "the tree"
        )
        yield found


COLD = PATH.format("cold")


def item(name: str, content: bytes) -> str:
    return f"/mirror/sha256/{digest(content)}/{name}"


def test_who_leaves_and_who_is_slow_hold_up_no_one(
    line: Line, rack: RemoteRack, contents: dict[str, bytes], show: Show
) -> None:
    content = contents["patient"]
    asked, is_over = request(f"{COLD}/patient"), threading.Event()
    line.gate = Gate("patient", 3 * MIB)
    with rack.connection() as leaver, rack.connection(receive=4096) as slow:
        leaver.sendall(asked)
        got = 0
        while got < MIB:
            got += len(leaver.recv(MIB - got))
        leaver.close()
        slow.sendall(asked)

        def drip() -> bytes:
            taken = bytearray()
            while not is_over.wait(0.1):  # 10 kB a second
                taken += slow.recv(1000)
            return bytes(taken) + received(slow)

        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(drip)
            try:
                line.gate.is_open.set()
                others = [
                    Download(rack.port, f"{COLD}/patient", content) for _ in range(MACHINES // 5)
                ]
                read_all(others)
                rack.wait_until(lambda: rack.blob(digest(content)).exists(), "the file is kept")
                assert not late.done()
            finally:
                is_over.set()
            assert late.result().endswith(b"\r\n\r\n" + content)
    assert all(machine.is_whole for machine in others)
    assert line.requests[item("patient", content)] == 1
    show("beside one that left and one at 10 kB/s", right=len(others), fetches=1)


Wanted = tuple[dict[str, str], int, int, int]  # headers, status, start and stop of the bytes


def _tail(chance: random.Random) -> Wanted:
    length = chance.randrange(1, 2 * SIZE)
    return {"Range": f"bytes=-{length}"}, 206, max(0, SIZE - length), SIZE


def _from(chance: random.Random) -> Wanted:
    first = chance.randrange(SIZE)
    return {"Range": f"bytes={first}-"}, 206, first, SIZE


def _beyond(chance: random.Random) -> Wanted:
    first = chance.choice([SIZE, SIZE + 1, chance.randrange(SIZE, 10**12)])
    return {"Range": f"bytes={first}-{chance.choice(['', first + 5])}"}, 416, 0, 0


def _past_the_end(chance: random.Random) -> Wanted:
    first = chance.randrange(SIZE)
    return {"Range": f"bytes={first}-{SIZE + chance.randrange(10**12)}"}, 206, first, SIZE


def _ignored(chance: random.Random) -> Wanted:
    """What RFC 9110 has a server pass over, or lets it: the whole file is the answer."""
    first = chance.randrange(1, SIZE)
    field = chance.choice(["bytes={1}-{0}", "bytes=0-5,{1}-", "bytes={1}-,{0}-{1}", "rows={0}-{1}"])
    return {"Range": field.format(first - 1, first)}, 200, 0, SIZE


def _of_old_bytes(chance: random.Random) -> Wanted:
    headers, *_ = chance.choice([_inside, _tail, _beyond])(chance)
    since = chance.choice([OLD, "Sun, 06 Nov 1994 08:49:37 GMT"])
    return {**headers, "If_Range": since}, 200, 0, SIZE


def _inside(chance: random.Random, end: int = SIZE) -> Wanted:
    first = chance.randrange(end)
    last = chance.randrange(first, end)
    return {"Range": f"bytes={first}-{last}"}, 206, first, last + 1


KINDS: list[Callable[[random.Random], Wanted]] = [
    _inside, _inside, _inside, _from, _tail, _beyond, _past_the_end, _ignored, _of_old_bytes
]  # fmt: skip


def _any(chance: random.Random, tag: str) -> Wanted:
    headers, *rest = chance.choice(KINDS)(chance)
    validator = {"If_Range": tag} if chance.random() < 0.3 else {}  # changes nothing
    return {**validator, **headers}, *rest


def test_ranges_of_cold_growing_and_warm_files_are_those_of_the_rfc(
    line: Line, rack: RemoteRack, contents: dict[str, bytes], chance: random.Random, show: Show
) -> None:
    def fault(name: str, wanted: Wanted) -> str:
        headers, status, start, stop = wanted
        content = contents[name]
        answer = fetch(rack.url, f"{COLD}/{name}", **headers)
        while answer.status == 503 and answer.headers["Retry-After"]:
            answer = fetch(rack.url, f"{COLD}/{name}", **headers)
        told = {
            200: None,
            206: f"bytes {start}-{stop - 1}/{SIZE}",
            416: f"bytes */{SIZE}",
        }[status]
        is_right = status == 416 or (answer.is_complete and answer.body == content[start:stop])
        if (answer.status, answer.headers.get("Content-Range"), is_right) == (status, told, True):
            return ""
        return f"{name} {headers}: {answer.status} {answer.headers}, {len(answer.body)} bytes"

    faults: list[str] = []
    for number in range(RANGED):
        name = f"range-{number}"
        line.gate = Gate(name, SIZE // 2)
        inside = [_inside(chance, SIZE // 3) for _ in range(5)]
        tag = f'"{digest(contents[name])}"'
        growing, warm = ([_any(chance, tag) for _ in range(n)] for n in (20, 25))
        with ThreadPoolExecutor(25) as pool:
            first = [pool.submit(fault, name, one) for one in inside]
            later = [pool.submit(fault, name, one) for one in growing]
            faults += [one.result() for one in first]
            line.gate.is_open.set()
            faults += [one.result() for one in later]
        rack.wait_until(lambda n=name: rack.blob(digest(contents[n])).exists(), "it's kept")  # type: ignore[misc]
        faults += [fault(name, one) for one in warm]
        assert line.requests[item(name, contents[name])] == 1
    show("ranges", asked=len(faults), wrong=sum(map(bool, faults)))
    assert [one for one in faults if one] == []


def test_a_rack_that_restarts_in_its_fetches_gives_no_wrong_file(
    line: Line, rack: RemoteRack, contents: dict[str, bytes], chance: random.Random, show: Show
) -> None:
    kernel = f"{PATH.format('noble')}/boot-kernel"
    answers: list[tuple[str, Answer]] = []

    def boot(name: str) -> None:
        is_whole = False
        while not is_whole:
            with suppress(OSError, http.client.HTTPException):
                answer = fetch(rack.url, f"{COLD}/{name}")
                answers.append((name, answer))
                is_whole = answer.status == 200 and answer.is_complete
            time.sleep(0.05)

    for number in range(RESTARTS):
        name = f"restart-{number}"
        at = item(name, contents[name])
        line.gate = Gate(name, chance.randrange(1, SIZE))
        with ThreadPoolExecutor(4) as pool:
            machines = [pool.submit(boot, name) for _ in range(4)]
            rack.wait_until(lambda a=at: line.bytes[a] > 0, "the fetch has begun")  # type: ignore[misc]
            line.is_cut = number % 2 == 1
            end(rack, line, is_killed=number % 4 < 2)
            rack.__enter__()
            if line.is_cut:
                cached = fetch(rack.url, kernel)
                assert (cached.status, cached.body) == (200, images.FILES["boot-kernel"])
            line.gate.is_open.set()
            line.is_cut = False
            for machine in machines:
                machine.result()
    whole = [(name, one) for name, one in answers if one.status == 200 and one.is_complete]
    wrong = [name for name, one in whole if one.body != contents[name]]
    show("restarts of a rack in its fetches", done=RESTARTS, answers=len(answers),
         whole=len(whole), wrong=len(wrong))  # fmt: skip
    assert wrong == []
    assert len(whole) == 4 * RESTARTS


def end(rack: RemoteRack, line: Line, *, is_killed: bool) -> None:
    """End the rack as a power cut or as systemd does."""
    if is_killed:
        kill_all(rack)
        return
    assert rack.process is not None
    rack.process.terminate()
    line.gate.is_open.set()  # it lets machines have the rest
    rack.process.wait(60)
    rack.stop()
