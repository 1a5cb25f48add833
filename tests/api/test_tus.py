# SPDX-License-Identifier: Apache-2.0
"""Uploads that go on after a cut (tus 1.0.0), are looked into, and become images."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from tests.api.test_uploads import served
from tests.api.test_v1 import Typed, check
from tests.support import disks, factories
from webapp.api.v1.dispatch import API
from webapp.errors import Conflict
from webapp.extensions import db, settings, store
from webapp.models import BootResource, Event, Role, Upload
from webapp.services.accounts import tokens
from webapp.services.uploads import fetching, uploads
from webapp.services.uploads import work as upload_work

FILES = f"{API}/uploads/files"
DISK = gzip.compress(disks.linux_disk(), 1, mtime=0)


@pytest.fixture
def program(app: Flask) -> Typed:
    with app.app_context():
        user = factories.user(role=Role.ADMINISTRATOR)
        _, token = tokens.create(user, "a program", tuple(tokens.Scope))
        db.session.remove()
    return Typed(app.test_client(), token)


def tus(program: Typed, method: str, path: str, body: bytes = b"", **headers: str) -> TestResponse:
    sent = {"Authorization": f"Bearer {program.token}", "Tus-Resumable": "1.0.0"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    kind = sent.pop("Content-Type", None)
    answer = program.client.open(path, method=method, headers=sent, data=body, content_type=kind)
    check(answer)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    return answer


def begin(program: Typed, size: int, *, status: int = 201, **said: str) -> TestResponse:
    said = {"name": "web", "architecture": "amd64/generic", "filetype": "ddgz"} | said
    pairs = [f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in said.items()]
    answer = tus(program, "POST", FILES, Upload_Length=str(size), Upload_Metadata=",".join(pairs))
    assert answer.status_code == status, answer.text
    return answer


def patch(program: Typed, place: str, offset: int, body: bytes, **headers: str) -> TestResponse:
    return tus(
        program,
        "PATCH",
        place,
        body,
        Content_Type="application/offset+octet-stream",
        Upload_Offset=str(offset),
        **headers,
    )


def sha(data: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(data).digest()).decode()}"


def work(app: Flask) -> None:
    """What the worker does when it is woken."""
    with app.app_context():
        upload_work.work("a worker", lambda: False)
        db.session.remove()


def state(program: Typed, place: str) -> dict[str, Any]:
    found: dict[str, Any] = program.get(f"uploads/{place.rpartition('/')[2]}")
    return found


def test_a_file_goes_on_after_a_cut_and_becomes_an_image(program: Typed, app: Flask) -> None:
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
    for header in ("md5 xxxx", "sha256 xx", "sha256"):
        assert patch(program, place, 500, b"x", Upload_Checksum=header).status_code == 422


def test_what_is_known_needs_no_sending(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK)
    work(app)
    twin = begin(program, len(DISK), name="twin", sha256=hashlib.sha256(DISK).hexdigest())
    assert twin.headers["Upload-Offset"] == str(len(DISK))
    assert served(app, "custom/amd64/generic/twin/uploaded/root-dd.gz") is None
    work(app)  # it is looked into all the same
    assert served(app, "custom/amd64/generic/twin/uploaded/root-dd.gz") == DISK


def test_a_mix_up_is_stopped_and_mended_by_one_call(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK), filetype="tgz").headers["Location"]
    patch(program, place, 0, DISK)
    early = state(program, place)
    assert early["report"]["verdict"] == "reject", "the first megabyte is enough"
    work(app)
    stopped = state(program, place)
    assert (stopped["state"], stopped["problem"]["code"]) == ("rejected", "upload-type")
    assert served(app, "custom/amd64/generic/web/uploaded/root.tgz") is None
    (reason,) = [r for r in stopped["report"]["reasons"] if r["grade"] == "reject"]
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
    change = {"filetype": "ddgz", "name": "esxi/8.0", "architecture": "arm64/generic"}
    program.call("PATCH", f"uploads/{state(program, place)['id']}", change)
    work(app)
    done = state(program, place)
    assert (done["state"], done["name"]) == ("done", "esxi/8.0")
    assert served(app, "esxi/arm64/generic/8.0/uploaded/root-dd.gz") == DISK


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
                upload_work.work("a worker", lambda: False)
        with app.app_context():
            db.session.execute(update(Upload).values(claimed_by="", claimed_at=None))
            db.session.commit()
        work(app)
        assert state(program, place)["state"] == "done", step
        assert served(app, f"custom/amd64/generic/n{number}/uploaded/root-dd.gz") == data


# -- what the server gets by itself


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A plain HTTP server with the disk on it."""
    (tmp_path / "disk.gz").write_bytes(DISK)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_file_is_got_from_an_address_with_its_checksum(
    program: Typed, app: Flask, address: str
) -> None:
    body = {"name": "web", "filetype": "ddgz", "url": f"{address}disk.gz"}
    assert "sha256" in program.call("POST", "uploads", body).json["errors"]
    body["sha256"] = hashlib.sha256(DISK).hexdigest()
    begun = program.call("POST", "uploads", body)
    assert (begun.status_code, begun.json["state"], begun.json["size"]) == (
        202,
        "fetching",
        len(DISK),
    )
    work(app)
    assert program.get(f"uploads/{begun.json['id']}")["state"] == "done"
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == DISK
    wrong = program.call("POST", "uploads", body | {"sha256": "ab" * 32, "name": "two"})
    work(app)
    failed = program.get(f"uploads/{wrong.json['id']}")
    assert failed["state"] == "failed", failed
    assert failed["problem"]["what"]
    assert program.call("POST", "uploads", body | {"url": f"{address}gone"}).status_code == 422
    assert program.call("POST", "uploads", body | {"url": "file:///etc/passwd"}).status_code == 422


