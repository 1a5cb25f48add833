# SPDX-License-Identifier: Apache-2.0
"""A source with mirrors: the fastest is used, and the next one continues inside a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.jobs.conftest import Lab, check_region, failures, transfers
from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from webapp.extensions import db
from webapp.services.sources import refreshing

pytestmark = pytest.mark.usefixtures("region")
BIG = {"squashfs": 3 << 20}


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    found = make_lab(sizes=BIG)
    found.select("noble")
    return found


@pytest.fixture
def second(lab: Lab) -> Iterator[MirrorServer]:
    """Another server with the same signed stream."""
    with MirrorServer(lab.mirror) as server:
        lab.source.mirrors = [server.source_url]
        db.session.commit()
        yield server


def fetched(server: MirrorServer) -> list[tuple[str, int]]:
    """The squashfs as it was asked for, without the measuring: the range and bytes sent."""
    found = [r for r in server.log if r.path.endswith("/squashfs")]
    return [(r.range, r.sent) for r in found if not r.range.startswith("bytes=0-")]


def size_of(lab: Lab) -> int:
    return max(lab.wanted(release="noble").values())


def test_the_fastest_mirror_is_used_and_its_speed_is_shown(lab: Lab, second: MirrorServer) -> None:
    lab.server.set_faults([Fault(path="boot-|squashfs|root", rate=1_000_000)])
    assert lab.run().state == "succeeded"
    assert fetched(lab.server) == []
    assert [sent for _, sent in fetched(second)] == [size_of(lab)]
    speeds = {one["url"]: one["bytes_per_s"] for one in lab.source.mirror_speeds}
    assert speeds[second.source_url] > speeds[lab.server.source_url] > 0
    check_region()


def test_the_next_mirror_continues_inside_a_file(lab: Lab, second: MirrorServer) -> None:
    half = size_of(lab) // 2
    # The first is faster, and breaks every whole answer for the file at its half.
    lab.server.set_faults([Fault(path="squashfs$", cut=half)])
    second.set_faults([Fault(path="boot-|squashfs|root", rate=2_000_000)])
    run = lab.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    ((asked, sent),) = fetched(second)
    assert asked.startswith("bytes=")
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 0
    assert sent < size_of(lab)
    row = next(one for one in transfers(run) if one.filename == "squashfs")
    assert (row.retries, row.mirror, row.cause) == (1, second.source_url, "")
    check_region()


def test_a_mirror_with_other_bytes_harms_nothing(lab: Lab, second: MirrorServer) -> None:
    second.set_faults([Fault(path="squashfs$", flip=9)])
    lab.server.set_faults([Fault(path="boot-|squashfs|root", rate=2_000_000)])
    run = lab.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    check_region()


def test_a_mirror_stands_in_while_the_source_is_down(lab: Lab, second: MirrorServer) -> None:
    lab.server.set_faults([Fault(path="", status=404)])
    run = lab.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    measured = lab.source.mirror_speeds[0]
    assert measured["bytes_per_s"] == 0
    assert measured["problem"] == "The server refused the request. 404 Not Found"
    second.set_faults([Fault(path="", status=404)])
    problem = refreshing.refresh(lab.source).problem
    assert problem is not None
    assert problem.where.startswith(lab.server.source_url)


def test_credentials_go_to_the_sources_own_host_alone(lab: Lab, second: MirrorServer) -> None:
    lab.source.auth_kind, lab.source.auth_username = "basic", "ada"
    db.session.commit()
    lab.server.set_faults([Fault(path="boot-|squashfs|root", rate=2_000_000)])
    assert lab.run().state == "succeeded"
    assert any("authorization" in request.headers for request in lab.server.log)
    assert second.log
    assert not any("authorization" in request.headers for request in second.log)
