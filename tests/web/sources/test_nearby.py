# SPDX-License-Identifier: Apache-2.0
"""The root of a mirror has no stream itself; those below it are found and offered."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.web.sources.form import typed
from tests.web.visitors import Visitor, text_of


def offered(page: str) -> list[str]:
    return re.findall(r'name="found_url" value="([^"]*)"', page)


def test_the_streams_below_a_root_are_offered_and_one_press_connects(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    form = typed(server, signing_key, url=server.url)
    page = administrator.post("/sources/connect", form)
    assert page.status_code == 422
    assert "There is no stream at this address, but there are streams below it." in text_of(page)
    assert offered(page.text) == [server.source_url]
    page = administrator.post("/sources/connect", {**form, "found_url": server.source_url})
    assert page.status_code == 200
    assert "Connected. Signature verified." in text_of(page)


def test_only_what_answers_is_offered_and_only_for_a_missing_index(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    form = typed(server, signing_key, url=f"{server.url}elsewhere/")
    page = administrator.post("/sources/connect", form)
    assert page.status_code == 422
    assert "404" in text_of(page)
    assert offered(page.text) == []
    server.reset()
    server.set_faults([Fault(path=r"index\.sjson$", status=500)])
    page = administrator.post("/sources/connect", typed(server, signing_key, url=server.url))
    assert "500" in text_of(page)
    assert {urlsplit(one.path).path for one in server.log} == {"/streams/v1/index.sjson"}


@pytest.mark.parametrize("name", ["ubuntu-cloudimage-keyring.gpg", "lab.gpg"])
def test_the_key_of_maas_io_is_named_only_where_it_is_meant(
    administrator: Visitor, name: str
) -> None:
    form = {"stream": "custom", "url": "http://mirror.example.test/", "auth_kind": "none"}
    page = administrator.post("/sources/connect", {**form, "keyring_filename": f"/nowhere/{name}"})
    assert page.status_code == 422
    shown = text_of(page)
    wrong = re.search(r"exist on this server.*?keyring file\.( Images from)?", shown)
    assert wrong
    assert bool(wrong[1]) == (name != "lab.gpg")
