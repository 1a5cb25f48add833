# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.jobs.conftest import Lab, check_region, failures, files, images, transfers
from webapp.extensions import db

NOBLE_GA, NOBLE_LOW = "ubuntu/noble amd64/ga-24.04", "ubuntu/noble amd64/ga-24.04-lowlatency"


@pytest.mark.both_databases
def test_what_is_selected_is_stored_whole_and_nothing_else(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(loaders=True, centos=True, arches=("amd64", "arm64"))
    lab.select("noble")
    lab.select("centos70", os="centos")
    run = lab.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    stored = images()
    assert set(stored) == {
        NOBLE_GA,
        NOBLE_LOW,
        "centos/centos70 amd64/generic",
        "grub-efi-signed/uefi amd64/generic",
        "grub-efi/uefi arm64/generic",
        "grub-ieee1275/open-firmware ppc64el/generic",
        "pxelinux/pxe i386/generic",
    }
    newest = {item.ftype: item.sha256 for item in lab.mirror.newest(release="noble", arch="amd64", kflavor="generic")}
    newest.pop("manifest", None)
    assert {n: files(NOBLE_GA)[n] for n in ("boot-kernel", "boot-initrd", "squashfs")} == {n: newest[n] for n in ("boot-kernel", "boot-initrd", "squashfs")}
    check_region()
    print(run.summary, [ (t.image, t.filename, t.state) for t in transfers(run)])


def test_x(lab: Lab) -> None:
    import time
    lab.select("noble")
    run = lab.run()
    for _ in range(5):
        lab.server.reset()
        t = time.perf_counter()
        run = lab.run()
        print(run.state, run.summary, time.perf_counter() - t, [(r.method, r.path, r.status) for r in lab.server.log])
    lab.mirror.publish_next()
    run = lab.run()
    print(run.state, run.summary, run.sets_published, run.sets_retired, [(t.filename, t.state) for t in transfers(run)])
    check_region()
