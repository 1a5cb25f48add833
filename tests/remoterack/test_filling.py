# SPDX-License-Identifier: Apache-2.0
"""Files that a rack doesn't have yet: one fetch for all machines, and never a wrong byte more."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.rack import images
from tests.rack.server import LiveRack
from tests.remoterack.remote import PATH, Answer, Gate, Line, RemoteRack, fetch, fetch_all, publish
from webapp.extensions import db, settings
from webapp.remoterack.holding import Holding
from webapp.storage.filesystem import FilesystemStore

SIZE = 2_000_000
ROOTS = {f"root-{n}": random.Random(n).randbytes(SIZE) for n in range(15)}
FILES = {**images.FILES, **ROOTS}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture(scope="module")
def fingerprint(region: LiveRack) -> str:
    """The region's key, once it has published FILES."""
    with region.app.app_context():
        images.image(FILES, product="p:v3:noble")
        db.session.remove()
    return publish(region)


@pytest.fixture(scope="module")
def line(region: LiveRack, fingerprint: str) -> Iterator[Line]:
    """Between the region and the rack."""
    with Line(region.url) as found:
        yield found


@pytest.fixture(scope="module")
def rack(
    line: Line, fingerprint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RemoteRack]:
    """A rack that fetches when it's asked."""
    with RemoteRack(tmp_path_factory.mktemp("rack"), line.url, fingerprint) as found:
        found.wait_for(f"{PATH}/boot-kernel")
        yield found


@pytest.fixture(autouse=True)
def plain_line(line: Line) -> Iterator[None]:
    """Nothing of a test stays on the line."""
    yield
    line.gate.is_open.set()
    line.gate, line.is_cut, line.rate = Gate(), False, 0
    line.alter = lambda path, body: body


def item(name: str) -> str:
    return f"/mirror/sha256/{DIGESTS[name]}/{name}"