def test_a_file_is_taken_from_the_import_folder_and_from_nowhere_else(
    program: Typed, app: Flask, tmp_path: Path
) -> None:
    with app.app_context():
        folder = settings().import_dir
    folder.mkdir()
    (folder / "disk.gz").write_bytes(DISK)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    body = {"name": "web", "filetype": "ddgz"}
    for path in ("../secret", str(tmp_path / "secret"), "link", ".", "none", "x" * 999):
        answer = program.call("POST", "uploads", body | {"path": path})
        assert list(answer.json["errors"]) == ["path"], path
    assert program.call("POST", "uploads", body).status_code == 422
    begun = program.call("POST", "uploads", body | {"path": "disk.gz"})
    assert begun.status_code == 202
    work(app)
    assert program.get(f"uploads/{begun.json['id']}")["state"] == "done"
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == DISK


def test_a_file_is_looked_at_before_it_is_sent(program: Typed) -> None:
    def look(data: bytes, query: str) -> Any:
        headers = {"Authorization": f"Bearer {program.token}"}
        answer = program.client.post(
            f"{API}/uploads/inspect?{query}",
            data=data,
            headers=headers,
            content_type="application/octet-stream",
        )
        check(answer)
        return answer.json

    told = look(DISK, f"filetype=tgz&size={len(DISK)}")
    assert (told["verdict"], told["suggested"]) == ("reject", {"filetype": "ddgz"})
    assert look(bytes(3 << 20), "")["verdict"] == "reject"


def test_what_came_by_the_other_api_is_looked_into_afterwards(program: Typed, app: Flask) -> None:
    data = random.Random(1).randbytes(5000)
    with app.app_context():
        from webapp.services.uploads import finishing
        from webapp.services.uploads.fields import Declared

        declared = Declared(
            "web", "amd64/generic", len(data), filetype="tgz", is_checked_first=False
        )
        upload = uploads.create(declared, "maas")
        uploads.append(upload, [data])
        finishing.finish(upload)
        assert db.session.scalars(select(BootResource)).one().current_set_id
        db.session.remove()
    work(app)
    (row,) = program.get("uploads")["items"]
    assert (row["state"], row["report"]["verdict"]) == ("done", "reject")


