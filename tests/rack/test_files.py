# SPDX-License-Identifier: Apache-2.0
"""What a machine gets, header by header, from a store with files and one without."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from tests.rack import images
from tests.rack.conftest import BASE
from webapp.extensions import db, store
from webapp.models import Blob, BootResource, Event
from webapp.rack.files import SMALL

KERNEL = images.FILES["boot-kernel"]
SHA256 = hashlib.sha256(KERNEL).hexdigest()

both_stores = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("filesystem", marks=pytest.mark.settings(store="filesystem")),
        pytest.param("database", marks=pytest.mark.settings(store="database")),
    ],
)


@both_stores
def test_get_of_the_current_version(kind: str, rack: Flask) -> None:
    images.image(completed_at=datetime(2026, 1, 5, 12, 30, tzinfo=UTC))
    answer = rack.test_client().get(f"{BASE}/boot-kernel")
    assert answer.data == KERNEL
    assert answer.status == "200 OK"
    assert dict(answer.headers) == {
        "ETag": f'"{SHA256}"',
        "Last-Modified": "Mon, 05 Jan 2026 12:30:00 GMT",
        "X-Slipway-Version": "20260105",
        "Cache-Control": "no-cache",
        "Content-Location": f"{BASE}/20260105/boot-kernel",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(KERNEL)),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(SHA256)).decode()}:",
    }


@both_stores
def test_get_of_a_pinned_version(kind: str, machine: FlaskClient) -> None:
    answer = machine.get(f"{BASE}/20260105/squashfs")
    assert answer.data == images.FILES["squashfs"]
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Content-Location" not in answer.headers


@pytest.mark.parametrize("name", ["boot-kernel", "20260105/boot-kernel"])
@both_stores
def test_head_has_the_headers_of_get(kind: str, name: str, machine: FlaskClient) -> None:
    head, get = machine.head(f"{BASE}/{name}"), machine.get(f"{BASE}/{name}")
    assert head.data == b""
    assert (head.status, list(head.headers)) == (get.status, list(get.headers))


@both_stores
def test_range(kind: str, machine: FlaskClient) -> None:
    answer = machine.get(f"{BASE}/boot-kernel", headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.data) == (206, KERNEL[2:5])
    assert answer.headers["Content-Range"] == f"bytes 2-4/{len(KERNEL)}"
    assert answer.headers["Content-Length"] == "3"
    assert answer.headers["ETag"] == f'"{SHA256}"'


def test_head_ignores_range(machine: FlaskClient) -> None:
    answer = machine.head(f"{BASE}/boot-kernel", headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(KERNEL)))


def test_several_ranges_get_the_whole(machine: FlaskClient) -> None:
    answer = machine.get(f"{BASE}/boot-kernel", headers={"Range": "bytes=0-1,3-4"})
    assert (answer.status_code, answer.data) == (200, KERNEL)


def test_unsatisfiable_range(machine: FlaskClient) -> None:
    answer = machine.get(f"{BASE}/boot-kernel", headers={"Range": "bytes=99-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(KERNEL)}"
    assert answer.text == f"The file has {len(KERNEL)} bytes.\n"


@pytest.mark.parametrize("path", [f"{BASE}/boot-kernel", f"{BASE}/20260105/boot-kernel"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Range": "bytes=99-"}, 416), ({"If-Match": '"other"'}, 412)],
)
def test_refusals_are_not_cached(
    path: str, headers: dict[str, str], status: int, machine: FlaskClient
) -> None:
    answer = machine.get(path, headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")
    assert "Content-Location" not in answer.headers
    assert machine.get("/images/nothing").headers["Cache-Control"] == "no-store"


def test_names_that_are_not_ascii(rack: Flask) -> None:
    images.image({"root ümlaut": b"t"}, os="", release="bäckup", name="bäckup", version="1 é\n2")
    machine = rack.test_client()
    answer = machine.get("/images/custom/amd64/ga-24.04/b%C3%A4ckup/stable/root%20%C3%BCmlaut")
    assert (answer.status_code, answer.data) == (200, b"t")
    assert answer.headers["X-Slipway-Version"] == "1%20%C3%A9%0A2"
    pinned = answer.headers["Content-Location"]
    assert pinned.isascii()
    assert machine.get(pinned).data == b"t"
    recorder = rack.extensions["slipway.rack"].recorder
    recorder.flush()
    subjects = db.session.scalars(select(Event.subject)).all()
    assert "custom/amd64/ga-24.04/bäckup/stable" in subjects


def test_not_modified_repeats_what_a_cache_needs(machine: FlaskClient) -> None:
    full = machine.get(f"{BASE}/boot-kernel")
    answer = machine.get(f"{BASE}/boot-kernel", headers={"If-None-Match": full.headers["ETag"]})
    assert (answer.status_code, answer.data) == (304, b"")
    for name in ("ETag", "Cache-Control", "Content-Location", "Last-Modified"):
        assert answer.headers[name] == full.headers[name]
    assert "Content-Length" not in answer.headers


def test_precondition_failed(machine: FlaskClient) -> None:
    answer = machine.get(f"{BASE}/boot-kernel", headers={"If-Match": '"other"'})
    assert answer.status_code == 412
    assert answer.headers["ETag"] == f'"{SHA256}"'


def test_last_modified_comes_back_as_a_condition(machine: FlaskClient) -> None:
    date = machine.get(f"{BASE}/boot-kernel").headers["Last-Modified"]
    for header, status in (("If-Modified-Since", 304), ("If-Unmodified-Since", 200)):
        assert machine.get(f"{BASE}/boot-kernel", headers={header: date}).status_code == status
    resumed = {"Range": "bytes=3-", "If-Range": date}
    assert machine.get(f"{BASE}/boot-kernel", headers=resumed).status_code == 206


@both_stores
def test_empty_file(kind: str, rack: Flask) -> None:
    images.image({"boot-kernel": b""})
    machine = rack.test_client()
    answer = machine.get(f"{BASE}/boot-kernel")
    assert (answer.status_code, answer.data, answer.headers["Content-Length"]) == (200, b"", "0")
    answer = machine.get(f"{BASE}/boot-kernel", headers={"Range": "bytes=0-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */0")


@pytest.mark.parametrize("extra", [-1, 0, 1])
@both_stores
def test_files_around_the_bound_of_small_ones(kind: str, extra: int, rack: Flask) -> None:
    content = os.urandom(SMALL + extra)
    images.image({"squashfs": content})
    assert rack.test_client().get(f"{BASE}/squashfs").data == content


@both_stores
def test_every_range_is_the_slice(kind: str, rack: Flask) -> None:
    size = SMALL + 5_000
    content = os.urandom(size)
    images.image({"squashfs": content})
    machine = rack.test_client()

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.integers(0, size - 1), st.integers(0, size + 5), st.sampled_from("abc"))
    def check(first: int, length: int, form: str) -> None:
        wanted, expected = {
            "a": (f"{first}-{first + length}", content[first : first + length + 1]),
            "b": (f"{first}-", content[first:]),
            "c": (f"-{length + 1}", content[max(0, size - length - 1) :]),
        }[form]
        answer = machine.get(f"{BASE}/squashfs", headers={"Range": f"bytes={wanted}"})
        assert (answer.status_code, answer.data == expected) == (206, True)

    check()


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"]
)
@pytest.mark.parametrize("path", [f"{BASE}/boot-kernel", "/", "/images/", "/nothing"])
def test_other_methods(method: str, path: str, machine: FlaskClient) -> None:
    answer = machine.open(path, method=method, data=b"x" * 100)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.text == "Only GET and HEAD.\n"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/images",
        "/images/",
        "/images/ubuntu",
        BASE,
        f"{BASE}/",
        f"{BASE}/20260105",
        f"{BASE}/20260105/",
        f"{BASE}/20260106/boot-kernel",
        f"{BASE}/boot-dtb",
        f"{BASE.replace('stable', 'daily')}/boot-kernel",
        f"{BASE.replace('amd64', 'arm64')}/boot-kernel",
        f"{BASE}/boot-kernel/",
        "/static/app.css",
        "/setup",
        "/MAAS/api/2.0/version/",
        "/api/v2/",
        "/favicon.ico",
        f"/images/{SHA256}",
    ],
)
def test_nothing_else_answers(path: str, machine: FlaskClient) -> None:
    answer = machine.get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.count("\n") == 1
    assert machine.head(path).data == b""


def test_no_cookie_no_html_whatever_is_asked(machine: FlaskClient) -> None:
    machine.set_cookie("session", "something")
    for path in ("/", f"{BASE}/boot-kernel", f"{BASE}/nothing"):
        answer = machine.get(path, headers={"Accept": "text/html"})
        assert "Set-Cookie" not in answer.headers
        assert "html" not in answer.headers["Content-Type"]


def test_host_and_forwarded_headers_change_nothing(machine: FlaskClient) -> None:
    plain = machine.get(f"{BASE}/boot-kernel")
    spoofed = machine.get(
        f"{BASE}/boot-kernel",
        headers={
            "Host": "evil.example",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Prefix": "/evil",
            "X-Original-URL": "/evil",
            "Forwarded": "for=1.2.3.4;host=evil.example",
        },
    )
    assert (spoofed.data, list(spoofed.headers)) == (plain.data, list(plain.headers))


# -- bytes that are named but not there


def test_missing_bytes_are_never_a_short_body(machine: FlaskClient) -> None:
    store().delete(SHA256)
    for method in ("GET", "HEAD"):
        answer = machine.open(f"{BASE}/boot-kernel", method=method)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.data == b""
    assert machine.get(f"{BASE}/boot-initrd").status_code == 200


def test_a_file_of_the_wrong_size_is_not_served(rack: Flask, machine: FlaskClient) -> None:
    path = rack.extensions["slipway.settings"].store_dir / store().relative_path(SHA256)
    path.chmod(0o600)
    path.write_bytes(KERNEL[:-1])
    assert machine.get(f"{BASE}/boot-kernel").status_code == 503


def test_a_blob_known_to_be_bad_is_not_served(machine: FlaskClient) -> None:
    db.session.execute(update(Blob).where(Blob.sha256 == SHA256).values(state="bad"))
    images.publish()
    answer = machine.get(f"{BASE}/20260105/boot-kernel")
    assert (answer.status_code, answer.text) == (503, "The file is damaged or missing here.\n")


def test_bytes_deleted_together_with_their_name_are_not_found(
    rack: Flask, machine: FlaskClient, refresh: Callable[[], object]
) -> None:
    refresh()
    names = rack.extensions["slipway.rack"].published
    resource = names.locate("ubuntu/amd64/ga-24.04/noble/stable/boot-kernel")
    assert resource is not None
    db.session.execute(update(BootResource).values(current_set_id=None))
    images.publish()
    store().delete(SHA256)
    assert machine.get(f"{BASE}/boot-kernel").status_code == 404


def test_bytes_replaced_by_a_new_version_are_found_at_once(
    machine: FlaskClient, refresh: Callable[[], object]
) -> None:
    refresh()
    resource = db.session.query(BootResource).one()
    images.switch(resource, {"boot-kernel": b"kernel 2"}, version="20260106")
    store().delete(SHA256)
    assert machine.get(f"{BASE}/boot-kernel").data == b"kernel 2"


def test_without_a_database_the_last_names_are_served(
    rack: Flask, machine: FlaskClient, refresh: Callable[[], object]
) -> None:
    assert machine.get(f"{BASE}/boot-kernel").status_code == 200
    db.session.remove()
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE publication RENAME TO hidden")
    refresh()
    assert machine.get(f"{BASE}/boot-kernel").data == KERNEL


def test_a_rack_that_never_read_the_names_says_so(rack: Flask) -> None:
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE publication RENAME TO hidden")
    answer = rack.test_client().get(f"{BASE}/boot-kernel")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
