# SPDX-License-Identifier: Apache-2.0
"""Uploads that continue after a cut (tus 1.0.0), are inspected, and become images."""

from __future__ import annotations

import base64
import gzip
import hashlib
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.api.uploads.maas import served
from tests.api.uploads.tus import DISK, FILES, begin, patch, state, tus, work
from tests.api.v1.typed import Typed
from tests.support import disks
from webapp.extensions import db, settings, store
from webapp.models import Upload, utcnow
from webapp.services.uploads import takeover
from webapp.services.uploads import work as upload_work
from webapp.storage.leases import new_owner


def sha(data: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(data).digest()).decode()}"


def test_a_file_continues_after_a_cut_and_becomes_an_image(program: Typed, app: Flask) -> None:
    begun = begin(program, len(DISK), filename="web.gz")
    place = begun.headers["Location"]
    assert begun.headers["Upload-Offset"] == "0"
    assert begun.headers["Upload-Expires"].endswith("GMT")
    middle = len(DISK) // 2
    answer = patch(program, place, 0, DISK[:middle])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(middle))
    for wrong in (0, middle + 1):
        late = patch(program, place, wrong, DISK[wrong:])
        assert late.status_code == 409
        assert (late.json["code"], late.json["expected"]) == ("upload-offset", str(middle))
    head = tus(program, "HEAD", place)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (
        str(middle),
        str(len(DISK)),
    )
    assert patch(program, place, middle, DISK[middle:]).status_code == 204
    assert state(program, place)["state"] == "checking"
    name = "custom/amd64/generic/web/uploaded/root-dd.gz"
    assert served(app, name) is None
    work(app)
    done = state(program, place)
    assert (done["state"], done["sha256"]) == ("done", hashlib.sha256(DISK).hexdigest())
    assert done["report"]["words"] == "gzip, GPT disk of 8 MiB"
    assert served(app, name) == DISK
    assert patch(program, place, len(DISK), b"x").status_code == 409
    assert tus(program, "DELETE", place).status_code == 409


def test_damaged_pieces_are_refused_and_count_for_nothing(program: Typed) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    bad = patch(program, place, 0, DISK[:500], Upload_Checksum=sha(DISK[:499]))
    assert (bad.status_code, bad.json["code"]) == (460, "upload-checksum")
    assert tus(program, "HEAD", place).headers["Upload-Offset"] == "0"
    good = patch(program, place, 0, DISK[:500], Upload_Checksum=sha(DISK[:500]))
    assert good.headers["Upload-Offset"] == "500"
    for header, status in (
        ("md5 xxxx", 400),
        ("sha1 xx", 400),
        ("sha256 xx", 422),
        ("sha256", 422),
    ):
        assert patch(program, place, 500, b"x", Upload_Checksum=header).status_code == status
    assert tus(program, "HEAD", place).headers["Upload-Offset"] == "500"


def test_what_is_known_needs_no_sending(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK)
    work(app)
    twin = begin(program, len(DISK), name="twin", sha256=hashlib.sha256(DISK).hexdigest())
    assert twin.headers["Upload-Offset"] == str(len(DISK))
    assert served(app, "custom/amd64/generic/twin/uploaded/root-dd.gz") is None
    work(app)  # it is looked into all the same
    assert served(app, "custom/amd64/generic/twin/uploaded/root-dd.gz") == DISK


def test_a_mix_up_is_stopped_and_fixed_by_one_call(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK), filetype="tgz").headers["Location"]
    patch(program, place, 0, DISK)
    early = state(program, place)
    assert early["report"]["verdict"] == "reject", "the first megabyte is enough"
    work(app)
    stopped = state(program, place)
    assert (stopped["state"], stopped["problem"]["code"]) == ("rejected", "upload-type")
    assert served(app, "custom/amd64/generic/web/uploaded/root.tgz") is None
    (reason,) = [r for r in stopped["report"]["reasons"] if r["severity"] == "error"]
    path = f"uploads/{stopped['id']}"
    late = program.call("PATCH", path, {"filetype": "ddgz"}, If_Match='"x"')
    assert late.status_code == 412
    assert program.call("PATCH", path, {"filetype": "exe"}).status_code == 422
    assert program.call("PATCH", path, reason["fix"]).json["state"] == "checking"
    work(app)
    assert state(program, place)["state"] == "done"
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == DISK
    assert program.call("PATCH", path, {"filetype": "tgz"}).status_code == 409


def test_another_name_moves_an_upload_to_another_image(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK), filetype="tgz").headers["Location"]
    patch(program, place, 0, DISK)
    work(app)
    change = {"filetype": "ddgz", "name": "rhel/9.2", "architecture": "arm64/generic"}
    program.call("PATCH", f"uploads/{state(program, place)['id']}", change)
    work(app)
    done = state(program, place)
    assert (done["state"], done["name"]) == ("done", "rhel/9.2")
    assert served(app, "rhel/arm64/generic/9.2/uploaded/root-dd.gz") == DISK


