# SPDX-License-Identifier: Apache-2.0
"""What tus clients may do at the addresses of uploads beyond the core protocol."""

from __future__ import annotations

import pytest

from tests.api.uploads.tus import DISK, FILES, begin, patch, state, tus
from tests.api.v1.typed import Typed

ALL = {"creation", "creation-with-upload", "expiration", "termination", "checksum"}


@pytest.mark.parametrize("prefix", ["", "/api/v1", "//api//v1/"])
@pytest.mark.parametrize("tail", ["/uploads/files", "/uploads/files/7", "//uploads/files"])
def test_options_lists_what_the_server_supports(program: Typed, prefix: str, tail: str) -> None:
    answer = program.client.options("/", environ_overrides={"PATH_INFO": prefix + tail})
    assert (answer.status_code, answer.data) == (204, b"")
    assert set(answer.headers["Tus-Extension"].split(",")) == ALL
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha256"
    assert ("POST" in answer.headers["Allow"]) == tail.endswith("files")
    page = program.client.get("/sign-in").headers.keys()
    of_content = {"Content-Type", "Content-Length", "Vary", "Set-Cookie"}
    assert set(page) - of_content <= set(answer.headers.keys())
    assert answer.headers["X-Request-ID"]


def test_options_elsewhere_is_still_refused(program: Typed) -> None:
    assert program.client.options("/uploads/7").status_code != 204


def test_a_method_that_a_proxy_refuses_may_be_sent_as_post(program: Typed) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    offset = {"Upload_Offset": "0", "Content_Type": "application/offset+octet-stream"}
    sent = tus(program, "POST", place, DISK[:100], X_HTTP_Method_Override="PATCH", **offset)
    assert (sent.status_code, sent.headers["Upload-Offset"]) == (204, "100")
    head = tus(program, "POST", place, X_HTTP_Method_Override="head")
    assert (head.status_code, head.headers["Upload-Offset"]) == (200, "100")
    gone = tus(program, "POST", place, X_HTTP_Method_Override="DELETE")
    assert gone.status_code == 204
    assert tus(program, "HEAD", place).status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "HEAD"])
def test_an_overridden_method_needs_the_same_rights(program: Typed, method: str) -> None:
    place = begin(program, len(DISK)).headers["Location"]
    answer = program.client.post(
        place, headers={"X-HTTP-Method-Override": method, "Tus-Resumable": "1.0.0"}
    )
    assert answer.status_code in (401, 403)
    assert tus(program, "HEAD", place).status_code == 200


def test_only_uploads_know_the_override(program: Typed) -> None:
    begun = begin(program, len(DISK))
    path = f"/api/v1/uploads/{state(program, begun.headers['Location'])['id']}"
    sent = {"Authorization": f"Bearer {program.token}", "X-HTTP-Method-Override": "DELETE"}
    assert program.client.post(path, headers=sent).status_code in (404, 405)


@pytest.mark.parametrize("filetype", ["application/gzip", "application/octet-stream", "a/b"])
def test_a_media_type_is_not_a_file_type(program: Typed, filetype: str) -> None:
    begun = begin(program, len(DISK), filetype=filetype, filename="web.dd.gz")
    assert begun.status_code == 201
    plain = begin(program, len(DISK), name="other", filetype="", filename="web.dd.gz")
    places = [one.headers["Location"] for one in (begun, plain)]
    assert state(program, places[0])["filetype"] == state(program, places[1])["filetype"]
    assert patch(program, places[0], 0, DISK).status_code == 204


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upload_Concat", "partial"),
        ("Upload_Concat", "final;/uploads/files/1 /uploads/files/2"),
        ("Upload_Defer_Length", "1"),
    ],
)
def test_an_extension_that_is_not_there_is_refused_by_its_name(
    program: Typed, name: str, value: str
) -> None:
    answer = tus(program, "POST", FILES, Upload_Length="5", **{name: value})
    assert answer.status_code == 422
    header = name.replace("_", "-")
    assert f"{header} isn't supported" in answer.get_data(as_text=True)
