# SPDX-License-Identifier: Apache-2.0
"""Connecting a boot source: the preview, what the form keeps, and saving."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.mirror.faults import Fault
from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from tests.web.sources.form import connected, hidden, stored, typed
from tests.web.visitors import Visitor, everything, leads_to, text_of
from webapp.services.sources import sources
from webapp.services.system import secrets


def wrong_fields(page: TestResponse) -> dict[str, str]:
    """Every field that is marked as wrong, with the message it is tied to."""
    found = {}
    for control in re.findall(r"<(?:input|textarea|select)[^>]*aria-invalid[^>]*>", page.text):
        name = re.search(r'\sname="([^"]*)"', control)
        described = re.search(r'aria-describedby="([^"]*)"', control)
        assert name
        assert described
        tied = described[1].split()
        assert tied[0] == f"{name[1]}-problem"
        message = re.search(rf'id="{tied[0]}".*?<span>(.*?)</span>', page.text, re.S)
        assert message
        found[name[1]] = message[1]
    return found


# -- connect: a preview that saves nothing


def test_connect_shows_who_signed_and_what_is_offered_and_saves_nothing(
    app: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    before = everything(app)
    page = administrator.post("/sources/connect", typed(server, signing_key))
    shown = text_of(page)
    assert page.status_code == 200
    assert "Connected. Signature verified." in shown
    assert " ".join(re.findall("....", signing_key.fingerprint)) in shown
    assert signed.USER_ID in shown
    assert "Ubuntu 24.04 LTS amd64, arm64" in shown
    assert "CentOS 7 amd64" in shown
    assert everything(app) == before


def test_htmx_gets_the_preview_as_a_part(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    part = administrator.post("/sources/connect", typed(server, signing_key), HX_Request="true")
    assert part.text.strip().startswith('<div id="source-form"')
    assert "<html" not in part.text
    assert part.headers["Cache-Control"] == "no-store"
    assert "HX-Request" in part.headers["Vary"]


def test_an_uploaded_binary_keyring_connects(
    administrator: Visitor, server: MirrorServer, shared_mirror: Mirror
) -> None:
    form = {"stream": "custom", "url": server.source_url, "auth_kind": "none"}
    form["keyring_file"] = (io.BytesIO(shared_mirror.keyring.read_bytes()), "keyring.gpg")  # type: ignore[assignment]
    assert connected(administrator, form)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"url": ""}, "url", "Enter the URL of the mirror."),
        ({"url": "ftp://mirror.example.test/"}, "url", "Enter a valid URL."),
        ({"url": "http://["}, "url", "Enter a valid URL."),
        ({"keyring_text": ""}, "keyring_filename", "Choose a keyring"),
        ({"keyring_text": "hello"}, "keyring_text", "Next:"),
        (
            {"keyring_text": "", "keyring_filename": "/nowhere/x.gpg"},
            "keyring_filename",
            "exist on",
        ),
        ({"priority": "high"}, "priority", "Not a valid integer value."),
        ({"proxy_url": "socks://x"}, "proxy_url", "http://host:port/"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file", "exist on this server."),
        ({"auth_kind": "basic", "auth_secret": "x"}, "auth_username", "Enter the user name"),
        ({"auth_kind": "bearer"}, "auth_secret", "Enter the password or token."),
        (
            {"url": "http://mirror.example/", "auth_kind": "bearer", "auth_secret": "x"},
            "auth_secret",
            "Over http, anyone in between can read these credentials.",
        ),
        ({"is_unsigned": "y"}, "unsigned_host", "Type 127.0.0.1 to confirm."),
    ],
)
def test_a_wrong_field_is_marked_and_nothing_is_saved(
    app: Flask,
    administrator: Visitor,
    server: MirrorServer,
    signing_key: signed.SigningKey,
    values: dict[str, str],
    field: str,
    words: str,
) -> None:
    before = everything(app)
    page = administrator.post("/sources/connect", typed(server, signing_key, **values))
    assert page.status_code == 422
    assert words in wrong_fields(page)[field]
    assert list(wrong_fields(page)) == [field]
    assert everything(app) == before


def test_a_private_key_is_refused_and_not_sent_back(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    secret = signing_key.secret.decode()
    page = administrator.post("/sources/connect", typed(server, signing_key, keyring_text=secret))
    assert page.status_code == 422
    assert "This is a private key" in page.text
    assert "BEGIN PGP PRIVATE" not in page.text
    kept = secrets_of(administrator.app, hidden(page, "kept"))
    assert "PRIVATE" not in kept


def secrets_of(app: Flask, sealed: str) -> str:
    with app.app_context():
        return secrets.unseal(sealed)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"path": "sjson$", "body": "<html>Sign in to the network</html>"}, "sign this server in"),
        ({"path": "index", "status": 404}, "404"),
        ({"path": "index", "status": 403}, "403"),
        ({"path": "sjson$", "body": '{"format": "index:1.0"}'}, "t signed"),
        ({"path": "sjson$", "flip": 80}, "signature"),
    ],
)
def test_what_the_mirror_does_wrong_is_shown_above_the_form(
    app: Flask,
    administrator: Visitor,
    server: MirrorServer,
    signing_key: signed.SigningKey,
    fault: dict[str, Any],
    words: str,
) -> None:
    server.set_faults([Fault(**fault)])
    before = everything(app)
    page = administrator.post("/sources/connect", typed(server, signing_key))
    assert page.status_code == 422
    notice = page.text[page.text.index('id="source-problem"') : page.text.index("multipart")]
    assert words.lower() in notice.lower()
    assert "Next:" in notice
    assert server.source_url in page.text
    assert everything(app) == before


def test_another_key_is_refused_with_both_fingerprints(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    other = signed.new_key("Somebody else <else@example.test>")
    page = administrator.post("/sources/connect", typed(server, other))
    assert page.status_code == 422
    assert signing_key.fingerprint in page.text
    assert other.fingerprint in page.text


def test_an_unsigned_source_needs_its_host_typed(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    form = typed(server, signing_key, keyring_text="", is_unsigned="y")
    page = administrator.post("/sources/connect", {**form, "unsigned_host": "127.0.0.1"})
    assert page.status_code == 200
    assert "This source isn't signed" in text_of(page)
    for host in ("127.0.0.2", "[", " ", "127.0.0.1:1"):
        page = administrator.post("/sources/connect", {**form, "unsigned_host": host})
        assert page.status_code == 422, host


# -- the form keeps what was given


def test_after_an_error_the_form_comes_back_as_it_was(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    form = typed(server, signing_key, name="Lab", proxy_url="socks://x", priority="7")
    page = administrator.post("/sources/connect", form)
    for name, value in (("url", server.source_url), ("name", "Lab"), ("priority", "7")):
        assert hidden(page, name) == value
    assert "BEGIN PGP PUBLIC KEY BLOCK" in page.text
    assert re.search(r'<details[^>]*id="more-settings" open>', page.text)


def test_an_upload_and_a_password_survive_an_error_unseen(
    administrator: Visitor, server: MirrorServer, shared_mirror: Mirror
) -> None:
    form = {"stream": "custom", "url": server.source_url, "auth_kind": "basic", "priority": "x"}
    form |= {"auth_username": "ada", "auth_secret": "canary-secret"}
    upload = (io.BytesIO(shared_mirror.keyring.read_bytes()), "keyring.gpg")
    page = administrator.post("/sources/connect", {**form, "keyring_file": upload})
    assert page.status_code == 422
    assert "canary-secret" not in page.text
    assert "A keyring is already stored" in text_of(page)
    again = {**form, "priority": "3", "auth_secret": "", "kept": hidden(page, "kept")}
    assert connected(administrator, again)


def test_a_kept_password_is_for_the_host_it_was_given_for(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    form = typed(server, signing_key, auth_kind="bearer", auth_secret="canary", priority="x")
    kept = hidden(administrator.post("/sources/connect", form), "kept")
    elsewhere = {**form, "auth_secret": "", "priority": "1", "kept": kept}
    elsewhere["url"] = server.source_url.replace("127.0.0.1", "localhost")
    page = administrator.post("/sources/connect", elsewhere)
    assert "auth_secret" in wrong_fields(page)


def test_a_password_in_the_proxys_address_is_kept_unseen(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    proxy = server.url.replace("://", "://me:canary@")
    masked = proxy.replace("canary", "***")
    form = typed(server, signing_key, proxy_url=proxy, priority="x")
    page = administrator.post("/sources/connect", form)
    assert hidden(page, "proxy_url") == masked
    assert "canary" not in page.text
    again = {**form, "priority": "3", "proxy_url": masked, "kept": hidden(page, "kept")}
    page = administrator.post("/sources/connect", again)
    administrator.post("/sources/", {"draft": hidden(page, "draft")})
    with administrator.app.app_context():
        (source,) = stored()
        assert (source.proxy_url, "canary" in source.proxy_login) == (masked, False)
        assert sources.draft_of(source).proxy_url == proxy
        edit = f"/sources/{source.id}"
    page = administrator.get(f"{edit}/edit")
    assert hidden(page, "proxy_url") == masked
    assert "canary" not in page.text
    unchanged = {**again, "kept": "", "name": "Lab"}
    page = administrator.post(f"{edit}/connect", unchanged)
    administrator.post(edit, {"draft": hidden(page, "draft")})
    with administrator.app.app_context():
        (changed,) = stored()
        assert changed.name == "Lab"
        assert sources.draft_of(changed).proxy_url == proxy
    elsewhere = {**unchanged, "proxy_url": "http://me:***@proxy.example:1/"}
    assert "proxy_url" in wrong_fields(administrator.post(f"{edit}/connect", elsewhere))


def test_going_back_from_the_preview_keeps_everything(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    draft = connected(administrator, typed(server, signing_key, name="Lab", priority="4"))
    page = administrator.post("/sources/form", {"draft": draft})
    assert page.status_code == 200
    assert (hidden(page, "url"), hidden(page, "name")) == (server.source_url, "Lab")
    assert "BEGIN PGP PUBLIC KEY BLOCK" in page.text


# -- saving what was previewed


def test_saving_the_preview_makes_the_source(
    region: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    draft = connected(administrator, typed(server, signing_key, name="Lab"))
    answer = administrator.post("/sources/", {"draft": draft})
    (source,) = stored()
    assert (answer.status_code, leads_to(answer)) == (303, f"/sources/{source.id}")
    assert (source.url, source.name) == (server.source_url, "Lab")
    page = administrator.get(f"/sources/{source.id}")
    assert "Saved Lab. Reading its catalogue…" in text_of(page)
    assert "Reading" in text_of(page)
    assert 'data-poll hx-get="/sources/' in page.text


def test_a_source_gets_a_schedule_of_its_own(
    region: Flask, server: MirrorServer, signing_key: signed.SigningKey, administrator: Visitor
) -> None:
    form = typed(server, signing_key, schedule="often")
    page = administrator.post("/sources/connect", form)
    assert (page.status_code, stored()) == (422, [])
    assert "isn't a schedule. Enter e.g. 6 hours" in text_of(page).replace("&#39;", "'")
    draft = connected(administrator, {**form, "schedule": "0 3 * * *"})
    administrator.post("/sources/", {"draft": draft})
    (source,) = stored()
    assert source.schedule == "0 3 * * *"
    assert "Schedule 0 3 * * *" in text_of(administrator.get(f"/sources/{source.id}"))


def test_saving_twice_makes_one_source(
    region: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    draft = connected(administrator, typed(server, signing_key))
    administrator.post("/sources/", {"draft": draft})
    assert administrator.post("/sources/", {"draft": draft}).status_code == 422
    assert len(stored()) == 1


@pytest.mark.parametrize("path", ["", "form", "{id}", "{id}/form"])
def test_a_draft_that_was_altered_or_is_missing_saves_nothing(
    region: Flask, administrator: Visitor, path: str
) -> None:
    source = factories.boot_source()
    foreign = [secrets.seal(text) for text in ("a password", "{}", '{"kept": {}}', "[1]")]
    before = everything(region)
    for draft in ("", "x", "x" * 3000, foreign[0][:-4] + "AAAA", *foreign):
        answer = administrator.post("/sources/" + path.format(id=source.id), {"draft": draft})
        assert answer.status_code == 422
        assert "This preview has expired" in text_of(answer)
    assert everything(region) == before


def test_a_draft_is_good_for_an_hour(
    region: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    draft = connected(administrator, typed(server, signing_key))
    monkeypatch.setattr("webapp.web.source_form.DRAFT_MAX_AGE_S", -1)
    answer = administrator.post("/sources/", {"draft": draft})
    assert answer.status_code == 422
    assert "Fill in the form and connect again" in text_of(answer)
    assert stored() == []


def test_no_page_shows_a_password(
    region: Flask, administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    form = typed(server, signing_key, auth_kind="basic", auth_username="ada", auth_secret="canary")
    page = administrator.post("/sources/connect", form)
    assert "canary" not in page.text
    administrator.post("/sources/", {"draft": hidden(page, "draft")})
    (source,) = stored()
    assert "canary" not in source.auth_secret
    for path in ("", "/edit", "/remove"):
        assert "canary" not in administrator.get(f"/sources/{source.id}{path}").text


def test_changing_keeps_the_keyring_and_password_that_are_not_given_again(
    region: Flask, administrator: Visitor, server: MirrorServer, shared_mirror: Mirror
) -> None:
    source = factories.boot_source(
        url=server.source_url, keyring_filename="", keyring_data=shared_mirror.keyring.read_bytes(),
        auth_kind="bearer", auth_secret=secrets.seal("canary"), priority=5,
    )  # fmt: skip
    page = administrator.get(f"/sources/{source.id}/edit")
    assert "A keyring is already stored" in text_of(page)
    form = {"stream": "custom", "url": server.source_url, "auth_kind": "bearer", "name": "New"}
    page = administrator.post(f"/sources/{source.id}/connect", form)
    assert page.status_code == 200, text_of(page)
    answer = administrator.post(f"/sources/{source.id}", {"draft": hidden(page, "draft")})
    assert answer.status_code == 303
    (changed,) = stored()
    assert (changed.name, changed.priority) == ("New", 5)
    assert changed.keyring_data == shared_mirror.keyring.read_bytes()
    assert secrets.unseal(changed.auth_secret) == "canary"


def test_a_source_whose_password_can_no_longer_be_read_can_still_be_opened(
    region: Flask, administrator: Visitor
) -> None:
    source = factories.boot_source(auth_kind="bearer", auth_secret="sealed with another key")
    for path in ("", "/edit", "/remove"):
        assert administrator.get(f"/sources/{source.id}{path}").status_code == 200