def test_a_wrong_digest_lets_the_same_upload_be_sent_again(program: Typed, app: Flask) -> None:
    other = gzip.compress(disks.linux_disk(9 << 20), 1, mtime=0)[: len(DISK)].ljust(
        len(DISK), b"\0"
    )
    place = begin(program, len(DISK), sha256=hashlib.sha256(DISK).hexdigest()).headers["Location"]
    patch(program, place, 0, DISK[:-1] + b"\xff")
    work(app)
    assert state(program, place)["state"] in ("rejected", "receiving")
    place = begin(program, len(DISK), name="two", sha256=hashlib.sha256(other).hexdigest()).headers[
        "Location"
    ]
    patch(program, place, 0, DISK)
    work(app)
    again = state(program, place)
    assert (again["state"], again["received"]) == ("receiving", 0)
    assert again["problem"]["code"] == "upload-wrong-hash"
    assert tus(program, "HEAD", place).headers["Upload-Offset"] == "0"


def test_uploads_are_listed_dropped_and_expire(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK[:700])
    (row,) = program.get("uploads?is_open=true")["items"]
    assert (row["received"], row["files_url"]) == (700, place)
    assert tus(program, "DELETE", place).status_code == 204
    assert tus(program, "HEAD", place).status_code == 404
    assert program.get("uploads?is_open=true")["items"] == []
    with app.app_context():
        assert list(store().uploads()) == []


def test_what_makes_no_sense_is_refused(program: Typed, app: Flask) -> None:
    begin(program, 1 << 50, status=422)
    begin(program, 5, status=422, name="windows")
    begin(program, 5, status=422, name="")
    begin(program, 5, status=422, filetype="exe")
    assert tus(program, "POST", FILES).status_code == 422
    assert tus(program, "POST", FILES, Upload_Length="x").status_code == 422
    bad = tus(program, "POST", FILES, Upload_Length="5", Upload_Metadata="name %%")
    assert bad.status_code == 422
    place = begin(program, 5).headers["Location"]
    assert tus(program, "PATCH", place, b"x", Upload_Offset="0").status_code == 415
    assert patch(program, place, 0, b"123456").status_code == 413
    headers = {"Authorization": f"Bearer {program.token}", "Tus-Resumable": "0.2.0"}
    assert program.client.head(place, headers=headers).status_code == 412
    with app.app_context():
        free = store().free_bytes() or 0
        object.__setattr__(settings(), "upload_max_gb", 1 << 20)
    begin(program, free + (1 << 30), status=507)


def test_bytes_beyond_what_was_confirmed_are_taken_back(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK[:1000])
    with app.app_context():
        token = db.session.scalar(select(Upload.token))
        with store().receiver(token, len(DISK)) as receiver:
            receiver.write(b"what a killed process wrote")
    assert tus(program, "HEAD", place).headers["Upload-Offset"] == "1000"
    patch(program, place, 1000, DISK[1000:])
    work(app)
    assert state(program, place)["state"] == "done"


def _owner_that_died() -> str:
    """A worker of this machine whose process id another process has by now."""
    place, pid, started, chance = new_owner().split("/")
    return f"{place}/{pid}/{int(started) - 1}/{chance}"


def test_an_upload_that_a_living_worker_holds_is_left_to_it(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK)
    with app.app_context():
        held = {"claimed_by": new_owner(), "claimed_at": utcnow()}
        db.session.execute(update(Upload).values(**held))
        db.session.commit()
    work(app)
    assert state(program, place)["state"] == "checking"


def test_a_worker_waits_until_the_last_request_lets_go_of_the_bytes(
    program: Typed, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wake it between that request's commit and its end; it gave up for a minute."""
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK)
    with app.app_context():
        upload = db.session.scalars(select(Upload)).one()
        request = store().receiver(upload.token, upload.size)
        monkeypatch.setattr(takeover.time, "sleep", lambda _seconds: request.close())
        upload_work.work("a worker", lambda: False)
        db.session.remove()
    assert state(program, place)["state"] == "done"
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == DISK


def test_a_worker_that_dies_between_any_two_steps_is_followed(
    program: Typed, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.services.blobs import reserving
    from webapp.services.uploads import finishing

    steps = ((reserving, "reserve_one"), (finishing, "_adopt"), (finishing, "_publish"))
    for number, (place_of, step) in enumerate(steps):
        data = gzip.compress(disks.linux_disk(), 1, mtime=number)
        place = begin(program, len(data), name=f"n{number}").headers["Location"]
        patch(program, place, 0, data)

        def die(*args: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(place_of, step, die)
            with app.app_context(), pytest.raises(KeyboardInterrupt):
                upload_work.work(_owner_that_died(), lambda: False)
        work(app)
        assert state(program, place)["state"] == "done", step
        assert served(app, f"custom/amd64/generic/n{number}/uploaded/root-dd.gz") == data
