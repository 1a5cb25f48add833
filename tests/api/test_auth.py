# SPDX-License-Identifier: Apache-2.0
"""Keys (rule: rest-keys), and every action with every role."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from sqlalchemy import select

from tests.api.clients import API, DIALECTS, Request, Script, oauth
from tests.support import factories
from webapp.api.v2.table import RESOURCES
from webapp.extensions import db
from webapp.models import APIKey, Role, User, utcnow
from webapp.services.accounts import sessions
from webapp.services.overview import rack

IS_IMPORTING = f"{API}boot-resources/?op=is_importing"
ROLES = (None, Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR)


def ask(script: Script, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    return script.send(Request("GET", IS_IMPORTING, headers)).status_code


def test_every_clients_signature_is_accepted(any_client: Script) -> None:
    assert any_client.get("boot-resources/", op="is_importing").status_code == 200


def test_order_spaces_realm_and_escapes_do_not_matter(viewer: Script) -> None:
    c, t, s = viewer.key.split(":")
    for header in (
        f'OAuth oauth_token="{t}",oauth_consumer_key="{c}",oauth_signature="%26{s}"',
        f'oauth  oauth_token="{t}",  oauth_consumer_key="{c}" , oauth_signature="%26{s}"',
        f'OAuth realm="MAAS+API", oauth_signature="&{s}", oauth_token="{t}", '
        f'oauth_consumer_key="{c}"',
        f'OAuth realm="a, b=c", oauth_signature="%26{s}", oauth_token="{t}", '
        f'oauth_consumer_key="{c}"',
        f'OAuth oauth_signature="%26%25{ord(s[0]):02X}{s[1:]}", oauth_token="{t}", '
        f'oauth_consumer_key="{c}"',
        f"OAuth oauth_signature=%26{s}, oauth_token={t}, oauth_consumer_key={c}",
        f'OAuth oauth_signature="%26{s}", oauth_token="{t}", oauth_consumer_key="{c}", x="1"',
    ):
        assert ask(viewer, header) == 200, header


def test_a_key_that_is_wrong_in_any_part_is_rejected(viewer: Script) -> None:
    c, t, s = viewer.key.split(":")
    for key in (f"x{c}:{t}:{s}", f"{c}:{t}x:{s}", f"{c}:{t}:{s}x", f"{c}:{t}:", f"{t}:{c}:{s}"):
        answer = viewer.send(Request("GET", IS_IMPORTING, oauth(key)))
        assert answer.status == "401 Unauthorized"
        assert answer.text == "Authorization Error: Invalid API key."
        assert answer.content_type == "text/plain; charset=utf-8"
        assert answer.headers["WWW-Authenticate"] == 'OAuth realm="OAuth"'


def test_a_header_that_is_no_signature_is_rejected(viewer: Script) -> None:
    for header in (
        "",
        "OAuth",
        "OAuth ",
        "OAuth ,",
        "OAuth =",
        "OAuth oauth_token",
        "OAuth oauth_token=",
        'OAuth oauth_token="',
        'OAuth oauth_token="\\',
        "OAuth " + 'oauth_token="x",' * 2000,
        "OAuth " + "a" * 8000,
        'OAuth oauth_consumer_key="%00", oauth_token="%00", oauth_signature="%26%00"',
        'OAuth oauth_consumer_key="%FF", oauth_token="%FF", oauth_signature="%26%FF"',
        'OAuth oauth_consumer_key="\u00e9", oauth_token="\u00fc", oauth_signature="&\u00f6"',
        'OAuth oauth_consumer_key="a", oauth_token="b", oauth_signature="c&d"',
        'OAuth oauth_consumer_key="a", oauth_token="b", oauth_signature="&"',
        "Basic YWRtaW46YWRtaW4=",
        "Bearer {key}",
        "{key}",
        "Macaroon eyJ9",
    ):
        assert ask(viewer, header.format(key=viewer.key)) == 401, header[:80]


def test_no_key_is_rejected_with_the_header_that_clients_expect(stranger: Script) -> None:
    answer = stranger.get("boot-resources/")
    assert answer.status == "401 Unauthorized"
    assert answer.text == "Authorization Error: No API key."
    assert answer.headers["WWW-Authenticate"] == 'OAuth realm="OAuth"'


def test_a_disabled_users_key_stops_at_once(app: Flask, viewer: Script) -> None:
    assert ask(viewer, oauth(viewer.key)["Authorization"]) == 200
    with app.app_context():
        for user in db.session.scalars(select(User)):
            user.is_active = False
        db.session.commit()
    assert ask(viewer, oauth(viewer.key)["Authorization"]) == 401


def test_a_revoked_key_stops_at_once(app: Flask, viewer: Script) -> None:
    with app.app_context():
        db.session.execute(db.delete(APIKey))
        db.session.commit()
    assert ask(viewer, oauth(viewer.key)["Authorization"]) == 401


def test_version_is_public_and_a_signature_does_no_harm(stranger: Script, viewer: Script) -> None:
    for headers in ({}, oauth(viewer.key), oauth("a:b:c"), {"Authorization": "Basic x"}):
        answer = stranger.send(Request("GET", f"{API}version/", headers))
        assert answer.status_code == 200
        assert answer.json["version"] == "2.9.2"


def test_a_pages_session_opens_nothing_here(app: Flask) -> None:
    browser = app.test_client()
    with app.app_context():
        user = factories.user(role=Role.ADMINISTRATOR)
        signed_in = sessions.open_session(user, address="192.0.2.1", user_agent="test")
        db.session.remove()
    with browser.session_transaction() as kept:
        kept["_user_id"] = signed_in.token
    assert browser.get("/account").status_code == 200
    for path in ("boot-sources/", "boot-resources/", "boot-resources/?op=is_importing"):
        assert Script(browser).get(path).status_code == 401
    assert Script(browser).post("boot-resources/", op="import").status_code == 401


def test_another_sites_page_cannot_call(admin: Script) -> None:
    for headers in (
        {"Origin": "http://evil.example.test"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
    ):
        request = Request(
            "POST", f"{API}boot-resources/?op=import", {**oauth(admin.key), **headers}
        )
        assert admin.send(request).status == "403 Forbidden"
    assert admin.get("boot-resources/", op="is_importing").json is False


def test_every_action_is_for_the_roles_that_the_table_names(
    app: Flask, new_key: Callable[..., str]
) -> None:
    """Each action of the table, with each role, on things that are there."""
    scripts = {
        role: Script(app.test_client(), new_key(role) if role else "", DIALECTS[0])
        for role in ROLES
    }
    seen = {}
    for resource in RESOURCES:
        for action in resource.actions:
            for role, script in scripts.items():
                with app.app_context():
                    source = factories.boot_source(checked_at=utcnow())
                    selection = factories.selection(source)
                    image = factories.boot_resource(release=f"r{image_number()}")
                    is_image = "/boot-resources/" in resource.path
                    ids = {
                        "resource_id": image.id,
                        "system_id": rack.system_id(),
                        "boot_source_id": selection.source_id,
                        "id": image.id if is_image else selection.id,
                    }
                    if resource.path.endswith("/boot-sources/{id}/"):
                        ids["id"] = selection.source_id
                    db.session.remove()
                path = resource.path.format(**ids)
                answer = script.call(action.method, path, action.op, {})
                seen[resource.name, action.name, role] = answer.status_code
    least = {
        (resource.name, action.name): action.right and action.right.role
        for resource in RESOURCES
        for action in resource.actions
    }
    for (name, action_name, role), status in seen.items():
        needed = least[name, action_name]
        if (name, action_name, role) == ("BootResourceFileUploadHandler", "upload", needed):
            expected = {403}  # the image there is of a boot source
        elif needed is None:
            expected = {200, 201, 204, 400}
        elif role is None:
            expected = {401}
        elif ROLES.index(role) < ROLES.index(needed):
            expected = {403}
        else:
            expected = {200, 201, 204, 400}
        assert status in expected, (name, action_name, role, status)


def image_number() -> int:
    global _images
    _images += 1
    return _images


_images = 0


def test_what_is_refused_for_its_role_says_so(operator: Script, viewer: Script) -> None:
    answer = operator.get("users/")
    assert answer.status == "403 Forbidden"
    assert answer.text == "User is not allowed access to this API."
    assert answer.content_type == "text/plain; charset=utf-8"
    assert viewer.post("boot-resources/", op="import").status == "403 Forbidden"
    assert operator.post("boot-resources/", op="import").status == "200 OK"


def test_the_key_is_in_no_answer(any_client: Script) -> None:
    for answer in (any_client.get("boot-sources/"), any_client.get("boot-resources/?op=x")):
        everything = answer.text + str(answer.headers)
        assert not any(part in everything for part in any_client.key.split(":"))
