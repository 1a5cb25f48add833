# SPDX-License-Identifier: Apache-2.0
"""Which action a method and ``op`` mean (rule: rest-paths)."""

from __future__ import annotations

import itertools
import re

from tests.api.clients import API, Request, Script, check, oauth

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATHS = (
    "version/",
    "boot-sources/",
    "boot-sources/1/",
    "boot-sources/1/selections/",
    "boot-sources/1/selections/1/",
    "boot-resources/",
    "boot-resources/1/",
)


def test_an_unknown_op_or_method_is_a_bad_request_in_words(any_client: Script) -> None:
    wrong = (("GET", "xyz"), ("POST", "xyz"), ("PUT", "import"), ("PATCH", ""))
    for path, (method, op) in itertools.product(PATHS, wrong):
        answer = any_client.call(method, path, op, {})
        assert answer.status == "400 Bad Request"
        assert answer.content_type == "text/plain; charset=utf-8"
        assert answer.text == f"Unrecognised signature: method={method} op={op or 'None'}"


def test_an_empty_op_is_none(any_client: Script) -> None:
    answer = any_client.client.get(
        f"{API}boot-sources/?op=",
        headers={"Authorization": any_client.dialect.authorization(any_client.key)},
    )
    assert answer.status_code == 200


def test_unknown_arguments_of_a_query_are_ignored(any_client: Script) -> None:
    assert any_client.get("boot-sources/", colour="blue", a=["1", "2"]).status_code == 200


def test_the_end_of_a_path_needs_no_slash_and_leads_nowhere_else(admin: Script) -> None:
    for path in PATHS:
        with_slash, without = admin.get(path), admin.get(path.rstrip("/"))
        assert (without.status, without.data) == (with_slash.status, with_slash.data)
        assert admin.get(f"{API}/{path}").data == with_slash.data  # slashes merge


def test_what_is_not_there_is_not_found_in_text(any_client: Script, stranger: Script) -> None:
    for path in ("", "nodes/", "MAAS/", "boot-sources/1/x/"):
        for script, method in itertools.product((any_client, stranger), METHODS):
            answer = script.call(method, path or API, "", {})
            assert (answer.status, answer.text) == ("404 Not Found", "Not Found")


def test_head_tells_what_get_would(admin: Script) -> None:
    for path in PATHS:
        got = admin.send(Request("GET", API + path, oauth(admin.key)))
        head = admin.client.head(API + path, headers=oauth(admin.key))
        assert head.data == b""
        assert (head.status, head.content_type) == (got.status, got.content_type)
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_other_methods_are_refused_with_those_that_are_not(admin: Script) -> None:
    for method in ("OPTIONS", "TRACE", "CONNECT", "PROPFIND", "X"):
        answer = admin.client.open(f"{API}boot-sources/", method=method, headers=oauth(admin.key))
        check(answer)
        assert answer.status == "405 Method Not Allowed"
        assert answer.headers["Allow"] == "HEAD, GET, POST, PUT, PATCH, DELETE"


def test_nothing_is_negotiated(admin: Script) -> None:
    for accept in ("text/html", "application/xml", "", "*/*;q=0"):
        headers = {**oauth(admin.key), "Accept": accept}
        answer = admin.send(Request("GET", f"{API}boot-sources/", headers))
        assert answer.content_type == "application/json; charset=utf-8"
        assert "Content-Encoding" not in answer.headers


def test_version_is_one_that_clients_can_compare(stranger: Script) -> None:
    answer = stranger.get("version/")
    assert answer.status == "200 OK"
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?([ab]\d+)?", answer.json["version"])
    assert answer.json["subversion"] == ""
    assert isinstance(answer.json["capabilities"], list)
