# SPDX-License-Identifier: Apache-2.0
"""Files the server fetches itself, and races between requests and the worker."""

from __future__ import annotations

import hashlib
import http.server
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.uploads.maas import served
from tests.api.uploads.tus import DISK, begin, patch, state, work
from tests.api.v1.typed import Typed, check
from tests.support.partials import stopped_after_the_first_chunk
from webapp.api.v1.dispatch import API
from webapp.errors import Conflict
from webapp.extensions import db, settings, store
from webapp.models import BootResource, Event, Upload
from webapp.services.uploads import fetching, uploads
from webapp.services.uploads import work as upload_work
from webapp.storage.leases import new_owner

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


def test_a_worker_that_leaves_does_not_hash_to_the_end_what_came_before(
    program: Typed, app: Flask, address: str
) -> None:
    digest = hashlib.sha256(DISK).hexdigest()
    body = {"name": "web", "filetype": "ddgz", "sha256": digest, "url": f"{address}disk.gz"}
    begun = program.call("POST", "uploads", body).json
    leaving = threading.Event()
    with app.app_context():
        with store().writer(digest, len(DISK)) as writer:
            writer.write(DISK[:1000])
        with stopped_after_the_first_chunk(leaving.set) as ended:
            upload_work.work(new_owner(), leaving.is_set)
        assert ended == []
        assert [partial.received for partial in store().partials()] == [1000]
        db.session.remove()
    assert program.get(f"uploads/{begun['id']}")["problem"] == {}
    work(app)
    assert program.get(f"uploads/{begun['id']}")["state"] == "done"


def test_a_fetch_whose_upload_is_discarded_ends_and_the_next_one_continues_it(
    program: Typed, app: Flask, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ASK_S", 0.0)
    digest = hashlib.sha256(DISK).hexdigest()
    body = {"name": "web", "filetype": "ddgz", "sha256": digest, "url": f"{address}disk.gz"}
    begun = program.call("POST", "uploads", body).json
    with app.app_context(), store().writer(digest, len(DISK)) as writer:
        writer.write(DISK[:1000])

    def discard() -> None:
        assert program.call("DELETE", f"uploads/{begun['id']}").status_code == 204

    with stopped_after_the_first_chunk(discard) as ended:
        work(app)
    assert ended == []
    other = program.call("POST", "uploads", body).json
    work(app)
    assert program.get(f"uploads/{other['id']}")["state"] == "done"


def test_the_query_of_an_address_is_used_and_never_shown(
    program: Typed, app: Flask, address: str
) -> None:
    digest = hashlib.sha256(DISK).hexdigest()
    body = {"name": "web", "filetype": "ddgz", "sha256": digest}
    begun = program.call("POST", "uploads", body | {"url": f"{address}disk.gz?token=canary"})
    assert begun.json["place"] == f"{address}disk.gz?…"
    with app.app_context():
        row = db.session.scalars(db.select(Upload)).one()
        assert "canary" not in row.place + row.address
        db.session.remove()
    work(app)
    done = program.call("GET", f"uploads/{begun.json['id']}")
    assert (done.json["state"], "canary" in done.text) == ("done", False)
    gone = program.call("POST", "uploads", body | {"url": f"{address}gone?token=canary"})
    assert (gone.status_code, "canary" in gone.text) == (422, False)
    assert "canary" not in program.call("GET", "events").text


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


def test_a_file_is_inspected_before_it_is_sent(program: Typed) -> None:
    def inspect(data: bytes, query: str) -> Any:
        headers = {"Authorization": f"Bearer {program.token}"}
        answer = program.client.post(
            f"{API}/uploads/inspect?{query}",
            data=data,
            headers=headers,
            content_type="application/octet-stream",
        )
        check(answer)
        return answer.json

    report = inspect(DISK, f"filetype=tgz&size={len(DISK)}")
    assert (report["verdict"], report["suggested"]) == ("reject", {"filetype": "ddgz"})
    assert inspect(bytes(3 << 20), "")["verdict"] == "reject"


def test_what_came_by_the_other_api_is_inspected_afterwards(program: Typed, app: Flask) -> None:
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


def test_tokens_of_the_store_are_never_shown(program: Typed, app: Flask) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    patch(program, place, 0, DISK[:10])
    with app.app_context():
        token = db.session.scalar(select(Upload.token))
        recorded = str([vars(event) for event in db.session.scalars(select(Event))])
    everything = program.call("GET", "uploads").text + recorded + place
    assert token not in everything


# -- what a second reading found


def test_known_bytes_are_inspected_for_what_they_are_declared_now(
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