def test_tokens_of_the_store_are_told_to_nobody(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK[:10])
    with app.app_context():
        token = db.session.scalar(select(Upload.token))
        told = str([vars(event) for event in db.session.scalars(select(Event))])
    everything = program.call("GET", "uploads").text + told + place
    assert token not in everything


# -- what a second reading found


def test_known_bytes_are_looked_into_for_what_they_are_declared_now(
    program: Typed, app: Flask
) -> None:
    """They are whole and verified, and yet no tgz."""
    patch(program, begin(program, len(DISK)).headers["Location"], 0, DISK)
    work(app)
    digest = hashlib.sha256(DISK).hexdigest()
    place = begin(program, len(DISK), name="twin", filetype="tgz", sha256=digest).headers[
        "Location"
    ]
    work(app)
    stopped = state(program, place)
    assert (stopped["state"], stopped["problem"]["code"]) == ("rejected", "upload-type")
    assert served(app, "custom/amd64/generic/twin/uploaded/root.tgz") is None
    program.call("PATCH", f"uploads/{stopped['id']}", {"filetype": "ddgz"})
    work(app)
    assert served(app, "custom/amd64/generic/twin/uploaded/root-dd.gz") == DISK


def test_a_request_whose_upload_was_ended_meanwhile_changes_nothing(
    program: Typed, app: Flask
) -> None:
    """The browser tells a digest that the store knows while a piece is still on its way."""
    patch(program, begin(program, len(DISK)).headers["Location"], 0, DISK)
    work(app)
    begin(program, len(DISK), name="twin")
    with app.app_context():
        upload = uploads.listed(limit=1)[0]
        upload_id = upload.id

        def pieces() -> Iterator[bytes]:
            yield DISK[:100]
            uploads.note_digest(uploads.find(upload_id), hashlib.sha256(DISK).hexdigest())
            yield DISK[100:200]

        with pytest.raises(Conflict):
            uploads.append(upload, pieces(), is_all_or_nothing=False)
        db.session.remove()
        row = uploads.find(upload_id)
        assert (row.state, row.received) == ("checking", len(DISK))
    work(app)
    assert served(app, "custom/amd64/generic/twin/uploaded/root-dd.gz") == DISK


def test_a_worker_that_is_killed_while_it_copies_leaves_work_for_the_next(
    program: Typed, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        folder = settings().import_dir
    folder.mkdir()
    (folder / "disk.gz").write_bytes(DISK)
    begun = program.call("POST", "uploads", {"name": "web", "filetype": "ddgz", "path": "disk.gz"})
    seen = []

    def dying(*args: Any) -> Iterator[bytes]:
        yield DISK[:1000]
        seen.append(program.get(f"uploads/{begun.json['id']}")["state"])
        yield DISK[1000:]

    with monkeypatch.context() as patched:
        patched.setattr(fetching, "_pieces", dying)
        work(app)
    assert seen == ["fetching"], "what a kill here would leave"
    assert program.get(f"uploads/{begun.json['id']}")["state"] == "done"


def test_a_file_of_the_server_with_another_digest_has_failed(program: Typed, app: Flask) -> None:
    with app.app_context():
        folder = settings().import_dir
    folder.mkdir()
    (folder / "disk.gz").write_bytes(DISK)
    body = {"name": "web", "filetype": "ddgz", "path": "disk.gz", "sha256": "ab" * 32}
    begun = program.call("POST", "uploads", body)
    work(app)
    ended = program.get(f"uploads/{begun.json['id']}")
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "upload-wrong-hash")
    with app.app_context():
        assert list(store().uploads()) == []
