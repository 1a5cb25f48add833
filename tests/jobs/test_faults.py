# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import select

from tests.jobs.conftest import Lab, check_region, failures, files, images, transfers
from tests.mirror.faults import Fault
from webapp.extensions import db, store
from webapp.fetch.retry import wait as real_wait
from webapp.models import Event, FileTransfer, ImportRun
from webapp.services.imports import report, retrying, runs
from webapp.storage.errors import SPARE, StoreFull
from webapp.storage.files import FileWriter

pytestmark = pytest.mark.usefixtures("region")

NOBLE, JAMMY = "ubuntu/noble amd64/ga-24.04", "ubuntu/jammy amd64/ga-22.04"
BIG = {"squashfs": 1 << 20}


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a back-off; that it happens is the fetcher's own test."""
    monkeypatch.setattr("webapp.fetch.retry.wait", lambda *args: None)
    monkeypatch.setattr("webapp.fetch.download.wait", lambda *args: None)


def of_file(run: ImportRun, filename: str, image: str = "ubuntu/noble") -> FileTransfer:
    (found,) = [t for t in transfers(run) if t.filename == filename and t.image == image]
    return found


# -- a mirror in trouble


def test_two_answers_of_503_cost_two_retries(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", status=503, first=2)])
    run = lab.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    assert of_file(run, "squashfs").retries == 2
    check_region()


def test_a_line_that_is_cut_at_half_is_resumed(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(sizes=BIG)
    lab.select("noble")
    size = max(lab.wanted(release="noble").values())
    lab.server.set_faults([Fault(path="squashfs$", cut=size // 2, first=1)])
    run = lab.run()
    assert run.state == "succeeded"
    sent = sum(r.sent for r in lab.server.log if r.path.endswith("squashfs"))
    assert sent <= 1.1 * size
    ranges = [r.range for r in lab.server.log if r.path.endswith("squashfs")]
    assert len(ranges) == 2
    assert ranges[1].startswith("bytes=")
    assert of_file(run, "squashfs").retries == 1
    check_region()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"flip": 100}, "hash-mismatch"),
        ({"status": 404}, "http-status"),
        ({"truncate": 100}, "size-mismatch"),
        ({"extra": 1}, "size-mismatch"),
        ({"extra": 1, "is_chunked": True}, "size-mismatch"),
        (
            {"body": "<html>Sign in</html>", "headers": {"Content-Type": "text/html"}},
            "http-html",
        ),
    ],
)
def test_a_bad_file_fails_its_image_alone_and_the_old_version_stays(
    lab: Lab, fault: dict[str, Any], code: str
) -> None:
    lab.select("noble")
    lab.run()
    before = files(NOBLE)
    lab.select("jammy")
    lab.mirror.publish_next()
    lab.server.set_faults([{"path": "noble/.*lowlatency/boot-kernel$", **fault}])
    lab.server.reset()
    run = lab.run()
    (failure,) = failures(run)
    assert (failure.code, failure.image) == (code, "ubuntu/noble")
    assert (failure.architecture, failure.filename) == ("amd64/ga-24.04-lowlatency", "boot-kernel")
    assert failure.source_url == lab.server.source_url
    assert failure.where.startswith(lab.server.url)
    assert failure.what
    assert failure.next_step
    assert failure.expected or failure.got
    assert run.state == "partial"
    assert run.summary == "2 images published. 1 problem."
    # The sibling kernel and the other release came; the failed one keeps its old version.
    assert files(NOBLE) != before
    versions = images()
    assert versions[NOBLE] > versions["ubuntu/noble amd64/ga-24.04-lowlatency"]
    assert JAMMY in versions
    assert of_file(run, "squashfs", "ubuntu/noble").state == "done"
    assert [t.state for t in transfers(run)].count("failed") == 1
    assert run.bytes_done < run.bytes_total or code in ("hash-mismatch", "size-mismatch")
    check_region()
    lab.server.set_faults()
    assert lab.run().state == "succeeded"
    assert len(set(images().values())) == 2
    check_region()


def test_a_missing_file_is_asked_for_once(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", status=404)])
    run = lab.run()
    assert run.state == "failed"
    assert [n for path, n in lab.fetched().items() if path.endswith("squashfs")] == [1]
    assert len(failures(run)) == 1  # two kernels need it
    check_region()


def test_what_came_whole_beside_a_failed_file_is_not_fetched_again(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", status=404)])
    lab.run()
    lab.server.set_faults()
    lab.server.reset()
    run = lab.run()
    assert run.state == "succeeded"
    fetched = {path.rpartition("/")[2] for path in lab.fetched()}
    assert fetched == {"squashfs"}
    assert run.bytes_total == of_file(run, "squashfs").size


def test_a_source_without_a_signature_fails_as_a_whole_and_changes_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.mirror.publish_next()
    lab.server.set_faults([Fault(path="index.sjson$", body='{"format": "index:1.0"}')])
    run = lab.run()
    assert run.state == "failed"
    assert [f.code for f in failures(run)] == ["signature-missing"]
    assert images() == before


# -- a full disk


def test_what_does_not_fit_is_refused_before_the_first_byte(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.select("noble")
    lab.run()
    lab.unselect("noble")
    lab.select("jammy")
    before, held = images(), set(store().digests())
    needed = sum(lab.wanted(release="jammy").values())
    monkeypatch.setattr(type(store()), "free_bytes", lambda self: needed - 1)
    lab.server.reset()
    run = lab.run()
    (failure,) = failures(run)
    assert (run.state, failure.code) == ("failed", "store-full")
    assert (failure.expected, failure.got) == (
        f"{needed} bytes free",
        f"{needed - 1} bytes free",
    )
    assert "2 images no longer selected can be deleted" in failure.next_step
    assert not lab.fetched()
    assert (images(), set(store().digests())) == (before, held)
    assert transfers(run) == []


def test_what_is_there_already_counts_as_room(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.select("noble")
    lab.server.set_faults(
        [
            Fault(path="squashfs$", cut=20_000, first=1),
            Fault(path="squashfs$", status=404),
        ]
    )
    lab.run()
    received = sum(partial.received for partial in store().partials())
    assert received >= 20_000
    missing = max(lab.wanted(release="noble").values()) - received
    lab.server.set_faults()
    monkeypatch.setattr(type(store()), "free_bytes", lambda self: missing)
    assert lab.run().state == "succeeded"


def test_a_disk_that_fills_up_ends_the_run_with_the_numbers_and_the_next_one_continues(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(sizes=BIG)
    lab.select("noble")
    lab.select("jammy")
    write = FileWriter.write

    def full(self: FileWriter, data: bytes | bytearray | memoryview) -> None:
        if self.size > 500_000 and self.offset > 300_000:
            raise StoreFull("the disk", needed=self.size - self.offset, free=7)
        write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(FileWriter, "write", full)
        run = lab.run()
    assert run.state == "failed"
    assert {f.code for f in failures(run)} == {"store-full"}
    assert failures(run)[0].got == "7 bytes free"
    assert all(partial.received for partial in store().partials())
    check_region()
    lab.server.reset()
    assert lab.run().state == "succeeded"
    wanted = lab.wanted(release="noble") | lab.wanted(release="jammy")
    assert lab.server.bytes_sent < sum(wanted.values())
    check_region()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SPARE + (3 << 20)}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_real_small_disk_takes_what_fits_and_refuses_the_rest_in_words(
    small_disk: Path,
    make_app: Callable[[str], Flask],
    make_lab: Callable[..., Lab],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from webapp.storage.opening import open_store

    lab = make_lab(sizes=BIG)
    app = make_app("none")
    with app.app_context():
        app.extensions["slipway.store"] = open_store("filesystem", small_disk / "store", db.engine)
        lab.select("noble")
        assert lab.run().state == "succeeded"
        before = images()
        lab.select("jammy")
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
        run = lab.run()
        assert (run.state, [f.code for f in failures(run)]) == ("failed", ["store-full"])
        assert images() == before
        check_region()
        (small_disk / "ballast").unlink()
        # Room for the plan when it starts, and none any more when it goes on.
        monkeypatch.setattr(type(store()), "free_bytes", lambda self: None)
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
        run = lab.run()
        assert {f.code for f in failures(run)} == {"store-full"}
        check_region()
        (small_disk / "ballast").unlink()
        assert lab.run().state == "succeeded"
        check_region()


# -- our own defects


def test_a_defect_of_ours_ends_the_run_in_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.select("noble")

    def broken(*args: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("webapp.services.imports.importing.plan", broken)
    run = lab.run()
    (failure,) = failures(run)
    assert (run.state, failure.code, failure.got) == ("failed", "internal", "a defect")
    assert db.session.scalar(select(Event.kind).where(Event.kind == "run.failed"))
    monkeypatch.undo()
    assert lab.run().state == "succeeded"


# -- what a file's row tells of its retries


def test_a_retry_tells_its_cause_mirror_and_wait_until_someone_tries_again_now(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A minute is far longer than the test: only "try again now" ends the wait.
    monkeypatch.setattr("webapp.fetch.download.wait", real_wait)
    lab.select("noble")
    busy = Fault(path="squashfs$", status=503, first=1, headers={"Retry-After": "100"})
    lab.server.set_faults([busy])
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    seen: list[tuple[str, str, str, int | None]] = []

    def person() -> None:
        with app.app_context():
            until = time.monotonic() + 60
            while time.monotonic() < until and not seen:
                reports = [report.report(run) for run in runs.recent(1)]
                found = [f for one in reports for i in one.images for f in i.files]
                seen.extend(
                    (f.transfer.cause, f.transfer.next_step, f.transfer.mirror, f.retry_s)
                    for f in found
                    if f.retry_s is not None
                )
                db.session.rollback()
                time.sleep(0.05)
            retrying.try_again("ada")

    thread = threading.Thread(target=person)
    thread.start()
    try:
        run = lab.run()
    finally:
        thread.join()
    cause, next_step, mirror, wait_s = seen[0]
    assert cause == "The server refused the request. Got: 503 Service Unavailable."
    assert next_step
    assert mirror == lab.server.source_url.rstrip("/") + "/"
    assert wait_s is not None
    assert 30 < wait_s <= 101
    row = of_file(run, "squashfs")
    assert (run.state, row.retries, row.cause, row.retry_at) == ("succeeded", 1, "", None)
    # Nothing else was queued: the running import is the one that tried again.
    assert runs.current() is None


def test_a_file_that_fails_keeps_its_cause_and_clears_it_once_cured(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", status=404)])
    assert of_file(lab.run(), "squashfs").cause.startswith("The server refused the request.")
    lab.server.set_faults()
    again = retrying.try_again("ada")
    assert (again.state, again.requested_by) == ("queued", "ada")
    assert of_file(lab.run(), "squashfs").cause == ""