def test_fifty_machines_cost_one_fetch_and_do_not_wait_for_its_end(
    line: Line, rack: RemoteRack
) -> None:
    line.gate = Gate("root-0", SIZE // 2)
    with ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(fetch, rack.url, f"{PATH}/root-0") for _ in range(50)]
        with rack.connection() as machine:
            machine.sendall(f"GET {PATH}/root-0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = machine.recv(1 << 16)
            while b"\r\n\r\n" not in head or len(head) < 20_000:
                head += machine.recv(1 << 16)
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert not line.gate.is_open.is_set(), "bytes go out before the fetch ends"
        line.gate.is_open.set()
        answers = [one.result() for one in waiting]
    assert {(one.status, one.sha256, one.is_complete) for one in answers} == {
        (200, DIGESTS["root-0"], True)
    }
    assert line.requests[item("root-0")] == 1
    assert line.bytes[item("root-0")] == SIZE
    assert fetch(rack.url, f"{PATH}/root-0").sha256 == DIGESTS["root-0"]
    assert line.requests[item("root-0")] == 1


def test_the_fetch_continues_when_its_machine_leaves(line: Line, rack: RemoteRack) -> None:
    line.gate = Gate("root-1", SIZE // 2)
    with rack.connection() as machine:
        machine.sendall(f"GET {PATH}/root-1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert machine.recv(1000)
    line.gate.is_open.set()
    rack.wait_until(lambda: rack.blob(DIGESTS["root-1"]).exists(), "the file is kept")
    assert line.requests[item("root-1")] == 1


def test_a_range_is_sent_from_the_part_that_is_there(line: Line, rack: RemoteRack) -> None:
    line.gate = Gate("root-2", SIZE // 2)
    early = fetch(rack.url, f"{PATH}/root-2", Range="bytes=1000-200000")
    assert (early.status, early.body) == (206, ROOTS["root-2"][1000:200001])
    assert early.headers["Content-Range"] == f"bytes 1000-200000/{SIZE}"
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(fetch, rack.url, f"{PATH}/root-2", Range="bytes=-1000")
        assert fetch(rack.url, f"{PATH}/root-2", Range=f"bytes={SIZE}-").status == 416
        line.gate.is_open.set()
        assert late.result().body == ROOTS["root-2"][-1000:]
    assert line.requests[item("root-2")] == 1


def test_wrong_bytes_never_reach_a_machine_whole(line: Line, rack: RemoteRack) -> None:
    line.alter = lambda path, body: (
        body[:-1] + bytes([body[-1] ^ 1]) if "root-3" in path and len(body) == SIZE else body
    )
    answers = fetch_all(rack.url, f"{PATH}/root-3", 10)
    assert not any(one.is_complete and one.status == 200 for one in answers)
    assert not rack.blob(DIGESTS["root-3"]).exists()
    line.alter = lambda path, body: body
    right = rack.wait_for(f"{PATH}/root-3")
    assert (right.sha256, right.is_complete) == (DIGESTS["root-3"], True)
    rack.wait_until(
        lambda: "doesn't match the signed stream" in str(rack.status.get("errors")), "an error"
    )


def test_a_region_whose_disk_was_altered_gets_nothing_past_the_rack(
    region: LiveRack, rack: RemoteRack, tmp_path: Path
) -> None:
    with region.app.app_context():
        path = settings().store_dir / "sha256" / DIGESTS["root-4"][:2] / DIGESTS["root-4"]
    before = os.stat(path)
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"other bytes")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fetch(region.url, f"{PATH}/root-4").sha256 != DIGESTS["root-4"]
    altered = fetch(rack.url, f"{PATH}/root-4")
    assert altered.status == 503 or not altered.is_complete
    good = tmp_path / "good"  # in one step: the region must not meet half of it
    good.write_bytes(ROOTS["root-4"])
    os.utime(good, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(good, path)
    assert rack.wait_for(f"{PATH}/root-4").sha256 == DIGESTS["root-4"]


def test_the_next_upstream_continues_inside_a_file(
    region: LiveRack, fingerprint: str, tmp_path: Path
) -> None:
    with Line(region.url) as first, Line(region.url) as second:
        upstreams = f"{first.url}/mirror/,{second.url}/mirror/"
        with RemoteRack(tmp_path, first.url, fingerprint, rack_upstreams=upstreams) as rack:
            rack.wait_for(f"{PATH}/boot-kernel")
            first.alter = lambda path, body: body[: SIZE // 2] if "root-5" in path else body
            first.is_short = True
            answer = fetch(rack.url, f"{PATH}/root-5")
            assert (answer.sha256, answer.is_complete) == (DIGESTS["root-5"], True)
            received = first.bytes[item("root-5")] + second.bytes[item("root-5")]
            assert received == SIZE
            assert second.bytes[item("root-5")] == SIZE - SIZE // 2
            # Wrong bytes of one upstream are fetched again from the other.
            first.is_short = False
            first.alter = lambda path, body: body[:-1] + b"x" if "root-6" in path else body
            answers = fetch_all(rack.url, f"{PATH}/root-6", 5)
            assert {one.sha256 for one in answers if one.is_complete} <= {DIGESTS["root-6"]}
            assert rack.wait_for(f"{PATH}/root-6").sha256 == DIGESTS["root-6"]


def test_the_store_stays_within_its_size(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "store")
    store.prepare(create=True)
    holding = Holding(store)
    for name in ("root-7", "root-8", "root-9"):
        with store.writer(DIGESTS[name], SIZE) as writer:
            writer.write(ROOTS[name])
            writer.commit()
        holding.add(DIGESTS[name], SIZE)
    reading = holding.open(DIGESTS["root-7"], SIZE)
    assert reading is not None
    assert holding.make_room(SIZE, 3 * SIZE, ()) == SIZE
    assert [holding.has(DIGESTS[f"root-{n}"]) for n in (7, 8, 9)] == [True, False, True]
    holding.make_room(3 * SIZE, 3 * SIZE, ())
    assert [holding.has(DIGESTS[f"root-{n}"]) for n in (7, 8, 9)] == [True, False, False]
    reading.close()
    holding.make_room(3 * SIZE, 3 * SIZE, ())
    assert holding.size == 0


def test_a_file_that_was_damaged_is_fetched_again(line: Line, rack: RemoteRack) -> None:
    assert fetch(rack.url, f"{PATH}/root-10").sha256 == DIGESTS["root-10"]
    path = rack.blob(DIGESTS["root-10"])
    path.chmod(0o640)
    with path.open("r+b") as file:
        file.write(b"rotten")
    assert fetch(rack.url, f"{PATH}/root-10").sha256 == DIGESTS["root-10"]
    with path.open("r+b") as file:
        file.truncate(10)
    assert fetch(rack.url, f"{PATH}/root-10").sha256 == DIGESTS["root-10"]
    assert line.requests[item("root-10")] == 3


def test_a_restart_in_the_middle_of_a_fetch_costs_no_byte_twice(
    line: Line, rack: RemoteRack
) -> None:
    line.gate = Gate("root-11", SIZE // 2)
    cut: list[Answer] = []
    machine = threading.Thread(target=lambda: cut.append(fetch(rack.url, f"{PATH}/root-11")))
    machine.start()
    partial = rack.folder / "store" / "partial" / f"{DIGESTS['root-11']}.part"
    rack.wait_until(
        lambda: partial.exists() and partial.stat().st_size >= SIZE // 2 - (1 << 16),
        "half of the file",
    )
    os.kill(rack.pids()[-1], signal.SIGKILL)
    machine.join()
    assert not cut[0].is_complete
    line.gate.is_open.set()
    answer = rack.wait_for(f"{PATH}/root-11")
    assert (answer.sha256, answer.is_complete) == (DIGESTS["root-11"], True)


def test_an_upstream_that_hangs_gives_503_and_then_the_file(line: Line, rack: RemoteRack) -> None:
    line.gate = Gate("root-12", 0)
    answer = fetch(rack.url, f"{PATH}/root-12")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert fetch(rack.url, f"{PATH}/boot-kernel").status == 200
    line.gate.is_open.set()
    assert rack.wait_for(f"{PATH}/root-12").sha256 == DIGESTS["root-12"]
    assert line.requests[item("root-12")] == 1


def test_ranges_are_right_while_a_file_grows_and_after(line: Line, rack: RemoteRack) -> None:
    chance = random.Random(13)
    line.gate = Gate("root-13", SIZE // 2)

    def check(bounds: tuple[int, int]) -> bool:
        first, last = bounds
        answer = fetch(rack.url, f"{PATH}/root-13", Range=f"bytes={first}-{last}")
        return answer.status == 206 and answer.body == ROOTS["root-13"][first : last + 1]

    def bounds() -> tuple[int, int]:
        first = chance.randrange(SIZE)
        return first, chance.randrange(first, SIZE)

    asked = [bounds() for _ in range(60)]
    with ThreadPoolExecutor(30) as pool:
        early = [pool.submit(check, one) for one in asked[:30]]
        rack.wait_until(lambda: line.bytes[item("root-13")] >= SIZE // 2, "half of the file")
        line.gate.is_open.set()
        assert all(one.result() for one in early)
    assert all(check(one) for one in asked[30:])
    assert line.requests[item("root-13")] == 1


def _is_past(line: Line, rack: RemoteRack, goal: int) -> bool:
    return line.bytes[item("root-14")] > goal or rack.blob(DIGESTS["root-14"]).exists()


def test_a_rack_that_is_killed_again_and_again_gives_no_wrong_file(
    line: Line, rack: RemoteRack
) -> None:
    chance = random.Random(14)
    line.rate = 2_000_000
    answers: list[Answer] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                answers.append(fetch(rack.url, f"{PATH}/root-14"))
            except (OSError, http.client.HTTPException):
                is_over.wait(0.05)

    machines = [threading.Thread(target=ask) for _ in range(4)]
    for machine in machines:
        machine.start()
    for _ in range(4):
        before, share = len(answers), chance.randrange(SIZE // 4)
        goal = line.bytes[item("root-14")] + share
        rack.wait_until(partial(_is_past, line, rack, goal), f"more after {before} answers")
        os.kill(rack.pids()[-1], signal.SIGKILL)
        rack.wait_until(lambda: len(rack.pids()) > 1, "another worker")
    assert rack.wait_for(f"{PATH}/root-14").sha256 == DIGESTS["root-14"]
    is_over.set()
    for machine in machines:
        machine.join()
    complete = [one for one in answers if one.status == 200 and one.is_complete]
    assert {one.sha256 for one in complete} <= {DIGESTS["root-14"]}
    assert line.bytes[item("root-14")] < 3 * SIZE
