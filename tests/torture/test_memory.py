# SPDX-License-Identifier: Apache-2.0
"""The memory of a region that imports 2 GiB while five racks copy what it serves.

In full it needs 20 GB of disk.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import select

from tests.jobs.conftest import Lab, check_region
from tests.mirror.maker import make_mirror
from tests.mirror.server import MirrorServer
from tests.remoterack.remote import RemoteRack
from tests.support import signed
from tests.support.live import ROLES, LiveSlipway, wait_until
from tests.torture.conftest import Show, scaled
from tests.torture.region import import_all, inside, is_idle, last_state
from webapp.extensions import db
from webapp.models import Rack
from webapp.services.racks import changing

RACKS = 5
SIZE = scaled(2 << 30, 64 << 20)  # bytes of the import
COPIED = SIZE // 4  # bytes of the build before, which the racks copy meanwhile
COPY_S = scaled(60, 4)  # seconds that this takes at least
LIMIT = 300_000_000  # bytes of all processes of the region
RELEASES = ("noble", "jammy")
PAUSE_S = 0.2  # between two looks
PATIENCE_S = 1200.0  # a bound for what hangs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * PATIENCE_S)]


class Peak(threading.Thread):
    """Looks at the memory of processes again and again; pages that they share count once.

    region: the most that all of them held at once, in bytes. roles: the same of each role.
    """

    def __init__(self, slipway: LiveSlipway) -> None:
        super().__init__(daemon=True)
        self._slipway = slipway
        self._is_over = threading.Event()
        self.looks = 0
        self.region = 0
        self.roles = dict.fromkeys(ROLES, 0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        while not self._is_over.wait(PAUSE_S):
            found = {role: held(self._slipway.pids(role)) for role in ROLES}
            assert self._slipway.process is not None
            whole = held([self._slipway.process.pid]) + sum(found.values())
            self.looks += 1
            self.region = max(self.region, whole)
            self.roles = {role: max(self.roles[role], count) for role, count in found.items()}


def held(pids: list[int]) -> int:
    """Bytes that these processes hold now."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue  # it ended meanwhile
        total += int(re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[0]) << 10
    return total


@pytest.fixture
def slipway(make_live: Callable[..., LiveSlipway]) -> LiveSlipway:
    """All processes of a region, with as many as usual."""
    return make_live({"SLIPWAY_STORE": "filesystem"})


@pytest.fixture
def lab(tmp_path: Path, signing_key: signed.SigningKey, slipway: LiveSlipway) -> Iterator[Lab]:
    """A source of two small images."""
    mirror = make_mirror(
        tmp_path / "mirror", signing_key, releases=RELEASES, arches=("amd64",), kernels=1,
        versions=1, loaders=False, centos=False, notification=False,
    )  # fmt: skip
    with inside(slipway), MirrorServer(mirror) as server:
        lab = Lab(mirror, server)
        for release in RELEASES:
            lab.select(release)
        yield lab


@pytest.fixture
def racks(tmp_path: Path, slipway: LiveSlipway, lab: Lab) -> Iterator[list[RemoteRack]]:
    """Racks elsewhere that hold all."""
    import_and_wait(lab)
    line = slipway.cli("rack", "enrol", "--uses", str(RACKS)).split()
    values = dict(word.split("=", 1) for word in line if word.startswith("SLIPWAY_"))
    token = values["SLIPWAY_RACK_TOKEN"]
    found = [
        RemoteRack(tmp_path / name, slipway.web_url, "", rack_token=token, rack_name=name)
        for name in (f"rack-{number}" for number in range(RACKS))
    ]
    with ExitStack() as running:
        for rack in found:
            running.enter_context(rack)
        wait_until_held(found, lab)
        yield found


def resize(lab: Lab, total: int) -> None:
    """Let the files of the next builds have so many bytes."""
    sizes = {**lab.mirror.recipe.sizes, "squashfs": total // len(RELEASES)}
    lab.mirror.recipe = replace(lab.mirror.recipe, sizes=sizes)


def import_and_wait(lab: Lab) -> None:
    import_all(lab)
    wait_until(is_idle, "the import", seconds=PATIENCE_S)
    assert last_state() == "succeeded"


def holds_all(rack: RemoteRack, lab: Lab) -> bool:
    return all(rack.blob(sha256).exists() for sha256 in lab.wanted())


def wait_until_held(racks: list[RemoteRack], lab: Lab) -> None:
    for rack in racks:
        wait_until(
            partial(holds_all, rack, lab), f"{rack.folder.name} holds all", seconds=PATIENCE_S
        )


def limit(rate: int | None) -> None:
    """Let each rack read so many bytes a second from the region, None for all that it can."""
    for rack_id in list(db.session.scalars(select(Rack.id))):
        changing.change(rack_id, "ann", rate=rate)


def test_a_region_that_imports_and_serves_five_racks_stays_small(
    slipway: LiveSlipway, lab: Lab, racks: list[RemoteRack], show: Show
) -> None:
    limit(COPIED // COPY_S)
    resize(lab, COPIED)
    with Peak(slipway) as peak:
        import_and_wait(lab)
        copying = [rack for rack in racks if not holds_all(rack, lab)]
        resize(lab, SIZE)
        import_and_wait(lab)
        limit(None)
        wait_until_held(racks, lab)
    assert len(copying) == RACKS, "all copy one build while the next one is imported"
    assert sum(lab.wanted().values()) > SIZE * 0.8
    assert peak.looks
    assert peak.region < LIMIT, peak.roles
    check_region()
    what = f"an import of {SIZE >> 20} MiB beside {RACKS} racks"
    show(what, peak_of_the_region=mib(peak.region))
    show(what, **{f"peak_of_{role}": mib(count) for role, count in peak.roles.items()})


def mib(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"
